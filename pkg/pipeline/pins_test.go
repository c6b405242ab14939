package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// deciding is a decider of one target at a fixed time.
func deciding(policy v1alpha1.PinPolicy, keep v1alpha1.KeepPins) *decider {
	runner := &Runner{now: func() time.Time { return now }}
	environment := &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Policy: policy, KeepPins: keep}}
	return &decider{carrier: &carrier{Runner: runner}, work: &target.Desired{Environment: environment, Snapshot: source.Snapshot{Commit: "c2"}}}
}

// A tag is followed from what it was when it was last looked at, and not from what runs: after a rollback the two differ.
func TestFollow(t *testing.T) {
	key := target.PinKey{Reference: "web:1", Refresh: "r", Semver: "1.x"}
	old := metav1.NewTime(now.Add(-time.Hour))
	running := v1alpha1.PinnedImage{Reference: "web:1", Refresh: "r", Semver: "1.x", Tag: "v1.0.0", Digest: "a", Seen: "a", Commit: "c1", ResolvedAt: old, PromotedFrom: "dev"}
	moved := v1alpha1.PinnedImage{Reference: "web:1", Refresh: "r", Semver: "1.x", Tag: "v1.1.0", Digest: "b", Seen: "b", Commit: "c2", ResolvedAt: metav1.NewTime(now), Moves: 1}
	with := func(change func(*v1alpha1.PinnedImage)) v1alpha1.PinnedImage {
		pin := running
		change(&pin)
		return pin
	}
	for name, c := range map[string]struct {
		pin   v1alpha1.PinnedImage
		found image.Resolved
		want  v1alpha1.PinnedImage
	}{
		"the tag stayed":                     {running, image.Resolved{Tag: "v1.0.0", Digest: "a"}, running},
		"the tag moved":                      {running, image.Resolved{Tag: "v1.1.0", Digest: "b"}, moved},
		"the first look after a rollback":    {with(func(p *v1alpha1.PinnedImage) { p.Seen = "" }), image.Resolved{Tag: "v1.1.0", Digest: "b"}, with(func(p *v1alpha1.PinnedImage) { p.Seen = "b" })},
		"after a rollback, the tag stayed":   {with(func(p *v1alpha1.PinnedImage) { p.Seen = "b" }), image.Resolved{Tag: "v1.1.0", Digest: "b"}, with(func(p *v1alpha1.PinnedImage) { p.Seen = "b" })},
		"after a rollback, the tag moved on": {with(func(p *v1alpha1.PinnedImage) { p.Digest, p.Seen = "0", "a" }), image.Resolved{Tag: "v1.1.0", Digest: "b"}, moved},
	} {
		if diff := cmp.Diff(c.want, deciding(v1alpha1.Track, v1alpha1.KeepPins{}).follow(c.pin, key, c.found)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSeenIsForTrackAlone(t *testing.T) {
	found := image.Resolved{Digest: "a"}
	if got := deciding(v1alpha1.Pin, v1alpha1.KeepPins{}).seen(found); got != "" {
		t.Errorf("under Pin: %q", got)
	}
	if got := deciding(v1alpha1.Track, v1alpha1.KeepPins{}).seen(found); got != "a" {
		t.Errorf("under Track: %q", got)
	}
}

// An unused pin goes when it is past both limits.
func TestKeeps(t *testing.T) {
	for _, c := range []struct {
		deployments     int
		keepFor, unused time.Duration
		last, number    int64
		want            bool
	}{
		{20, time.Hour, 0, 1, 2, true},
		{20, time.Hour, 2 * time.Hour, 1, 21, true},          // within the deployments
		{20, time.Hour, 2 * time.Hour, 1, 22, false},         // past both
		{20, time.Hour, time.Hour, 1, 22, true},              // within the time
		{20, time.Hour, time.Hour + 1, 1, 22, false},         // just past it
		{0, time.Hour, 2 * time.Hour, 5, 6, false},           // no deployments are asked for
		{0, time.Hour, time.Minute, 5, 6, true},              // but the time is
		{0, 0, 0, 1, 100, true},                              // in the very moment
		{1000, time.Nanosecond, 1e6 * time.Hour, 1, 2, true}, // however long ago
	} {
		d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &c.deployments, For: v1alpha1.Duration{Duration: c.keepFor}})
		since := metav1.NewTime(now.Add(-c.unused))
		if got := d.keeps(v1alpha1.PinnedImage{LastDeployment: c.last, UnusedSince: &since}, c.number); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func images(digests ...string) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for i, digest := range digests {
		out = append(out, v1alpha1.DeployedImage{Reference: fmt.Sprint("r", i), Digest: digest})
	}
	return out
}

func TestReturnsTo(t *testing.T) {
	applied := func(number int64, set string, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: outcomeApplied, Set: set, Images: images(digests...)}
	}
	failed := func(number int64, digests ...string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Outcome: outcomeFailed, Images: images(digests...)}
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

// The hash tells sets apart by what was applied, and by nothing that came of applying it.
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
		held := []v1alpha1.HeldChange{{ObjectReference: objectReference(app), Action: string(manifest.Update), Hash: c.heldHash}}
		var history []v1alpha1.Deployment
		for _, deploy := range []struct {
			author string
			o      outcome
		}{
			{"alice", outcome{images: images("a"), inventory: inventory("a")}},
			{"bob", outcome{images: images("b"), inventory: inventory("a"), held: held}},
			{"carol", outcome{images: images("b"), inventory: c.after, released: releases(held, c.changes, c.after)}},
		} {
			w.Snapshot = source.Snapshot{Commit: "of " + deploy.author, Author: deploy.author}
			history = cr.history(w, history, deploy.o)
		}
		if history[0].Author != c.author || history[0].Commit != "of "+c.author || history[0].Outcome != outcomeApplied {
			t.Errorf("%s: it stands as %+v", name, history[0])
		}
	}
}

