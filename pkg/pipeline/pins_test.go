package pipeline

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func images(digests ...string) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for i, digest := range digests {
		out = append(out, v1alpha1.DeployedImage{Reference: fmt.Sprint("r", i), Digest: digest})
	}
	return out
}

func TestReturnsTo(t *testing.T) {
	applied := func(number int64, set string, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: record.Applied, Set: set, Images: images(digests...)}
	}
	failed := func(number int64, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: record.Failed, Images: images(digests...)}
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
		if got := record.ReturnsTo(c.entry, c.before); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// The hash tells sets apart by what was applied, and by nothing that came of applying it.
func TestSetHash(t *testing.T) {
	one := v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "Pod", Namespace: "data", Name: "x", Hash: "h"}
	with := func(change func(*v1alpha1.InventoryEntry)) []v1alpha1.InventoryEntry {
		entry := one
		change(&entry)
		return []v1alpha1.InventoryEntry{entry}
	}
	want := record.SetHash([]v1alpha1.InventoryEntry{one})
	if want == "" || record.SetHash(nil) == want {
		t.Errorf("got %q", want)
	}
	for name, same := range map[string][]v1alpha1.InventoryEntry{
		"the same":                with(func(*v1alpha1.InventoryEntry) {}),
		"another manager's write": with(func(e *v1alpha1.InventoryEntry) { e.Fields = "f" }),
		"it ran to its end":       with(func(e *v1alpha1.InventoryEntry) { e.Completed, e.Ephemeral = true, true }),
	} {
		if got := record.SetHash(same); got != want {
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
		got := record.SetHash(other)
		if before, ok := seen[got]; ok {
			t.Errorf("%s and %s have one hash", name, before)
		}
		seen[got] = name
	}
}

func TestRollbackStandsInTheHistory(t *testing.T) {
	deployments := 20
	c := &carrier{Runner: &Runner{now: func() time.Time { return now }}}
	w := &target.Desired{Environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{KeepPins: v1alpha1.KeepPins{Deployments: &deployments}}}}
	var history []v1alpha1.Deployment
	deploy := func(commit, hash, digest string, err error) {
		w.Snapshot = source.Snapshot{Commit: commit}
		history = c.history(w, history, outcome{err: err, images: images(digest), inventory: []v1alpha1.InventoryEntry{{Kind: "Pod", Name: "x", Hash: hash}}})
	}
	deploy("c1", "x", "a", nil)
	deploy("c1", "x", "a", nil) // drift was corrected: nothing new was deployed
	deploy("c2", "y", "b", nil)
	deploy("c3", "z", "c", fmt.Errorf("no"))
	deploy("c3", "z", "c", fmt.Errorf("no"))
	deploy("c4", "x", "a", nil)
	deploy("c5", "y", "b", nil)
	var got []string
	for _, d := range history {
		got = append(got, fmt.Sprintf("%d %s %s of %d", d.Number, d.Commit, d.Outcome, d.RollbackOf))
	}
	want := []string{"5 c5 Applied of 2", "4 c4 Applied of 1", "3 c3 Failed of 0", "2 c2 Applied of 0", "1 c1 Applied of 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i := range 50 {
		deploy(fmt.Sprint("d", i), fmt.Sprint("h", i), fmt.Sprint("i", i), nil)
	}
	if len(history) != keptDeployments || history[0].Number != 55 {
		t.Errorf("%d kept, the newest is %d", len(history), history[0].Number)
	}
}

// What was held goes out as the deployment of the commit that said it, unless a later commit says otherwise by then.
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
		deployments := 20
		cr := &carrier{Runner: &Runner{now: func() time.Time { return now }}}
		w := &target.Desired{Environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{KeepPins: v1alpha1.KeepPins{Deployments: &deployments}}}}
		held := []v1alpha1.HeldChange{{ObjectReference: v1alpha1.ReferenceTo(app), Action: string(manifest.Update), Hash: c.heldHash}}
		var history []v1alpha1.Deployment
		for _, deploy := range []struct {
			author string
			o      outcome
		}{
			{"alice", outcome{images: images("a"), inventory: inventory("a")}},
			{"bob", outcome{images: images("b"), inventory: inventory("a"), held: held}},
			{"carol", outcome{images: images("b"), inventory: c.after, released: record.Releases(held, c.changes, c.after)}},
		} {
			w.Snapshot = source.Snapshot{Commit: "of " + deploy.author, Author: deploy.author}
			history = cr.history(w, history, deploy.o)
		}
		if history[0].Author != c.author || history[0].Commit != "of "+c.author || history[0].Outcome != record.Applied {
			t.Errorf("%s: it stands as %+v", name, history[0])
		}
	}
}

// While only the deletion of what left git waits, what git has is deployed; the deletion itself deploys nothing.
func TestDeploymentIsAppliedWhileADeletionWaits(t *testing.T) {
	entry := func(name, hash string) v1alpha1.InventoryEntry {
		return v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: "etl", Name: name, Hash: hash}
	}
	waits := []v1alpha1.HeldChange{{ObjectReference: v1alpha1.ReferenceTo(entry("old", "a").ID()), Action: string(manifest.Prune)}}
	deployments := 20
	cr := &carrier{Runner: &Runner{now: func() time.Time { return now }}}
	w := &target.Desired{Environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{KeepPins: v1alpha1.KeepPins{Deployments: &deployments}}}}
	var history []v1alpha1.Deployment
	for _, deploy := range []struct {
		commit string
		o      outcome
	}{
		{"c1", outcome{images: images("a"), inventory: []v1alpha1.InventoryEntry{entry("old", "a")}}},
		{"c2", outcome{images: images("b"), inventory: []v1alpha1.InventoryEntry{entry("new", "b"), entry("old", "a")}, held: waits}},
		{"c2", outcome{images: images("b"), inventory: []v1alpha1.InventoryEntry{entry("new", "b"), entry("old", "a")}, held: waits}},
		{"c3", outcome{images: images("b"), inventory: []v1alpha1.InventoryEntry{entry("new", "b")}}},
	} {
		w.Snapshot = source.Snapshot{Commit: deploy.commit}
		history = cr.history(w, history, deploy.o)
	}
	var got []string
	for _, d := range history {
		got = append(got, fmt.Sprintf("%d %s %s", d.Number, d.Commit, d.Outcome))
	}
	if diff := cmp.Diff([]string{"2 c2 Applied", "1 c1 Applied"}, got); diff != "" {
		t.Error(diff)
	}
}

// A target waits for more than a deletion where a change of what git has is held, or the whole target is.
func TestWhatAHeldTargetWaitsFor(t *testing.T) {
	held := func(action manifest.Action) ChangeResult { return ChangeResult{Held: &HeldResult{Action: action}} }
	for name, c := range map[string]struct {
		changes []ChangeResult
		want    bool
	}{
		"a deletion":              {[]ChangeResult{{Action: manifest.Update}, held(manifest.Prune)}, false},
		"a deletion and a change": {[]ChangeResult{held(manifest.Prune), held(manifest.Update)}, true},
		"the whole target":        {nil, true},
	} {
		if got := (TargetResult{Result: Held, Changes: c.changes}).waits(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	rollout := manifest.Change{Held: &manifest.Held{Reason: manifest.HeldInUse, Rollout: true}}
	use := manifest.Change{Held: &manifest.Held{Reason: manifest.HeldInUse}}
	if !(&target.Wait{Held: []manifest.Change{rollout}}).OnlyHealth() || (&target.Wait{Held: []manifest.Change{rollout, use}}).OnlyHealth() {
		t.Error("the end of a rollout is waited for as health is, and that of a use is not")
	}
}
