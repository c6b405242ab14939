package record

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func images(digests ...string) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for i, digest := range digests {
		out = append(out, v1alpha1.DeployedImage{Reference: fmt.Sprint("r", i), Digest: digest})
	}
	return out
}

func TestReturnsTo(t *testing.T) {
	applied := func(number int64, set string, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: Applied, Set: set, Images: images(digests...)}
	}
	failed := func(number int64, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: Failed, Images: images(digests...)}
	}
	for name, c := range map[string]struct {
		entry  v1alpha1.Deployment
		before []v1alpha1.Deployment // the newest first
		want   int64
	}{
		"the first deployment":                      {applied(1, "x", "a"), nil, 0},
		"something new":                             {applied(3, "z", "c"), []v1alpha1.Deployment{applied(2, "y", "b"), applied(1, "x", "a")}, 0},
		"a revert":                                  {applied(3, "x", "a"), []v1alpha1.Deployment{applied(2, "y", "b"), applied(1, "x", "a")}, 1},
		"a revert of the revert":                    {applied(4, "y", "b"), []v1alpha1.Deployment{applied(3, "x", "a"), applied(2, "y", "b"), applied(1, "x", "a")}, 2},
		"the newest of equal sets":                  {applied(4, "x", "a"), []v1alpha1.Deployment{applied(3, "y", "b"), applied(2, "x", "a"), applied(1, "x", "a")}, 2},
		"a set without images":                      {applied(3, "x"), []v1alpha1.Deployment{applied(2, "y"), applied(1, "x")}, 1},
		"a partial revert: the images come back":    {applied(3, "z", "a"), []v1alpha1.Deployment{applied(2, "y", "b"), applied(1, "x", "a")}, 1},
		"the same images, other settings":           {applied(2, "y", "a"), []v1alpha1.Deployment{applied(1, "x", "a")}, 0},
		"settings reverted, images as they were":    {applied(3, "x", "a"), []v1alpha1.Deployment{applied(2, "y", "a"), applied(1, "x", "a")}, 1},
		"the equal set before the equal images":     {applied(4, "x", "a"), []v1alpha1.Deployment{applied(3, "z", "c"), applied(2, "y", "a"), applied(1, "x", "a")}, 1},
		"one image of two comes back":               {applied(3, "z", "a", "c"), []v1alpha1.Deployment{applied(2, "y", "b", "c"), applied(1, "x", "a", "b")}, 0},
		"a tag that moved: other bytes":             {applied(3, "z", "a2"), []v1alpha1.Deployment{applied(2, "y", "b"), applied(1, "x", "a")}, 0},
		"a failure goes back to nothing":            {failed(3, "a"), []v1alpha1.Deployment{applied(2, "y", "b"), applied(1, "x", "a")}, 0},
		"nothing goes back to a failure":            {applied(3, "z", "a"), []v1alpha1.Deployment{applied(2, "y", "b"), failed(1, "a")}, 0},
		"past a failure to what ran before it":      {applied(3, "x", "a"), []v1alpha1.Deployment{failed(2, "b"), applied(1, "x", "a")}, 1},
		"a record of before sets had hashes":        {applied(3, "", "a"), []v1alpha1.Deployment{applied(2, "", "b"), applied(1, "", "a")}, 1},
		"no hash equals no hash only by its images": {applied(3, "", "c"), []v1alpha1.Deployment{applied(2, "", "b"), applied(1, "", "a")}, 0},
	} {
		if got := returnsTo(c.entry, c.before); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Sets differ in their hash by the applied objects, and not by later changes of the objects.
func TestSetHash(t *testing.T) {
	one := v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "Pod", Namespace: "data", Name: "x", Hash: "h"}
	with := func(change func(*v1alpha1.InventoryEntry)) []v1alpha1.InventoryEntry {
		entry := one
		change(&entry)
		return []v1alpha1.InventoryEntry{entry}
	}
	want := setHash([]v1alpha1.InventoryEntry{one})
	if want == "" || setHash(nil) == want {
		t.Errorf("got %q", want)
	}
	for name, same := range map[string][]v1alpha1.InventoryEntry{
		"the same":                with(func(*v1alpha1.InventoryEntry) {}),
		"another manager's write": with(func(e *v1alpha1.InventoryEntry) { e.Fields = "f" }),
		"it ran to its end":       with(func(e *v1alpha1.InventoryEntry) { e.Completed, e.Ephemeral = true, true }),
	} {
		if got := setHash(same); got != want {
			t.Errorf("%s: another hash", name)
		}
	}
	seen := map[string]string{want: "the same"}
	for name, other := range map[string][]v1alpha1.InventoryEntry{
		"content":    with(func(e *v1alpha1.InventoryEntry) { e.Hash = "g" }),
		"name":       with(func(e *v1alpha1.InventoryEntry) { e.Name = "y" }),
		"namespace":  with(func(e *v1alpha1.InventoryEntry) { e.Namespace = "" }),
		"kind":       with(func(e *v1alpha1.InventoryEntry) { e.Kind = "Job" }),
		"version":    with(func(e *v1alpha1.InventoryEntry) { e.APIVersion = "v2" }),
		"two of it":  {one, one},
		"none of it": nil,
	} {
		got := setHash(other)
		if before, ok := seen[got]; ok {
			t.Errorf("%s and %s have one hash", name, before)
		}
		seen[got] = name
	}
}

