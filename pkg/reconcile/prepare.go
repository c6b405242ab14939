package reconcile

import (
	"context"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// prepared holds the decisions about a target before it is written. The zero value: there are none.
type prepared struct {
	decided pin.Decision
	images  []Image // the references and the decided digests
	planned *plan.Plan
	drift   []drift.Finding // that the plan leaves alone
}

// result returns the result of a target for which nothing was written.
func (p prepared) result(d *target.Desired) Result {
	result := NewResult(d)
	result.Drift = p.drift
	if p.images != nil {
		result.Images = p.images
	}
	return result
}

// prepare decides the digests of a target and plans how it gets to what git says. It writes nothing of the target; readOnly
// leaves the key of hashes as it is, too. With an error, it returns what it has decided until then.
func (r *Reconciler) prepare(ctx context.Context, t task, readOnly bool) (p prepared, err error) {
	d := t.desired
	if d.Err != nil {
		return p, d.Err
	}
	if p.decided, err = r.Pins.Decide(ctx, d, t.pass.pinning(d)); err != nil {
		return p, err
	}
	p.images = images(d, p.decided)
	set, err := d.Applicable(p.decided.Resolved, d.Cluster.Namespace())
	if err != nil {
		return p, err
	}
	if p.decided.Pins, err = fit(d, p.decided, set); err != nil {
		return p, err
	}
	server := d.Cluster.Server()
	p.planned, err = plan.Make(ctx, d.Cluster, plan.Request{
		Target: d.Target, Record: d.Record, Set: set, Provides: t.pass.provides[server], Neighbours: t.pass.neighbours[server],
		ReadOnly: readOnly, Full: t.pass.Options.Full, Policies: d.Policies, Shown: t.pass.Shown,
	})
	if err != nil {
		return p, err
	}
	return p, p.planned.LimitPrunes(pruneLimit(t))
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

func pruneLimit(t task) plan.PruneLimit {
	prune := t.desired.Environment.Prune
	return plan.PruneLimit{Disabled: !*prune.Enabled, MaxPercent: *prune.MaxPercent, MaxObjects: prune.MaxObjects, Allowed: t.mayPrune()}
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
