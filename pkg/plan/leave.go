package plan

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Leave removes drift from the apply, as far as which selects it, and returns it. The drift stays in the cluster and is
// reported. An object that was written under syncer's own field manager is always corrected: two writers of one name are two
// syncers, and one of them was late. A nil field asks for the whole object.
func (p *Plan) Leave(which func(manifest.Change, *manifest.FieldChange) bool) []manifest.Change {
	var left []manifest.Change
	for _, s := range p.steps {
		if !mayLeave(p.comparer, s) {
			continue
		}
		if which(s.Change, nil) {
			left = append(left, s.Change)
			s.Change.Action, s.Change.Held = manifest.None, nil
			continue
		}
		if s.Change.Action != manifest.Update {
			continue // all or nothing
		}
		if part := leaveFields(p.comparer, s, which); len(part.Fields) > 0 {
			left = append(left, part)
		}
	}
	return left
}

// mayLeave reports whether the change of a step is drift. A value from syncer's own field manager is not the choice of
// another owner.
func mayLeave(c *Comparer, s *Step) bool {
	return s.Change.Drifted && s.Change.Action != manifest.None && !s.Owners.OwnHand && !(c.moved(&s.Change) && ownsDifference(&s.Change))
}

// leaveFields removes the selected fields of other owners from an update. It returns the update of these fields alone.
func leaveFields(c *Comparer, s *Step, which func(manifest.Change, *manifest.FieldChange) bool) manifest.Change {
	change := &s.Change
	part := *change
	part.Fields, part.Taken = nil, nil
	for _, field := range change.Fields {
		path, err := manifest.ParsePath(field.Path)
		if err == nil && which(*change, &field) && !manifest.Owns(change.Live, path, manifest.FieldManager) {
			part.Fields = append(part.Fields, field)
			s.Owners.Spared = append(s.Owners.Spared, path)
		}
	}
	if len(part.Fields) == 0 {
		return part
	}
	spared := func(path string) bool {
		return slices.ContainsFunc(part.Fields, func(f manifest.FieldChange) bool { return f.Path == path })
	}
	change.Fields = slices.DeleteFunc(slices.Clone(change.Fields), func(f manifest.FieldChange) bool { return spared(f.Path) })
	change.Taken = slices.DeleteFunc(slices.Clone(change.Taken), func(t manifest.Taken) bool { return spared(t.Path) })
	if len(change.Fields) == 0 {
		change.Action = manifest.None
		return part
	}
	s.Sent, _ = c.request.Policies.Ignore.Yield(change.ID, s.Rendered, change.Live, s.Owners.Spared)
	return part
}

// moved reports whether a field that syncer owns has another value, or another owner, than after the recorded apply. A
// different order of a keyed list does not count.
func (c *Comparer) moved(change *manifest.Change) bool {
	return change.Live != nil && manifest.OwnedState(change.Live, manifest.FieldManager, c.key) != c.recorded[change.ID.Key()].Fields
}

// ownsDifference reports whether only syncer's own field manager set a field to a value other than git's.
func ownsDifference(change *manifest.Change) bool {
	return change.Live != nil && slices.ContainsFunc(change.Fields, func(field manifest.FieldChange) bool {
		path, err := manifest.ParsePath(field.Path)
		if err != nil || field.From == nil || !manifest.Owns(change.Live, path, manifest.FieldManager) {
			return false
		}
		_, shared := manifest.ManagerOf(change.Live, path, manifest.FieldManager) // such as a manager of stringData
		return !shared
	})
}