// deployments lists a history.
func deployments(history []v1alpha1.Deployment) []string {
	var out []string
	for _, d := range history {
		out = append(out, fmt.Sprintf("%d %s %s of %d", d.Number, d.Commit, d.Outcome, d.RollbackOf))
	}
	return out
}

func TestRollbackStandsInTheHistory(t *testing.T) {
	var record v1alpha1.PipelineSync
	deploy := func(commit, hash, digest string, failure *Failure) {
		record.Status = Next(record, Outcome{Commit: Commit{Hash: commit}, Failure: failure, Apply: &Apply{
			Pending: true, Images: images(digest), Inventory: []v1alpha1.InventoryEntry{{Kind: "Pod", Name: "x", Hash: hash}},
		}}, noon.Time)
	}
	failed := &Failure{Reason: "Failed", Message: "no"}
	deploy("c1", "x", "a", nil)
	deploy("c1", "x", "a", nil) // drift was corrected: nothing new was deployed
	deploy("c2", "y", "b", nil)
	deploy("c3", "z", "c", failed)
	deploy("c3", "z", "c", failed)
	deploy("c4", "x", "a", nil)
	deploy("c5", "y", "b", nil)
	want := []string{"5 c5 Applied of 2", "4 c4 Applied of 1", "3 c3 Failed of 0", "2 c2 Applied of 0", "1 c1 Applied of 0"}
	if diff := cmp.Diff(want, deployments(record.Status.History)); diff != "" {
		t.Error(diff)
	}
	for i := range 50 {
		deploy(fmt.Sprint("d", i), fmt.Sprint("h", i), fmt.Sprint("i", i), nil)
	}
	if history := record.Status.History; len(history) != keptDeployments || history[0].Number != 55 {
		t.Errorf("%d kept, the newest is %d", len(history), history[0].Number)
	}
}

// A commit that is tried again keeps its number, and its time while the outcome is the same.
func TestRetryIsOneDeployment(t *testing.T) {
	record, later := appliedOnce(), stamp(noon.Time.Add(60e9))
	apply := func() *Apply { return &Apply{Pending: true, Inventory: applied([]manifest.ID{job})} }
	record.Status = Next(record, Outcome{Commit: Commit{Hash: "c2"}, Failure: &Failure{Reason: "Failed"}, Apply: apply()}, noon.Time)
	record.Status = Next(record, Outcome{Commit: Commit{Hash: "c2"}, Failure: &Failure{Reason: "Failed"}, Apply: apply()}, later.Time)
	if got := record.Status.History; len(got) != 2 || got[0].Number != 2 || got[0].Outcome != Failed || !got[0].Time.Equal(&noon) {
		t.Errorf("the second failure: %+v", got)
	}
	record.Status = Next(record, Outcome{Commit: Commit{Hash: "c2"}, Apply: apply()}, later.Time)
	if got := record.Status.History; len(got) != 2 || got[0].Number != 2 || got[0].Outcome != Applied || !got[0].Time.Equal(&later) {
		t.Errorf("the success: %+v", got)
	}
}

// A correction that takes more than one try deploys nothing new.
func TestCorrectionThatFailsAtFirst(t *testing.T) {
	record := appliedOnce()
	record.Status = Next(record, Outcome{Commit: Commit{Hash: "c1"}, Failure: &Failure{Reason: "Failed"}, Apply: &Apply{Pending: true}}, noon.Time)
	if diff := cmp.Diff([]string{"2 c1 Failed of 0", "1 c1 Applied of 0"}, deployments(record.Status.History)); diff != "" {
		t.Error(diff)
	}
	record.Status = Next(record, Outcome{Commit: Commit{Hash: "c1"}, Apply: &Apply{Pending: true}}, noon.Time)
	if diff := cmp.Diff([]string{"1 c1 Applied of 0"}, deployments(record.Status.History)); diff != "" {
		t.Error(diff)
	}
}

