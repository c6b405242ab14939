package plan

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Promises returns the content of the record before anything is applied. The record names the kinds and namespaces of the
// old and of the new objects. So it finds every member again, whenever the work is interrupted.
func (p *Plan) Promises() cluster.Promises {
	var out cluster.Promises
	add := func(id manifest.ID) {
		out.Kinds = append(out.Kinds, id.GroupKind())
		out.Namespaces = append(out.Namespaces, id.Namespace)
	}
	for _, s := range p.steps {
		add(s.Change.ID)
	}
	for _, entry := range p.Entries() {
		add(entry.ID())
	}
	out.Creating, out.Writes = intents(p.steps), writes(p.steps, inventory.ByKey(p.comparer.request.Record))
	return out
}

// writes lists the objects that a plan will write or delete, in the format of annotationApplying. It includes objects with
// an unknown outcome of an earlier apply: the record's status may not have them yet, and would never get them if this apply
// is interrupted as well.
func writes(steps []*Step, recorded map[manifest.Key]v1alpha1.InventoryEntry) []string {
	marks := map[manifest.Key]string{}
	for key, entry := range recorded {
		if entry.Unconfirmed {
			marks[key] = ""
		}
	}
	for _, s := range steps {
		key := s.Key()
		entry := recorded[key]
		if s.Change.Action != manifest.None && s.Change.Action != manifest.Hold || entry.Unconfirmed {
			marks[key] = ""
			if s.Outdates(entry) {
				marks[key] = v1alpha1.EndsRun
			}
		}
	}
	out := make([]string, 0, len(marks))
	for key, mark := range marks {
		out = append(out, v1alpha1.ShortHash(key)+mark)
	}
	slices.Sort(out)
	return out
}
