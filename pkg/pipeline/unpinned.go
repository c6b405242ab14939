package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
)

// unpinnedValues returns suspects as a record has them.
func unpinnedValues(suspects []image.Suspect) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, s := range suspects {
		out = append(out, v1alpha1.UnpinnedValue{Object: v1alpha1.ReferenceTo(s.Object), Path: s.Path, Reference: s.Value, Nameable: s.Nameable})
	}
	return out
}
