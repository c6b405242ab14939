package ignore

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Rule names fields that other owners decide after the object was created. Empty parts match everything.
type Rule struct {
	Place                        string // the place of the rule in the configuration, for messages
	Group, Kind, Namespace, Name string
	Paths                        []manifest.Path
	Managers                     []string
}

func (r Rule) matches(id manifest.ID) bool {
	kind := id.GroupKind()
	return (r.Kind == "" || r.Kind == kind.Kind) && (r.Group == "" || r.Group == kind.Group) &&
		(r.Namespace == "" || r.Namespace == id.Namespace) && (r.Name == "" || r.Name == id.Name)
}

// Covers reports whether the rule names a field, or a field above it, by path.
func (r Rule) Covers(id manifest.ID, path manifest.Path) bool {
	return r.matches(id) && slices.ContainsFunc(r.Paths, path.Under)
}

// Rules are the rules of one target. The built-in rules apply to every target.
type Rules []Rule

// Yield returns the object that an apply sends when some fields of an object of git belong to other owners, and the
// differences that do not count. It leaves those fields out, so that syncer does not own them. If syncer still owns such a
// field, because no other manager has written it yet, Yield sends the live value. Leaving it out would remove the field from
// the object, because server-side apply removes a field that its last owner no longer sets. spared has more fields to leave
// out, which count as differences.
func (r Rules) Yield(id manifest.ID, obj, live *unstructured.Unstructured, spared []manifest.Path) (*unstructured.Unstructured, []Quiet) {
	y := yielding{id: id, obj: obj, sent: obj, live: live}
	for _, rule := range r {
		if !rule.matches(id) {
			continue
		}
		var fields []manifest.Field
		for _, pattern := range rule.Paths {
			fields = append(fields, manifest.Find(obj.Object, pattern)...)
		}
		for _, field := range append(fields, ownedBy(obj, live, rule.Managers)...) {
			y.leave(field, rule.Place, "an ignore rule")
		}
	}
	for _, path := range spared {
		if !manifest.Owns(live, path, manifest.FieldManager) {
			manifest.Remove(y.copied().Object, path)
		}
	}
	for _, rule := range designed {
		for _, field := range rule.fields(obj) {
			if rule.yields(field, live) {
				y.leave(field, rule.name, rule.reason)
			}
		}
	}
	return y.sent, y.quiet
}

// yielding is an object on its way to what an apply sends.
type yielding struct {
	id        manifest.ID
	obj, live *unstructured.Unstructured
	sent      *unstructured.Unstructured // obj itself until a field is left out
	quiet     []Quiet
}

func (y *yielding) copied() *unstructured.Unstructured {
	if y.sent == y.obj {
		y.sent = y.obj.DeepCopy()
	}
	return y.sent
}

func (y *yielding) leave(field manifest.Field, rule, reason string) {
	current := manifest.Find(y.live.Object, field.Path)
	if len(current) != 1 || !equality.Semantic.DeepEqual(current[0].Value, field.Value) {
		y.quiet = append(y.quiet, Quiet{Rule: rule, Reason: reason, ID: y.id, Path: field.Path.String()})
	}
	if len(current) == 1 && manifest.Owns(y.live, field.Path, manifest.FieldManager) {
		for _, mine := range manifest.Find(y.copied().Object, field.Path) {
			mine.Set(current[0].Value)
		}
		return
	}
	manifest.Remove(y.copied().Object, field.Path)
}

// Disputed reports whether a field that git sets, and that syncer left to another owner by design, has a new owner now. A
// manager that writes such a field takes nothing from syncer, so syncer's own fields do not show it.
func (r Rules) Disputed(obj, live *unstructured.Unstructured) bool {
	for _, rule := range designed {
		for _, field := range rule.fields(obj) {
			if !rule.yields(field, live) && !manifest.Owns(live, field.Path, manifest.FieldManager) {
				return true
			}
		}
	}
	id := manifest.IDOf(obj)
	for _, rule := range r {
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
	return slices.ContainsFunc(r, func(rule Rule) bool {
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
