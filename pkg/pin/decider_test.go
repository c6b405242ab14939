package pin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// resolverOf is a Resolver with a clock and a registry.
func resolverOf(clock func() time.Time, source image.Source) *Resolver {
	config := &v1alpha1.Config{}
	return &Resolver{
		Config: config, Checks: NewChecks(config, clock), Dates: target.Dates{Now: clock}, Log: slog.New(slog.DiscardHandler),
		Source: func(image.Credentials) image.Source { return source },
	}
}

// deciding is a decider of one target at a fixed time.
func deciding(policy v1alpha1.PinPolicy, keep v1alpha1.KeepPins) *decider {
	environment := &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Policy: policy, KeepPins: keep}}
	desired := &target.Desired{Environment: environment, Snapshot: source.Snapshot{Commit: "c2"}}
	return newDecider(resolverOf(func() time.Time { return now }, nil), desired, Request{})
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

// A tag that moved is deployed by the next pass too when this one could not: how often a tag is looked at is no reason
// to forget what it was found to be.
func TestMoveIsNotForgottenBeforeItIsRecorded(t *testing.T) {
	deployments := 20
	digests := []string{"sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)}
	asked := 0
	d := deciding(v1alpha1.Track, v1alpha1.KeepPins{Deployments: &deployments})
	r := d.resolver
	d.desired.Environment.Images.Interval = v1alpha1.Duration{Duration: time.Minute}
	d.desired.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
	d.desired.Record = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "web:1", Digest: digests[0], Seen: digests[0]}}}}
	carriedOut := false
	pass := func(now string) Decision {
		t.Helper()
		r.Source = func(image.Credentials) image.Source { return tagStands(func() string { asked++; return now }) }
		decided, err := r.Decide(t.Context(), d.desired, Request{Lookups: r.NewLookups()})
		if err != nil {
			t.Fatal(err)
		}
		r.Checks.Moved(d.desired.Target, decided.Moved, carriedOut)
		return decided
	}
	for i := range 3 { // none of these passes is carried out
		if got := pass(digests[1]); got.Resolved["web:1"].Digest != digests[1] || asked != i+1 {
			t.Errorf("pass %d: %v after %d questions", i, got.Resolved, asked)
		}
	}
	carriedOut = true
	d.desired.Record.Spec.Images = pass(digests[1]).Pins
	for i := range 3 { // at rest the interval counts, wherever the tag stands by now
		if got := pass(digests[i%2]); got.Resolved["web:1"].Digest != digests[1] || asked != 4 {
			t.Errorf("recorded: %v after %d questions", got.Resolved, asked)
		}
	}
}

// tagStands is a registry with one tag.
type tagStands func() string

func (f tagStands) Digest(context.Context, string) (string, error)     { return f(), nil }
func (tagStands) Confirm(context.Context, string, string) error        { return nil }
func (tagStands) Tags(context.Context, string) ([]string, error)       { return nil, nil }
func (tagStands) Verify(context.Context, string, string, string) error { return nil }

// A pin is lost when its reference runs and the record has none of it; a refresh or another range looks anew.
func TestLostPins(t *testing.T) {
	ran := []v1alpha1.Deployment{{Outcome: record.Applied, Images: []v1alpha1.DeployedImage{{Reference: "app:1", Digest: "sha256:a"}}}}
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
		d := decider{desired: &target.Desired{Record: c.record, Rendered: target.Rendered{Refs: []image.Reference{{Value: "app:1", Form: image.Tag}, {Value: "new:1", Form: image.Tag}, {Value: "x@sha256:b", Form: image.Digest}}}}}
		var got []string
		for _, ref := range d.lost() {
			got = append(got, ref.Value)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// BenchmarkDecide measures the decision about a target of which all references are pinned.
func BenchmarkDecide(b *testing.B) {
	deployments := 20
	d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &deployments})
	d.desired.Record = &v1alpha1.PipelineSync{}
	for i := range 20 {
		reference := fmt.Sprintf("registry.example.com/data/app-%d:v1", i)
		d.desired.Rendered.Refs = append(d.desired.Rendered.Refs, image.Reference{Value: reference, Form: image.Tag})
		pin := v1alpha1.PinnedImage{Reference: reference, Digest: "sha256:" + strings.Repeat("a", 64)}
		d.desired.Record.Spec.Images = append(d.desired.Record.Spec.Images, pin)
	}
	r := d.resolver
	for b.Loop() {
		decided, err := r.Decide(b.Context(), d.desired, Request{Lookups: r.NewLookups()})
		if err != nil || len(decided.Resolved) != 20 {
			b.Fatal(decided.Resolved, err)
		}
	}
}
