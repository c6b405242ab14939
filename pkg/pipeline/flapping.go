package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// tellFlapping reports once that a tag begins to flap, in an event of the record and in the log.
func (c *carrier) tellFlapping(ctx context.Context, w *target.Desired, pins []v1alpha1.PinnedImage) {
	if w.Record == nil {
		return
	}
	for _, event := range record.FlappingEvents(w.Record.Spec.Images, pins, w.Environment.Images.Interval.Duration) {
		c.log.Warn("a tag flaps", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "message", event.Note)
		if err := w.Cluster.Records().Tell(ctx, w.Record, cluster.Event(event)); err != nil {
			c.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
		}
	}
}
