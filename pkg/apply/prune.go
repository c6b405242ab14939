package apply

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// PruneLimit bounds what one commit may delete from a target.
type PruneLimit struct {
	Disabled   bool // objects that left git stay, and are reported as orphaned
	MaxPercent int  // of the inventory before the commit; strictly more is refused
	MaxObjects int  // 0: no limit
	Allowed    bool // a commit trailer allows this commit's prunes, whatever their number
}

// Doomed counts the objects of an inventory that a set no longer has. It is a count by name, for a limit that is judged
// before any cluster is asked; old versions of generated objects, and what was let through before and waits since, are
// no loss.
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
	return doomed + waiting // many small losses that wait are one big one
}

// LimitPrunes holds a plan to its limit. It returns a PruneRefusedError when the plan would delete more; then nothing
// of the plan may be applied, because a set that lost many objects at once is more likely a mistake than a wish.
func (p *Plan) LimitPrunes(most PruneLimit) error {
	var doomed, waiting []manifest.ID
	kept, held := p.generated(), p.heldPrunes()
	for _, s := range p.steps {
		switch {
		case s.rendered != nil || s.change.Action == manifest.None:
		case most.Disabled:
			s.change.Action, s.change.Held = manifest.None, nil
		case s.handed: // it stays, with another target
		case held[s.change.ID.Key()]: // it was let through before
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
	doomed = append(doomed, waiting...) // several commits that each lose a little lose a lot
	total := len(p.Members)
	if p.request.Record != nil {
		total = max(total, len(p.request.Record.Status.Inventory))
	}
	if exceeded := limit.Objects(len(doomed), total, most.MaxPercent, most.MaxObjects); exceeded != "" {
		return &PruneRefusedError{Target: p.request.Target, Objects: doomed, Of: total, Limit: exceeded}
	}
	return nil
}

// heldPrunes are the prunes that an earlier pass allowed and that wait since.
func (p *Plan) heldPrunes() map[manifest.Key]bool {
	held := map[manifest.Key]bool{}
	if p.request.Record != nil {
		for _, h := range p.request.Record.Status.Held {
			if h.Action == string(manifest.Prune) {
				id := h.ID()
				held[id.Key()] = true
			}
		}
	}
	return held
}

// generated are the generated objects that the set still has. An old version of one is not a loss, or else a pipeline
// of a job and its generated settings could never change them.
func (p *Plan) generated() map[manifest.ID]bool {
	names := map[manifest.ID]bool{}
	for _, s := range p.steps {
		if name, ok := s.change.ID.WithoutSuffix(); ok && s.rendered != nil {
			names[name] = true
		}
	}
	return names
}
