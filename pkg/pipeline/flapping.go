package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
)

// flappingMoves in a row, each found by the look after the one before, and a tag flaps: a build pushes it all the time, or two
// registries behind one name have different images.
const flappingMoves = 3

// within reports whether a pin got its digest so short a time ago that no look since can have found the tag at rest.
func within(now time.Time, pin v1alpha1.PinnedImage, interval time.Duration) bool {
	return now.Sub(pin.ResolvedAt.Time) < 2*interval
}

// flapping says of each tag in use that moved at each of the last looks how often it did.
func flapping(pins []v1alpha1.PinnedImage, now time.Time, interval time.Duration) []string {
	var out []string
	for _, pin := range pins {
		if pin.UnusedSince == nil && pin.Moves >= flappingMoves && within(now, pin, interval) {
			out = append(out, flaps(pin, interval))
		}
	}
	return out
}

func flaps(pin v1alpha1.PinnedImage, interval time.Duration) string {
	return fmt.Sprintf("%s flaps: it moved %d times in a row, and is followed at most once in %s; stop what pushes it, or deploy by a tag that stays",
		pin.Reference, pin.Moves, interval)
}

// tellFlapping says once that a tag begins to flap, in an event of the record and in the log.
func (c *carrier) tellFlapping(ctx context.Context, w *target.Desired, pins []v1alpha1.PinnedImage) {
	if w.Record == nil {
		return
	}
	before := map[target.PinKey]string{}
	for _, pin := range w.Record.Spec.Images {
		before[target.KeyOf(pin)] = pin.Digest
	}
	for _, pin := range pins {
		if pin.Moves != flappingMoves || before[target.KeyOf(pin)] == pin.Digest {
			continue
		}
		note := flaps(pin, w.Environment.Images.Interval.Duration)
		c.log.Warn("a tag flaps", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "message", note)
		if err := w.Cluster.Records().Tell(ctx, w.Record, cluster.Event{Warning: true, Reason: "TagFlaps", Action: "Follow", Note: note}); err != nil {
			c.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
		}
	}
}
