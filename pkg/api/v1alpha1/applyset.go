package v1alpha1

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Labels and annotations of the ApplySet specification (KEP-3659): the record is the parent, and every applied object
// is a member. kubectl and other tools read the inventory by them.
const (
	LabelParent          = "applyset.kubernetes.io/id"
	LabelMember          = "applyset.kubernetes.io/part-of"
	AnnotationTooling    = "applyset.kubernetes.io/tooling"
	AnnotationKinds      = "applyset.kubernetes.io/contains-group-kinds"
	AnnotationNamespaces = "applyset.kubernetes.io/additional-namespaces"
	Tooling              = "syncer/" + Version
)

// RecordKind is the kind of the record.
var RecordKind = schema.GroupVersionKind{Group: Group, Version: Version, Kind: "PipelineSync"}

// MemberLabel is the label that marks an object as a member of a target's ApplySet.
func MemberLabel(namespace string, target Target) (key, value string) {
	return LabelMember, ApplySetID(namespace, target)
}

// ApplySetID derives the ID of an ApplySet from its parent, as KEP-3659 prescribes (version 1).
func ApplySetID(namespace string, target Target) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{target.RecordName(), namespace, RecordKind.Kind, RecordKind.Group}, ".")))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// FormatKinds writes the value of contains-group-kinds: Kind.group, or Kind in the core group, sorted.
func FormatKinds(kinds []schema.GroupKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.String()
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// ParseKinds reads the value of contains-group-kinds.
func ParseKinds(value string) []schema.GroupKind {
	var kinds []schema.GroupKind
	for name := range strings.SplitSeq(value, ",") {
		if name != "" {
			kinds = append(kinds, schema.ParseGroupKind(name))
		}
	}
	return kinds
}
