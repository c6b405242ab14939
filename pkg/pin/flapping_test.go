package pin

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// A tag that has another digest at each look is followed once in an interval, however many passes there are, and reported
// until it rests.
func TestTagThatMovesAtEachLook(t *testing.T) {
	const interval = time.Minute
	deployments, date := 20, now
	d := deciding(v1alpha1.Track, v1alpha1.KeepPins{Deployments: &deployments})
	d.desired.Environment.Images.Interval = v1alpha1.Duration{Duration: interval}
	d.desired.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
	d.desired.Record = &v1alpha1.PipelineSync{}
	d.desired.Record.Status.LastAppliedCommit = "c1"
	asked, moving := 0, true
	r := resolverOf(func() time.Time { return date }, tagStands(func() string {
		if moving {
			asked++
		}
		return fmt.Sprintf("sha256:%064d", asked)
	}))
	var reported []int
	for second := 0; second < 10*60; second += 5 {
		if second == 6*60 {
			moving = false
		}
		date = now.Add(time.Duration(second) * time.Second)
		decided, err := r.Decide(t.Context(), d.desired, Request{Lookups: r.NewLookups()})
		if err != nil {
			t.Fatal(err)
		}
		d.desired.Record.Spec.Images = decided.Pins
		if pin := decided.Pins[0]; pin.Moves >= 3 && record.MovedLately(date, pin, interval) {
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
	d.resolver = resolverOf(func() time.Time { return date }, nil)
	d.desired.Environment.Images.Interval = v1alpha1.Duration{Duration: time.Minute}
	for i := range 10 {
		date = date.Add(3 * time.Minute)
		pin = d.follow(pin, target.KeyOf(pin), image.Resolved{Digest: fmt.Sprint(i + 1)})
		if pin.Moves != 1 {
			t.Fatalf("after %d moves: %d in a row", i+1, pin.Moves)
		}
	}
}
