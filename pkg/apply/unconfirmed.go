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

// writes lists the objects that a plan sets out to write or to delete, as annotationApplying has them, and those that are
// in doubt since an earlier apply: the record's status may not say so yet, and would never where this one is interrupted
// as well.
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

// outdates reports whether what an object did before says nothing of it, once a step is carried out or where git's form
// of it is there already.
func (s *step) outdates(entry v1alpha1.InventoryEntry) bool {
	if entry.Spec == "" {
		return true // as it was noted before, or never ran
	}
	same := s.rendered != nil && entry.Spec == manifest.SpecHash(s.rendered)
	switch s.change.Action {
	case manifest.Replace, manifest.Prune:
		return true
	case manifest.Create:
		return same // it is to run again, although it ran
	case manifest.Update:
		return !same
	case manifest.None:
		return s.rendered != nil && !same && !s.left && (s.gone || s.change.Live != nil)
	}
	return false
}

// stillOurs reports, as an error, that another syncer has begun to apply the target since this pass wrote its record.
//
// Who judges an object anew asks this between reading the object and writing it: the other syncer wrote the record before
// it read the objects, and gives each object another version that it does not change (fence). So a write that asks for
// the version read before this question cannot land after the other syncer's own.
func (a *application) stillOurs(ctx context.Context) error {
	if a.attempt == "" {
		return nil // what is installed without a record
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
