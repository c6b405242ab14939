package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
)

// What a record keeps of the values that look like images, so that it stays small.
const (
	maxUnpinned      = 20
	maxUnpinnedValue = 300 // bytes of a path and of a reference; longer ones are left out
)

// recordedUnpinned are the suspects as a record keeps them.
func recordedUnpinned(suspects []image.Suspect) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, s := range suspects {
		if len(s.Path) <= maxUnpinnedValue && len(s.Value) <= maxUnpinnedValue && len(out) < maxUnpinned {
			out = append(out, v1alpha1.UnpinnedValue{Object: v1alpha1.ReferenceTo(s.Object), Path: s.Path, Reference: s.Value, Nameable: s.Nameable})
		}
	}
	return out
}
