package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// A tag that has another digest at each look is followed once in an interval, however many passes there are, and reported
// until it rests.
func TestTagThatMovesAtEachLook(t *testing.T) {
	const interval = time.Minute
	deployments, date := 20, now
	d := deciding(v1alpha1.Track, v1alpha1.KeepPins{Deployments: &deployments})
	d.now, d.looked = func() time.Time { return date }, map[look]time.Time{}
	d.work.Environment.Images.Interval = v1alpha1.Duration{Duration: interval}
	d.work.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
	d.work.Record = &v1alpha1.PipelineSync{}
	d.work.Record.Status.LastAppliedCommit = "c1"
	asked, moving := 0, true
	stands := tagStands(func() string {
		if moving {
			asked++
		}
		return fmt.Sprintf("sha256:%064d", asked)
	})
	var reported []int
	for second := 0; second < 10*60; second += 5 {
		if second == 6*60 {
			moving = false
		}
		date = now.Add(time.Duration(second) * time.Second)
		lookup := image.NewLookup(stands)
		c := &carrier{Runner: d.Runner, lookups: &lookups{byCredentials: map[string]*image.Lookup{image.Credentials{}.ID(): lookup}}}
		decided, err := c.decide(t.Context(), d.work)
		if err != nil {
			t.Fatal(err)
		}
		d.work.Record.Spec.Images = decided.pins
		if got := flapping(decided.pins, date, interval); len(got) == 1 && strings.HasPrefix(got[0], "web:1 flaps: it moved ") {
			reported = append(reported, second)
		}
	}
	if asked != 6 { // one in each minute
		t.Errorf("%d digests were seen", asked)
	}
	if len(reported) == 0 || reported[0] < 3*60 || reported[0] > 4*60 || reported[len(reported)-1] < 6*60 || reported[len(reported)-1] > 9*60 {
		t.Errorf("it is reported at the seconds %v", reported)
	}
}

// A tag that moves now and then does not flap.
func TestTagThatRestsBetweenItsMoves(t *testing.T) {
	pin := v1alpha1.PinnedImage{Reference: "web:1", Digest: "0", Seen: "0"}
	d := deciding(v1alpha1.Track, v1alpha1.KeepPins{})
	date := now
	d.now = func() time.Time { return date }
	d.work.Environment.Images.Interval = v1alpha1.Duration{Duration: time.Minute}
	for i := range 10 {
		date = date.Add(3 * time.Minute)
		pin = d.follow(pin, target.KeyOf(pin), image.Resolved{Digest: fmt.Sprint(i + 1)})
		if got := flapping([]v1alpha1.PinnedImage{pin}, date, time.Minute); len(got) > 0 || pin.Moves != 1 {
			t.Fatalf("after %d moves: %v", i+1, got)
		}
	}
}

// What a check of the images finds moved is followed at once, but for a tag that was followed just before.
func TestTagThatWasFollowedIsNotDueForAnInterval(t *testing.T) {
	date := now
	r := &Runner{now: func() time.Time { return date }, looked: map[look]time.Time{}}
	target, other := v1alpha1.Target{Pipeline: "a", Environment: "dev"}, v1alpha1.Target{Pipeline: "b", Environment: "dev"}
	const interval = time.Minute
	for _, at := range []v1alpha1.Target{target, other} {
		r.due(at, "web:1", interval)
		r.due(at, "db:1", interval)
	}
	r.noteFollowed(target, []string{"web:1"})
	date = date.Add(20 * time.Second)
	if wait := r.forgetLooks(target, interval); wait != 40*time.Second || r.due(target, "web:1", interval) || !r.due(target, "db:1", interval) || r.due(other, "db:1", interval) {
		t.Errorf("it waits %s: %v", wait, r.looked)
	}
	date = date.Add(40 * time.Second)
	if wait := r.forgetLooks(target, interval); wait != 0 || !r.due(target, "web:1", interval) {
		t.Errorf("an interval later it waits %s", wait)
	}
}
