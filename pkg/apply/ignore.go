package apply

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Ignore names fields that other owners decide after the object was created. Empty parts match everything.
type Ignore struct {
	Place                        string // the place of the rule in the configuration, for messages
	Group, Kind, Namespace, Name string
	Paths                        []manifest.Path
	Managers                     []string
}

func (i Ignore) matches(id manifest.ID) bool {
	kind := id.GroupKind()
	return (i.Kind == "" || i.Kind == kind.Kind) && (i.Group == "" || i.Group == kind.Group) &&
		(i.Namespace == "" || i.Namespace == id.Namespace) && (i.Name == "" || i.Name == id.Name)
}

// Covers reports whether the rule names a field, or a field above it, by path.
func (i Ignore) Covers(id manifest.ID, path manifest.Path) bool {
	return i.matches(id) && slices.ContainsFunc(i.Paths, path.Under)
}

// yield sets the object that an apply sends when some fields belong to other owners. It leaves those fields out, so that
// syncer does not own them. If syncer still owns such a field, because no other manager has written it yet, yield sends the
// live value. Leaving it out would remove the field from the object, because server-side apply removes a field that its last
// owner no longer sets.
func (r Rules) yield(s *step) {
	id, obj, live := s.change.ID, s.rendered, s.change.Live
	s.sent, s.quiet = obj, nil
	leave := func(field manifest.Field, rule, reason string) {
		if s.sent == obj {
			s.sent = obj.DeepCopy()
		}
		current := manifest.Find(live.Object, field.Path)
		if len(current) != 1 || !equality.Semantic.DeepEqual(current[0].Value, field.Value) {
			s.quiet = append(s.quiet, Quiet{Rule: rule, Reason: reason, ID: id, Path: field.Path.String()})
		}
		if len(current) == 1 && manifest.Owns(live, field.Path, manifest.FieldManager) {
			for _, mine := range manifest.Find(s.sent.Object, field.Path) {
				mine.Set(current[0].Value)
			}
			return
		}
		manifest.Remove(s.sent.Object, field.Path)
	}
	for _, rule := range r.Ignore {
		if !rule.matches(id) {
			continue
		}
		var fields []manifest.Field
		for _, pattern := range rule.Paths {
			fields = append(fields, manifest.Find(obj.Object, pattern)...)
		}
		for _, field := range append(fields, ownedBy(obj, live, rule.Managers)...) {
			leave(field, rule.Place, "an ignore rule")
		}
	}
	for _, path := range s.spared {
		if !manifest.Owns(live, path, manifest.FieldManager) {
			if s.sent == obj {
				s.sent = obj.DeepCopy()
			}
			manifest.Remove(s.sent.Object, path)
		}
	}
	for _, rule := range designed {
		for _, pattern := range rule.patterns {
			for _, field := range manifest.Find(obj.Object, pattern) {
				if rule.yields(field, live) {
					leave(field, rule.name, rule.reason)
				}
			}
		}
	}
}

// disputed reports whether a field that git sets, and that syncer left to another owner by design, has a new owner now. A
// manager that writes such a field takes nothing from syncer, so syncer's own fields do not show it.
func (r Rules) disputed(obj, live *unstructured.Unstructured) bool {
	for _, rule := range designed {
		for _, pattern := range rule.patterns {
			for _, field := range manifest.Find(obj.Object, pattern) {
				if !rule.yields(field, live) && !manifest.Owns(live, field.Path, manifest.FieldManager) {
					return true
				}
			}
		}
	}
	id := manifest.IDOf(obj)
	for _, rule := range r.Ignore {
		if len(rule.Managers) == 0 || !rule.matches(id) {
			continue
		}
		for _, field := range manifest.Leaves(obj.Object) {
			if !r.ignores(id, field.Path, live) && !manifest.Owns(live, field.Path, manifest.FieldManager) {
				return true
			}
		}
		return false // the loop has checked every field by every rule
	}
	return false
}

// ignores reports whether a rule leaves a field to its present owner.
func (r Rules) ignores(id manifest.ID, path manifest.Path, live *unstructured.Unstructured) bool {
	owner, owned := manifest.ManagerOf(live, path, manifest.FieldManager)
	return slices.ContainsFunc(r.Ignore, func(rule Ignore) bool {
		return rule.Covers(id, path) || owned && rule.matches(id) && slices.Contains(rule.Managers, owner.Name)
	})
}

// ownedBy lists the fields of an object that one of the managers owns in the cluster.
func ownedBy(obj, live *unstructured.Unstructured, managers []string) []manifest.Field {
	if len(managers) == 0 {
		return nil
	}
	var out []manifest.Field
	for _, field := range manifest.Leaves(obj.Object) {
		owner, found := manifest.ManagerOf(live, field.Path, manifest.FieldManager)
		if found && slices.Contains(managers, owner.Name) && !manifest.Owns(live, field.Path, manifest.FieldManager) {
			out = append(out, field)
		}
	}
	return out
}
