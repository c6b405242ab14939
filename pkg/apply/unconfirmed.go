package apply

import (
	"context"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// writes lists the objects that a plan will write or delete, in the format of annotationApplying. It includes objects with
// an unknown outcome of an earlier apply: the record's status may not have them yet, and would never get them if this apply
// is interrupted as well.
func (p *Plan) writes() []string {
	recorded := inventory.ByKey(p.request.Record)
	marks := map[manifest.Key]string{}
	for key, entry := range recorded {
		if entry.Unconfirmed {
			marks[key] = ""
		}
	}
	for _, s := range p.steps {
		key := s.change.ID.Key()
		entry := recorded[key]
		if s.change.Action != manifest.None && s.change.Action != manifest.Hold || entry.Unconfirmed {
			marks[key] = ""
			if s.outdates(entry) {
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

// outdates reports whether the history of an object no longer applies to it, after a step is executed or if git's form of it
// already exists.
func (s *step) outdates(entry v1alpha1.InventoryEntry) bool {
	if entry.Spec == "" {
		return true // an older entry, or the object never ran
	}
	same := s.rendered != nil && entry.Spec == manifest.SpecHash(s.rendered)
	switch s.change.Action {
	case manifest.Replace, manifest.Prune:
		return true
	case manifest.Create:
		return same // the object must run again, although it ran
	case manifest.Update:
		return !same
	case manifest.None:
		return s.rendered != nil && !same && !s.left && (s.gone || s.change.Live != nil)
	}
	return false
}

// stillOurs returns an error if another syncer has begun to apply the target since this pass wrote its record.
//
// A caller that judges an object again calls this between the read and the write of the object. The other syncer wrote the
// record before it read the objects. It gives each object that it does not change another version (fence). So a write that
// requires the version read before this call cannot follow the other syncer's own write.
func (a *application) stillOurs(ctx context.Context) error {
	if a.attempt == "" {
		return nil // an installation without a record
	}
	target := a.plan.request.Target
	record, err := a.cluster.Records().Get(ctx, target)
	if err != nil {
		return err
	}
	if record == nil || record.Annotations[v1alpha1.AnnotationApplying] == "" || strings.Fields(record.Annotations[v1alpha1.AnnotationApplying])[0] != a.attempt {
		return &answer.OvertakenError{Target: target}
	}
	return nil
}
