package reconcile

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// applied is what an apply did. The zero value: nothing.
type applied struct {
	apply.Applied
	attempted bool  // the plan had changes to write
	err       error // with it, the rest says how far the apply came
}

// isRecorded reports whether the apply wrote the spec of the record, and with it the decided digests.
func (a applied) isRecorded() bool { return a.Record.Generation != 0 }

// untouched is a plan that is not applied, because there is nothing to write.
func untouched(planned *plan.Plan) applied {
	return applied{Applied: apply.Nothing(planned)}
}

// carry carries a plan out where there is something to write; spec is that of the record then.
func carry(ctx context.Context, t task, p prepared, spec v1alpha1.PipelineSyncSpec) applied {
	out := untouched(p.planned)
	out.attempted = len(p.planned.Pending()) > 0
	if writesSpec(t, p) {
		out.Applied, out.err = apply.Carry(ctx, t.desired.Cluster, p.planned, apply.Options{Spec: spec, Recorded: t.mark.Reopen, Confirm: t.pass.Confirm})
		out.Record.Version = t.mark.Leave(ctx, out.Record.Version)
	}
	return out
}

// writesSpec reports whether the plan, or the record itself, makes a write necessary. A new pin is kept also where it changes
// nothing: the reference may be new and its bytes the same.
func writesSpec(t task, p prepared) bool {
	d := t.desired
	return len(p.planned.Pending()) > 0 || p.planned.Unfinished() || d.Record == nil || !pin.Same(p.decided.Pins, d.Record.Spec.Images) ||
		d.Record.Spec.ServiceAccount != d.Settings.ServiceAccount
}

// conclude reads the health of a target after its apply, and writes the status of its record.
func (r *Reconciler) conclude(ctx context.Context, t task, p prepared, corrected []drift.Finding, done applied) (Result, error) {
	result := p.result(t.desired)
	result.Changes = Changes(slices.Concat(done.Changes, done.Held), false)
	if IsOvertaken(done.err) {
		return result, done.err // the other syncer records the state of the target
	}
	result.Result, result.Drift = done.verdict(), r.findings(ctx, t, p)
	deployed := p.decided.Deployed(t.desired, p.planned.LeftAlone())
	now, unhealthy := observeHealth(ctx, t, p.planned, done, deployed)
	result.Detail = detail(t, p, done, now.health)
	o := appliedOutcome(t, p, done, deployed)
	flapping := record.Flapping(p.decided.Pins, r.Dates.In(t.desired.Cluster), t.desired.Environment.Images.Interval.Duration)
	o.Health = healthFor(now.health, now.swapped, slices.Concat(flapping, p.planned.Terminating()))
	if done.err == nil { // else the comparison before the apply is not true any more
		o.Drift = comparison(t, result, among(corrected, done.Changes), r.ChecksImages)
	}
	if done.isRecorded() {
		r.recorder().reportFlapping(ctx, t.desired, p.decided.Pins)
	}
	result.Message = summary(result, len(p.drift), p.decided.Kept, o)
	if t.desired.Record == nil && !done.isRecorded() {
		return result, done.err // there is no record to write it in
	}
	saved := r.recorder().save(ctx, t, o, done.Record, now.objects)
	return result, errors.Join(done.err, saved, unhealthy, uncorrected(t, result.Detail.Uncompared))
}

// verdict says how the target fared.
func (a applied) verdict() Verdict {
	switch {
	case len(a.Held) > 0:
		return Held
	case a.attempted:
		return Applied
	}
	return Unchanged
}

// findings returns the drift that a plan leaves alone, and the findings beside it, all of them completed.
func (r *Reconciler) findings(ctx context.Context, t task, p prepared) []drift.Finding {
	found := slices.Concat(p.drift, r.Rating.Planned(t.desired, p.planned))
	if r.ChecksImages {
		found = append(found, r.Rating.Rated(r.Pins.Findings(ctx, t.pass.Lookups, t.desired, p.decided.Pins))...)
	}
	r.Rating.Complete(t.desired, found)
	drift.Sort(found)
	return found
}

// detail returns what a caller has to know to reconcile the target again.
func detail(t task, p prepared, done applied, h target.Health) Detail {
	out := Detail{
		Uncompared: UncomparedError(p.planned), Live: p.planned.Seen(done.Live), Pins: p.decided.Pins,
		Unwatched: len(t.pass.unwatched(t.desired)) > 0, Wait: target.WaitFor(t.desired, slices.Concat(done.Held, h.Waiting)),
	}
	out.Converged = done.err == nil && out.Uncompared == nil && len(done.Held) == 0 && h.Status != health.InProgress &&
		!record.NewlyCutOff(t.last().Status.Inventory, done.Inventory)
	return out
}
