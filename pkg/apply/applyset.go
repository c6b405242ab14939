package apply

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Labels and annotations of the ApplySet specification (KEP-3659): the record is the parent, and every applied object
// is a member. kubectl and other tools read the inventory by them.
const (
	labelParent          = "applyset.kubernetes.io/id"
	labelMember          = "applyset.kubernetes.io/part-of"
	annotationTooling    = "applyset.kubernetes.io/tooling"
	annotationKinds      = "applyset.kubernetes.io/contains-group-kinds"
	annotationNamespaces = "applyset.kubernetes.io/additional-namespaces"
	tooling              = "syncer/" + v1alpha1.Version
	annotationNoPrune    = v1alpha1.Group + "/prune"
)

// promises are what a record says of objects before they are applied.
type promises struct {
	kinds      []schema.GroupKind
	namespaces []string
	creating   string   // see annotationCreating
	writes     []string // see annotationApplying; nil: nothing is applied
}

// annotations of the record in which the promises stand; own is the record's namespace.
func (p promises) annotations(own string) map[string]string {
	namespaces := slices.DeleteFunc(slices.Sorted(slices.Values(p.namespaces)), func(name string) bool { return name == "" || name == own })
	out := map[string]string{annotationTooling: tooling, annotationKinds: formatKinds(p.kinds)}
	if len(namespaces) > 0 {
		out[annotationNamespaces] = strings.Join(slices.Compact(namespaces), ",")
	}
	if p.creating != "" {
		out[annotationCreating] = p.creating
	}
	return out
}

// MemberLabel is the label that marks an object as a member of a target's ApplySet.
func MemberLabel(namespace string, target v1alpha1.Target) (key, value string) {
	return labelMember, setID(namespace, target)
}

// setID derives the ID of an ApplySet from its parent, as KEP-3659 prescribes (version 1).
func setID(namespace string, target v1alpha1.Target) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{target.RecordName(), namespace, recordKind.Kind, recordKind.Group}, ".")))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// formatKinds writes the value of contains-group-kinds: Kind.group, or Kind in the core group, sorted.
func formatKinds(kinds []schema.GroupKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.String()
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

func parseKinds(value string) []schema.GroupKind {
	var kinds []schema.GroupKind
	for name := range strings.SplitSeq(value, ",") {
		if name != "" {
			kinds = append(kinds, schema.ParseGroupKind(name))
		}
	}
	return kinds
}
