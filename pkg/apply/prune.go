package apply

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// PruneLimit limits the deletions of one commit in a target.
type PruneLimit struct {
	Disabled   bool // objects that left git stay, and are reported as orphaned
	MaxPercent int  // of the inventory before the commit; a plan with more is refused
	MaxObjects int  // 0: no limit
	Allowed    bool // a commit trailer allows any number of prunes in this commit
}

// Doomed counts the objects of an inventory that a set no longer has. It counts by name, for a limit that is checked before
// any request to a cluster. Old versions of generated objects do not count as a loss. Objects whose prune was allowed before
// and waits since do not count either.
func Doomed(record *v1alpha1.PipelineSync, set manifest.Set) int {
	in, generated := map[manifest.Key]bool{}, map[manifest.ID]bool{}
	for _, obj := range set {
		id := manifest.IDOf(obj)
		in[id.Key()] = true
		if id.Namespace == "" {
			id.Namespace = manifest.DefaultNamespace
			in[id.Key()] = true
		}
		if name, ok := id.WithoutSuffix(); ok {
			generated[name] = true
		}
	}
	plan := Plan{request: Request{Record: record}}
	held := plan.heldPrunes()
	doomed, waiting := 0, 0
	for _, entry := range record.Status.Inventory {
		id := entry.ID()
		name, _ := id.WithoutSuffix()
		switch {
		case in[id.Key()] || generated[name]:
		case held[id.Key()]:
			waiting++
		default:
			doomed++
		}
	}
	if doomed == 0 {
		return 0
	}
	return doomed + waiting // many small losses that wait add up to a large one
}

// LimitPrunes applies the limit to a plan. It returns a PruneRefusedError when the plan would delete more. Then no part of
// the plan may be applied: a set that lost many objects at once is more likely a mistake than an intention.
func (p *Plan) LimitPrunes(most PruneLimit) error {
	var doomed, waiting []manifest.ID
	kept, held := p.generated(), p.heldPrunes(manifest.HeldUnrendered)
	for _, s := range p.steps {
		switch {
		case s.rendered != nil || s.change.Action == manifest.None:
		case most.Disabled:
			s.change.Action, s.change.Held = manifest.None, nil
		case s.handed: // the object stays, in another target; or it waits, and the limit counts it when that is over
		case held[s.change.ID.Key()]: // an earlier pass allowed it
			waiting = append(waiting, s.change.ID)
		default:
			if name, _ := s.change.ID.WithoutSuffix(); !kept[name] {
				doomed = append(doomed, s.change.ID)
			}
		}
	}
	if len(doomed) == 0 || most.Allowed {
		return nil
	}
	doomed = append(doomed, waiting...) // several commits with small losses add up to a large loss
	total := len(p.Members)
	if p.request.Record != nil {
		total = max(total, len(p.request.Record.Status.Inventory))
	}
	if exceeded := limit.Objects(len(doomed), total, most.MaxPercent, most.MaxObjects); exceeded != "" {
		return &PruneRefusedError{Target: p.request.Target, Objects: doomed, Of: total, Limit: exceeded}
	}
	return nil
}

// heldPrunes returns the prunes that an earlier pass allowed and that wait since, without those that wait for some reasons.
func (p *Plan) heldPrunes(without ...manifest.HoldReason) map[manifest.Key]bool {
	held := map[manifest.Key]bool{}
	if p.request.Record != nil {
		for _, h := range p.request.Record.Status.Held {
			if h.Action == string(manifest.Prune) && !slices.Contains(without, manifest.HoldReason(h.Reason)) {
				id := h.ID()
				held[id.Key()] = true
			}
		}
	}
	return held
}

// generated returns the generated objects that the set still has. An old version of such an object does not count as a loss.
// Otherwise a pipeline of a job and its generated settings could never change the settings.
func (p *Plan) generated() map[manifest.ID]bool {
	names := map[manifest.ID]bool{}
	for _, s := range p.steps {
		if name, ok := s.change.ID.WithoutSuffix(); ok && s.rendered != nil {
			names[name] = true
		}
	}
	return names
}
