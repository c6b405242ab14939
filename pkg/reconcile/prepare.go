package reconcile

import (
	"context"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// prepare decides the digests of a target and plans how it gets to what git says. It writes nothing of the target.
func (t *task) prepare(ctx context.Context) (pin.Decision, *apply.Plan, error) {
	return t.r.prepare(ctx, t.d, t.pass, &t.result, preparation{confirm: t.pass.Confirm, recorded: t.mark.Reopen})
}

// preparation says how a plan is used.
type preparation struct {
	readOnly bool // leave the cluster as it is, the key of hashes included
	confirm  func(context.Context) error
	recorded func(cluster.Written)
}

// prepare is for reconciles and comparisons. The decision has the tags that moved also with an error.
func (r *Reconciler) prepare(ctx context.Context, d *target.Desired, pass *Pass, result *Result, how preparation) (pin.Decision, *apply.Plan, error) {
	if d.Err != nil {
		return pin.Decision{}, nil, d.Err
	}
	decided, err := r.Pins.Decide(ctx, d, pass.pinning(d))
	if err != nil {
		return decided, nil, err
	}
	result.Images = images(d, decided)
	set, err := d.Applicable(decided.Resolved, d.Cluster.Namespace())
	if err != nil {
		return decided, nil, err
	}
	if decided.Pins, err = fit(d, decided, set); err != nil {
		return decided, nil, err
	}
	plan, err := apply.Make(ctx, d.Cluster, apply.Request{
		Target: d.Target, Record: d.Record, Set: set, Brings: pass.provides[d.Cluster.Server()], Neighbours: pass.neighbours[d.Cluster.Server()],
		ReadOnly: how.readOnly, Full: pass.Options.Full, Rules: d.Rules, Confirm: how.confirm, Recorded: how.recorded,
	})
	if err == nil {
		err = plan.LimitPrunes(pruneLimit(d, pass.allowed()))
	}
	return decided, plan, err
}

// pinning says how the references of a target are resolved in a pass.
func (p *Pass) pinning(d *target.Desired) pin.Request {
	request := pin.Request{Lookups: p.Lookups, AllowPromotion: p.allowed().Promotions[d.Target] != ""}
	if from := d.Environment.Images.PromoteFrom; from != "" {
		request.From = p.Commit.Find(v1alpha1.Target{Pipeline: d.Target.Pipeline, Environment: from})
	}
	return request
}

// fit returns the pins that the record can hold beside the inventory of a set. A target that is too large for a record is
// refused before anything of it is tried or written.
func fit(d *target.Desired, decided pin.Decision, set manifest.Set) ([]v1alpha1.PinnedImage, error) {
	demand := record.Demand{Set: make([]manifest.ID, len(set)), Pins: decided.Pins, Images: decided.Deployed(d, nil)}
	for i, obj := range set {
		demand.Set[i] = manifest.IDOf(obj)
	}
	if d.Record != nil {
		demand.Before = *d.Record
	}
	return demand.Fit()
}

func pruneLimit(d *target.Desired, allowed target.Allowed) apply.PruneLimit {
	prune := d.Environment.Prune
	return apply.PruneLimit{
		Disabled: !*prune.Enabled, MaxPercent: *prune.MaxPercent, MaxObjects: prune.MaxObjects, Allowed: allowed.Prunes[d.Target],
	}
}

// leaveDrift takes changes of the cluster alone out of a plan: all of them where drift is reported, and else the fields that
// the configuration leaves alone and the ones that another manager keeps taking. The drift that is left in the plan is
// corrected.
func (t *task) leaveDrift(plan *apply.Plan) {
	d := t.d
	var conflicts []v1alpha1.Contest
	if d.Record != nil {
		conflicts = d.Record.Status.Contested
	}
	spared := func(change manifest.Change, field manifest.FieldChange) bool {
		return t.r.Rating.exempts(d, change.ID, field.Path) || record.IsContested(conflicts, change.ID, field.Path, t.r.Dates.In(d.Cluster))
	}
	left := plan.Leave(func(change manifest.Change, field *manifest.FieldChange) bool {
		switch {
		case !t.corrects(), isUnproven(change) && !t.pass.Options.Correct:
			return true
		case field != nil:
			return spared(change, *field)
		}
		// A replacement is all or nothing.
		return change.Action == manifest.Replace && slices.ContainsFunc(change.Fields, func(f manifest.FieldChange) bool { return spared(change, f) })
	})
	edits := drift.HeldEdits(d.Target.Pipeline, d.Target.Environment, plan.Held(), manifest.FieldManager)
	t.result.Drift = append(t.r.Rating.Differences(d, left, plan.Changes), t.r.Rating.Rated(edits)...)
}

// corrects reports whether changes of the cluster alone are corrected.
func (t *task) corrects() bool {
	return t.pass.Options.Correct || t.d.Environment.Drift == v1alpha1.Correct
}

// isUnproven reports whether a change may start again a run that has ended: a user has to ask for it.
func isUnproven(change manifest.Change) bool { return change.Lost != nil && change.Lost.Unproven }

// corrections are the changes of a plan that correct drift.
func corrections(plan *apply.Plan) []manifest.Change {
	return slices.DeleteFunc(plan.Pending(), func(change manifest.Change) bool { return !change.Drifted })
}

// images lists the image references of a target for a result.
func images(d *target.Desired, decided pin.Decision) []Image {
	refs := slices.Clone(d.Rendered.Refs)
	image.SortReferences(refs)
	out := make([]Image, len(refs))
	for i, ref := range refs {
		out[i] = Image{Object: ref.Object, Path: ref.Path, Reference: ref.Value, Digest: decided.Digest(ref)}
	}
	return out
}
