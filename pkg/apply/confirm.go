package apply

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// written is an object as a write left it.
type written struct {
	object   *unstructured.Unstructured
	defaults []string // its fields that do not count as additions, though others own them
}

// doubt notes that the outcome of a write is unknown.
func (a *application) doubt(s *plan.Step) {
	key := s.Change.ID.Key()
	entry, recorded := a.inventory[key]
	if !recorded {
		return // an object without an entry is always compared
	}
	if s.Outdates(entry) {
		entry.Spec = ""
	}
	entry.Unconfirmed = true
	a.inventory[key] = entry
}

// confirm notes an object as a write left it. It runs on one goroutine.
func (a *application) confirm(s *plan.Step, w written) {
	s.Change.Want = w.object
	id := s.Change.ID
	a.live[id.Key()] = w.object
	entry := a.comparer.NewEntry(s, w.object)
	entry.Others = slices.Concat(ignore.Others(a.inventory[id.Key()], w.object), w.defaults)
	if s.Runs.Ended == "" && s.Change.Action == manifest.Update {
		entry.EndedRun = a.inventory[id.Key()].EndedRun // a new label does not start a run either
	}
	if len(s.Owners.Spared) > 0 {
		entry.Fields = a.inventory[id.Key()].Fields // fields that are left as they are stay drift
	}
	a.inventory[id.Key()] = a.comparer.NoteEnd(entry, w.object) // a change beside the spec starts no run
}

// skip notes a change that is not applied, because the current run must not be disturbed.
func (a *application) skip(s *plan.Step) {
	a.skipped = true
	key := s.Change.ID.Key()
	if entry, ok := a.inventory[key]; ok {
		entry.Skipped = s.Hash
		a.inventory[key] = entry
	}
}

func (a *application) result() Applied {
	manifest.SortChanges(a.done)
	return Applied{Pending: plan.IsPending(a.steps), Changes: a.done, Held: plan.Held(a.steps), Inventory: inventory.Sorted(a.inventory), Live: a.live}
}
