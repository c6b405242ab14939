package pipeline

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// tell writes the events of a step of a record.
func (c *carrier) tell(ctx context.Context, w *target.Desired, written cluster.Written, before, after v1alpha1.PipelineSyncStatus) {
	about := recordOf(w)
	if w.Record == nil {
		about.Name, about.Namespace = w.Target.RecordName(), w.Cluster.Namespace()
	}
	if about.UID == "" {
		about.UID = written.UID
	}
	for _, event := range record.Events(before, after) {
		if err := w.Cluster.Records().Tell(ctx, &about, cluster.Event(event)); err != nil {
			c.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
		}
	}
}

// tellRewound says that a target follows a history that was rewritten, which is one way to roll back and may be a mistake.
func (r *Runner) tellRewound(ctx context.Context, w *target.Desired, before string) {
	if w.Record == nil {
		return // it was never deployed, so that nothing was taken back
	}
	note := fmt.Sprintf("the branch was rewritten by a force push; it stood at %.8s, and %.8s is followed now", before, w.Snapshot.Commit)
	err := w.Cluster.Records().Tell(ctx, w.Record, cluster.Event{Warning: true, Reason: "HistoryRewritten", Action: "Fetch", Note: note})
	if err != nil {
		r.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
	}
}
