package apply

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// annotationApplying names the apply that was begun last, and the objects that it set out to write: its ID, and a short
// hash of each object, with a ! where the write ends what the object did before. It is written with the record's spec,
// before the first object. While the record's status confirms another apply, nobody knows which of these writes the API
// server carried out, or still will: the process may have died, or its requests may be on their way.
const annotationApplying = v1alpha1.Group + "/applying"

// endsRun marks an object of which it is settled that its earlier run says nothing any more: the write makes it anew,
// deletes it or changes its spec. A creation in the place of what ran and is gone has no mark: events tell whether it came.
const endsRun = "!"

// shortHash names an object in annotationApplying.
func shortHash(key manifest.Key) string {
	sum := sha256.Sum256([]byte(key.Group + "/" + key.Kind + "/" + key.Namespace + "/" + key.Name))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// writes lists the objects that a plan sets out to write or to delete, as annotationApplying has them, and those that are
// in doubt since an earlier apply: the record's status may not say so yet, and would never where this one is interrupted
// as well.
func (p *Plan) writes() []string {
	recorded := inventory(p.request.Record)
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
				marks[key] = endsRun
			}
		}
	}
	out := make([]string, 0, len(marks))
	for key, mark := range marks {
		out = append(out, shortHash(key)+mark)
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
	same := s.rendered != nil && entry.Spec == specHash(s.rendered)
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

// noteUnconfirmed marks the entries of a record whose objects an apply set out to write that was never confirmed.
func noteUnconfirmed(record *v1alpha1.PipelineSync) {
	list := strings.Fields(record.Annotations[annotationApplying])
	if len(list) == 0 || list[0] == record.Status.ConfirmedApply {
		return
	}
	begun := map[string]bool{} // whether the write ends what the object did before
	for _, text := range list[1:] {
		name, ends := strings.CutSuffix(text, endsRun)
		begun[name] = ends
	}
	record.Status.ConfirmedApply = list[0]
	for i := range record.Status.Inventory {
		entry := &record.Status.Inventory[i]
		ends, written := begun[shortHash(entry.ID().Key())]
		if !written {
			continue
		}
		entry.Unconfirmed = true
		if ends {
			entry.Spec = ""
		}
	}
}

// OvertakenError says that another syncer wrote the record of a target since it was read. What that one decided stands,
// and this pass writes nothing more of the target.
type OvertakenError struct{ Target v1alpha1.Target }

func (e *OvertakenError) Error() string {
	return fmt.Sprintf("writing the record of %s: another syncer wrote it in the meantime; the next pass goes on from there", e.Target)
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
	record, err := a.cluster.Record(ctx, target)
	if err != nil {
		return err
	}
	if record == nil || record.Annotations[annotationApplying] == "" || strings.Fields(record.Annotations[annotationApplying])[0] != a.attempt {
		return &OvertakenError{target}
	}
	return nil
}
