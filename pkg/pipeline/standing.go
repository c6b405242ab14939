package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// standingTimeout bounds the comparison: an old commit may have to be fetched.
const standingTimeout = 10 * time.Second

// compareLastApplied compares a target with the commit last applied, where the newest commit is refused or waits; nil: the
// target was never applied, or syncer stops. The objects of the applied commit may drift meanwhile. Nothing is corrected:
// that would apply an old commit.
func (c *carrier) compareLastApplied(ctx context.Context, w *target.Desired) *record.Drift {
	if w.Record == nil || w.Record.Status.LastAppliedCommit == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	at, set, err := c.planner.LastApplied(ctx, w)
	if err != nil {
		return unknownDrift(err)
	}
	plan, err := apply.Make(ctx, w.Cluster, apply.Request{Target: w.Target, Record: w.Record, Set: set, Full: c.options.full, ReadOnly: true, Rules: at.Rules})
	if err != nil {
		return unknownDrift(err)
	}
	found := c.findings(w, released(w.Record.Status, plan.Changes), plan.Changes)
	found = append(found, c.uncompared(w, plan)...)
	found = append(found, c.rated(notRerun(w, plan))...)
	found = append(found, c.rated(strays(w, plan))...)
	locate(at, found)
	c.nameUsers(w, found)
	drift.Sort(found)
	return &record.Drift{Found: found}
}

// unknownDrift is the result of a comparison that failed; nil where syncer stops, which says nothing about the target.
func unknownDrift(err error) *record.Drift {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return &record.Drift{Unknown: err.Error()}
}
