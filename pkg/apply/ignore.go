package apply

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Ignore names fields that somebody else decides once their object is there. Empty parts match everything.
type Ignore struct {
	Group, Kind, Namespace, Name string
	Paths                        []manifest.Path
	Managers                     []string
}

func (i Ignore) matches(id manifest.ID) bool {
	kind := id.GroupKind()
	return (i.Kind == "" || i.Kind == kind.Kind) && (i.Group == "" || i.Group == kind.Group) &&
		(i.Namespace == "" || i.Namespace == id.Namespace) && (i.Name == "" || i.Name == id.Name)
}

// yield returns what an apply of an object sends when some of its fields belong to others: those fields are left out,
// so that syncer does not own them. A field that syncer still owns, because nobody else has written it yet, is sent as
// it is: leaving it out would take it from the object (server-side apply removes what its last owner no longer sets).
// guarded says that the send holds such a field, and must not overwrite a newer state.
func (r Rules) yield(id manifest.ID, obj, live *unstructured.Unstructured) (sent *unstructured.Unstructured, guarded bool) {
	var fields []manifest.Field
	sent = obj
	for _, rule := range r.Ignore {
		if !rule.matches(id) {
			continue
		}
		if sent == obj {
			sent = obj.DeepCopy()
		}
		for _, pattern := range rule.Paths {
			fields = append(fields, manifest.Find(sent.Object, pattern)...)
		}
		if len(rule.Managers) > 0 {
			fields = append(fields, ownedBy(sent, live, rule.Managers)...)
		}
	}
	for _, field := range fields {
		current := manifest.Find(live.Object, field.Path)
		if len(current) == 1 && manifest.Owns(live, field.Path, FieldManager) {
			field.Set(current[0].Value)
			guarded = true
			continue
		}
		manifest.Remove(sent.Object, field.Path)
	}
	return sent, guarded
}

// ownedBy lists the fields of an object that one of the managers owns in the cluster.
func ownedBy(obj, live *unstructured.Unstructured, managers []string) []manifest.Field {
	var out []manifest.Field
	for _, field := range manifest.Leaves(obj.Object) {
		owner, found := manifest.ManagerOf(live, field.Path, FieldManager)
		if found && slices.Contains(managers, owner.Name) && !manifest.Owns(live, field.Path, FieldManager) {
			out = append(out, field)
		}
	}
	return out
}
