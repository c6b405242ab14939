package pipeline

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// standing is how what was applied last stands, seen from a target whose newest commit is refused or waits. The zero
// value says that nobody looked.
type standing struct {
	compared bool
	drift    []drift.Finding
	err      error // why it could not be compared
}

// standingTimeout bounds the comparison: an old commit may have to be fetched.
const standingTimeout = 10 * time.Second

// standingOf compares a target with the commit last applied. A commit that is refused, or that waits for days to be
// promoted, says nothing of what somebody does meanwhile to the objects of the one before. Nothing is put right: that
// would carry an old commit out.
func (c *carrier) standingOf(ctx context.Context, w *target.Desired) standing {
	if w.Record == nil || w.Record.Status.LastAppliedCommit == "" {
		return standing{}
	}
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	at, set, err := c.planner.LastApplied(ctx, w)
	if err != nil {
		return standing{err: err}
	}
	plan, err := apply.Make(ctx, w.Cluster, apply.Request{Target: w.Target, Record: w.Record, Set: set, Full: c.options.full, ReadOnly: true, Rules: at.Rules})
	if err != nil {
		return standing{err: err}
	}
	found := c.findings(w, released(w.Record.Status, plan.Changes), plan.Changes)
	found = append(found, c.uncompared(w, plan)...)
	found = append(found, c.rated(notRerun(w, plan))...)
	found = append(found, c.rated(strays(w, plan))...)
	locate(at, found)
	c.nameUsers(w, found)
	drift.Sort(found)
	return standing{compared: true, drift: found}
}

// note says in a status what a comparison with the commit last applied found. What registries said before stays. Of a
// target that could not be compared nobody knows that it is in sync.
func (s standing) note(status *v1alpha1.PipelineSyncStatus, before *v1alpha1.DriftSummary, now time.Time) {
	switch {
	case s.compared:
		status.Drift = record.KeepImageFindings(drift.Summary(s.drift, nil, record.WithoutImages(before, true), now), before)
		record.SetDrifted(status)
	case s.err != nil && !errors.Is(s.err, context.Canceled) && !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionDrifted):
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionUnknown, Reason: "NotCompared",
			Message: manifest.Shorten([]string{"what was applied last could not be compared: " + s.err.Error()}),
		})
	}
}