// Released changes belong to the deployment of the commit that was held, unless a later commit alters them.
func TestReleaseIsOfTheCommitThatWasHeld(t *testing.T) {
	app := manifest.ID{APIVersion: "sparkoperator.k8s.io/v1beta2", Kind: "SparkApplication", Namespace: "etl", Name: "daily"}
	inventory := func(hash string) []v1alpha1.InventoryEntry {
		return []v1alpha1.InventoryEntry{{APIVersion: app.APIVersion, Kind: app.Kind, Namespace: app.Namespace, Name: app.Name, Hash: hash}}
	}
	update, prune := []manifest.Change{{ID: app, Action: manifest.Update}}, []manifest.Change{{ID: app, Action: manifest.Prune}}
	for name, c := range map[string]struct {
		heldHash string
		changes  []manifest.Change
		after    []v1alpha1.InventoryEntry
		author   string
	}{
		"as it was held":          {"b", update, inventory("b"), "bob"},
		"as a later commit says":  {"b", update, inventory("c"), "carol"},
		"a deletion":              {"", prune, nil, "bob"},
		"another object with it":  {"b", append(update, manifest.Change{ID: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Name: "x"}}), inventory("b"), "carol"},
		"a deletion in its place": {"b", prune, nil, "carol"},
	} {
		held := []manifest.Change{{ID: app, Action: manifest.Hold, Held: &manifest.Held{Action: manifest.Update, Hash: c.heldHash}}}
		var record v1alpha1.PipelineSync
		for _, deploy := range []struct {
			author string
			apply  Apply
		}{
			{"alice", Apply{Pending: true, Images: images("a"), Inventory: inventory("a")}},
			{"bob", Apply{Images: images("b"), Inventory: inventory("a"), Held: held}},
			{"carol", Apply{Pending: true, Images: images("b"), Inventory: c.after, Changes: c.changes}},
		} {
			record.Status = Next(record, Outcome{Commit: Commit{Hash: "of " + deploy.author, Author: deploy.author}, Apply: &deploy.apply}, noon.Time)
		}
		newest := record.Status.History[0]
		if newest.Author != c.author || newest.Commit != "of "+c.author || newest.Outcome != Applied {
			t.Errorf("%s: it stands as %+v", name, newest)
		}
	}
}

// While only a deletion waits, all objects of git are deployed. The deletion itself deploys nothing.
func TestDeploymentIsAppliedWhileADeletionWaits(t *testing.T) {
	entry := func(name, hash string) v1alpha1.InventoryEntry {
		return v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: "etl", Name: name, Hash: hash}
	}
	waits := []manifest.Change{{ID: entry("old", "a").ID(), Action: manifest.Hold, Held: &manifest.Held{Action: manifest.Prune}}}
	both := []v1alpha1.InventoryEntry{entry("new", "b"), entry("old", "a")}
	var record v1alpha1.PipelineSync
	for _, deploy := range []struct {
		commit string
		apply  Apply
	}{
		{"c1", Apply{Pending: true, Images: images("a"), Inventory: []v1alpha1.InventoryEntry{entry("old", "a")}}},
		{"c2", Apply{Pending: true, Images: images("b"), Inventory: both, Held: waits}},
		{"c2", Apply{Images: images("b"), Inventory: both, Held: waits}},
		{"c3", Apply{Pending: true, Images: images("b"), Inventory: []v1alpha1.InventoryEntry{entry("new", "b")}}},
	} {
		record.Status = Next(record, Outcome{Commit: Commit{Hash: deploy.commit}, Apply: &deploy.apply}, noon.Time)
	}
	if diff := cmp.Diff([]string{"2 c2 Applied of 0", "1 c1 Applied of 0"}, deployments(record.Status.History)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatRuns(t *testing.T) {
	history := []v1alpha1.Deployment{
		{Number: 3, Commit: "c3", Outcome: HeldInPart, Images: images("c")},
		{Number: 2, Commit: "c2", Outcome: Failed, Images: images("b")},
		{Number: 1, Commit: "c1", Outcome: Applied, Images: images("a")},
	}
	if got := Running(history); got.Number != 2 {
		t.Errorf("deployment %d runs", got.Number)
	}
	if got := Running(history[:1]); got.Number != 3 {
		t.Errorf("deployment %d runs", got.Number)
	}
	if got := RunningImages(history); got[0].Digest != "b" || RunningImages(nil) != nil {
		t.Errorf("images: %v", got)
	}
	if got := DeploymentOf(history, "c1"); got.Number != 1 {
		t.Errorf("c1 is deployment %d", got.Number)
	}
	if got := DeploymentOf(history, "c9"); got.Number != 2 {
		t.Errorf("a commit that changed nothing is deployment %d", got.Number)
	}
}
