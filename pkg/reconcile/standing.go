package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// standingTimeout bounds the comparison with the commit applied last: that commit may have to be fetched.
const standingTimeout = 10 * time.Second

// compareLastApplied compares a target with the commit applied last; nil: it was never applied, or the reconcile was stopped. A
// newer commit that is refused, or that waits for days to be promoted, does not hide drift of the objects of the earlier one.
// Nothing is corrected: that would apply an old commit.
func compareLastApplied(ctx context.Context, planner *target.Planner, rating Rating, t task) *record.Drift {
	d := t.desired
	if d.Record == nil || d.Record.Status.LastAppliedCommit == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	at, set, err := planner.LastApplied(ctx, d)
	if err != nil {
		return unknownDrift(err)
	}
	planned, err := plan.Make(ctx, d.Cluster, plan.Request{Target: d.Target, Record: d.Record, Set: set, Full: t.pass.Options.Full, ReadOnly: true, Policies: at.Policies})
	if err != nil {
		return unknownDrift(err)
	}
	found := rating.Differences(d, Released(d.Record.Status, planned.Changes()), planned.Changes())
	found = append(found, rating.Planned(d, planned)...)
	rating.Complete(at, found)
	drift.Sort(found)
	return &record.Drift{Found: found}
}

// unknownDrift is the result of a comparison that failed; nil where the reconcile was stopped, which says nothing about the
// target.
func unknownDrift(err error) *record.Drift {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return &record.Drift{Unknown: err.Error()}
}