// While only the deletion of what left git waits, what git has is deployed; the deletion itself deploys nothing.
func TestDeploymentIsAppliedWhileADeletionWaits(t *testing.T) {
	entry := func(name, hash string) v1alpha1.InventoryEntry {
		return v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: "etl", Name: name, Hash: hash}
	}
	waits := []v1alpha1.HeldChange{{ObjectReference: objectReference(entry("old", "a").ID()), Action: string(manifest.Prune)}}
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

// A tag that moved is deployed by the next pass too when this one could not: how often a tag is looked at is no reason
// to forget what it was found to be.
func TestMoveIsNotForgottenBeforeItIsRecorded(t *testing.T) {
	deployments := 20
	digests := []string{"sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)}
	asked := 0
	d := deciding(v1alpha1.Track, v1alpha1.KeepPins{Deployments: &deployments})
	d.looked = map[look]time.Time{}
	d.work.Environment.Images.Interval = v1alpha1.Duration{Duration: time.Minute}
	d.work.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
	d.work.Record = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "web:1", Digest: digests[0], Seen: digests[0]}}}}
	carriedOut := false
	pass := func(now string) decision {
		t.Helper()
		lookup := image.NewLookup(tagStands(func() string { asked++; return now }))
		c := &carrier{Runner: d.Runner, lookups: &lookups{byCredentials: map[string]*image.Lookup{image.Credentials{}.ID(): lookup}}}
		decided, err := c.decide(t.Context(), d.work)
		if err != nil {
			t.Fatal(err)
		}
		if !carriedOut {
			c.lookAgain(d.work.Target, decided.moved)
		}
		return decided
	}
	for i := range 3 { // none of these passes is carried out
		if got := pass(digests[1]); got.resolved["web:1"].Digest != digests[1] || asked != i+1 {
			t.Errorf("pass %d: %v after %d questions", i, got.resolved, asked)
		}
	}
	carriedOut = true
	d.work.Record.Spec.Images = pass(digests[1]).pins
	for i := range 3 { // at rest the interval counts, wherever the tag stands by now
		if got := pass(digests[i%2]); got.resolved["web:1"].Digest != digests[1] || asked != 4 {
			t.Errorf("recorded: %v after %d questions", got.resolved, asked)
		}
	}
}

// tagStands is a registry with one tag.
type tagStands func() string

func (f tagStands) Digest(context.Context, string) (string, error)     { return f(), nil }
func (tagStands) Confirm(context.Context, string, string) error        { return nil }
func (tagStands) Tags(context.Context, string) ([]string, error)       { return nil, nil }
func (tagStands) Verify(context.Context, string, string, string) error { return nil }

// References that git gave up leave nothing behind, however long a daemon runs.
func TestOldLooksAreForgotten(t *testing.T) {
	day := now
	r := &Runner{Config: &v1alpha1.Config{}, now: func() time.Time { return day }, looked: map[look]time.Time{}}
	target := v1alpha1.Target{Pipeline: "p", Environment: "dev"}
	for i := range 10_000 {
		r.due(target, fmt.Sprintf("app:%d", i), time.Minute)
		day = day.Add(10 * time.Minute)
	}
	if len(r.looked) > 1000 {
		t.Errorf("%d looks are remembered", len(r.looked))
	}
	if r.due(target, "app:9999", time.Hour) {
		t.Error("the last look is forgotten")
	}
}

// A pin is lost when its reference runs and the record has none of it; a refresh or another range looks anew.
func TestLostPins(t *testing.T) {
	ran := []v1alpha1.Deployment{{Outcome: outcomeApplied, Images: []v1alpha1.DeployedImage{{Reference: "app:1", Digest: "sha256:a"}}}}
	pin := v1alpha1.PinnedImage{Reference: "app:1", Refresh: "old", Digest: "sha256:a"}
	record := func(images []v1alpha1.PinnedImage, commit string, history []v1alpha1.Deployment) *v1alpha1.PipelineSync {
		return &v1alpha1.PipelineSync{
			Spec:   v1alpha1.PipelineSyncSpec{Images: images},
			Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: commit, History: history},
		}
	}
	for name, c := range map[string]struct {
		record *v1alpha1.PipelineSync
		want   string
	}{
		"no record":        {nil, "app:1 new:1"},
		"a new record":     {record(nil, "", nil), "app:1 new:1"},
		"an emptied one":   {record(nil, "c", ran), "app:1"},
		"one as it was":    {record([]v1alpha1.PinnedImage{pin}, "c", ran), ""},
		"one pin removed":  {record([]v1alpha1.PinnedImage{{Reference: "other:1"}}, "c", ran), "app:1"},
		"nothing deployed": {record(nil, "c", nil), ""},
	} {
		d := decider{work: &target.Desired{Record: c.record, Rendered: target.Rendered{Refs: []image.Reference{{Value: "app:1", Form: image.Tag}, {Value: "new:1", Form: image.Tag}, {Value: "x@sha256:b", Form: image.Digest}}}}}
		var got []string
		for _, ref := range d.lost() {
			got = append(got, ref.Value)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
