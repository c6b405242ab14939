package plan

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// PruneLimit limits the deletions of one commit in a target.
type PruneLimit struct {
	Disabled   bool // objects that left git stay, and are reported as orphaned
	MaxPercent int  // of the inventory before the commit, or of the live members if these are more; a plan with more is refused
	MaxObjects int  // 0: no limit
	Allowed    bool // a commit trailer allows any number of prunes in this commit
}

// ToDelete counts the objects of an inventory that a set no longer has. It counts by name, for a limit that is checked before
// any request to a cluster. Old versions of generated objects do not count as a loss. Objects whose prune was allowed before
// and waits since do not count either.
func ToDelete(record *v1alpha1.PipelineSync, set []manifest.ID) int {
	in, generated := map[manifest.Key]bool{}, map[manifest.ID]bool{}
	for _, id := range set {
		in[id.Key()] = true
		if id.Namespace == "" {
			id.Namespace = manifest.DefaultNamespace
			in[id.Key()] = true
		}
		if name, ok := id.WithoutSuffix(); ok {
			generated[name] = true
		}
	}
	held := heldPrunes(record)
	leaving, waiting := 0, 0
	for _, entry := range record.Status.Inventory {
		id := entry.ID()
		name, _ := id.WithoutSuffix()
		switch {
		case in[id.Key()] || generated[name]:
		case held[id.Key()]:
			waiting++
		default:
			leaving++
		}
	}
	if leaving == 0 {
		return 0
	}
	return leaving + waiting // many small losses that wait add up to a large one
}

// LimitPrunes applies the limit to a plan. It returns a PruneRefusedError when the plan would delete more. Then no part of
// the plan may be applied: a set that lost many objects at once is more likely a mistake than an intention.
func (p *Plan) LimitPrunes(most PruneLimit) error {
	var leaving, waiting []manifest.ID
	request := p.comparer.request
	kept, held := generated(p.steps), heldPrunes(request.Record, manifest.HeldUnrendered, manifest.HeldMoved)
	for _, s := range p.steps {
		switch {
		case s.Rendered != nil || s.Change.Action == manifest.None:
		case most.Disabled:
			s.Change.Action, s.Change.Held = manifest.None, nil
		case s.State == HandedOver: // the object stays, in another target; or it waits, and the limit counts it when that is over
		case held[s.Change.ID.Key()]: // an earlier pass allowed it
			waiting = append(waiting, s.Change.ID)
		default:
			if name, _ := s.Change.ID.WithoutSuffix(); !kept[name] {
				leaving = append(leaving, s.Change.ID)
			}
		}
	}
	if len(leaving) == 0 || most.Allowed {
		return nil
	}
	leaving = append(leaving, waiting...) // several commits with small losses add up to a large loss
	total := len(p.Members)
	if request.Record != nil {
		total = max(total, len(request.Record.Status.Inventory))
	}
	if exceeded := limit.Objects(len(leaving), total, most.MaxPercent, most.MaxObjects); exceeded != "" {
		return &PruneRefusedError{Target: request.Target, Objects: leaving, Of: total, Limit: exceeded}
	}
	return nil
}

// heldPrunes returns the prunes that an earlier pass allowed and that wait since, without those that wait for some reasons.
func heldPrunes(record *v1alpha1.PipelineSync, without ...manifest.HoldReason) map[manifest.Key]bool {
	held := map[manifest.Key]bool{}
	if record != nil {
		for _, h := range record.Status.Held {
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
func generated(steps []*Step) map[manifest.ID]bool {
	names := map[manifest.ID]bool{}
	for _, s := range steps {
		if name, ok := s.Change.ID.WithoutSuffix(); ok && s.Rendered != nil {
			names[name] = true
		}
	}
	return names
}

// prunes returns the steps of the members that are no longer in the set.
func (c *Comparer) prunes(ctx context.Context, set []*Step) ([]*Step, error) {
	inSet := map[manifest.Key]bool{}
	for _, s := range set {
		inSet[s.Key()] = true
	}
	kept := generated(set)
	var steps []*Step
	var errs []error
	for key, live := range c.found.Members {
		if inSet[key] {
			continue
		}
		s, err := c.prune(ctx, live, kept)
		errs = append(errs, err)
		steps = append(steps, s)
	}
	return steps, answer.Join(errs)
}

// prune judges a member that is no longer in the set. kept has the generated objects of the set.
func (c *Comparer) prune(ctx context.Context, live *unstructured.Unstructured, kept map[manifest.ID]bool) (*Step, error) {
	s := &Step{Change: manifest.Change{ID: manifest.IDOf(live), Action: manifest.Prune, Live: live}}
	other, handed := c.request.Neighbours.NamedBy(s.Change.ID)
	if handed && other != c.request.Target {
		s.State = HandedOver
	}
	unlabelled := live.GetLabels()[v1alpha1.LabelMember] == ""
	if unlabelled {
		s.State = Unlabelled
	}
	switch {
	// An object that is being deleted may wait for a finalizer without end. Nothing is left to do about it.
	case inventory.Keeps(live), live.GetDeletionTimestamp() != nil, unlabelled:
		s.Change.Action = manifest.None
	case s.State == HandedOver:
		s.Change.Hold(manifest.HeldMoved, fmt.Sprintf("%s names it now, and takes it over", other), s.Change.ID)
	default:
		if why := mayHaveMoved(c, s.Change.ID, kept); why != "" {
			s.State = HandedOver
			s.Change.Hold(manifest.HeldUnrendered, why)
			break
		}
		return s, c.MayPrune(ctx, &s.Change)
	}
	return s, nil
}

// mayHaveMoved says why an object that left git may have moved to a target whose set is not known, as a clause; "" if it did
// not. An old version of a generated object did not: the target still has the newer one.
func mayHaveMoved(c *Comparer, id manifest.ID, kept map[manifest.ID]bool) string {
	if name, ok := id.WithoutSuffix(); ok && kept[name] {
		return ""
	}
	return c.request.Neighbours.Doubt(c.request.Target, id)
}
