package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
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

// unpinnedOf are the suspects of a target for a report.
func unpinnedOf(suspects []image.Suspect) []drift.Unpinned {
	out := make([]drift.Unpinned, len(suspects))
	for i, s := range suspects {
		out[i] = drift.Unpinned{Object: s.Object, Path: s.Path, Reference: s.Value, Message: s.Advice()}
	}
	return out
}

// suspectsOf are the suspects that a record keeps.
func suspectsOf(recorded []v1alpha1.UnpinnedValue) []image.Suspect {
	out := make([]image.Suspect, len(recorded))
	for i, u := range recorded {
		id := manifest.ID{APIVersion: u.Object.APIVersion, Kind: u.Object.Kind, Namespace: u.Object.Namespace, Name: u.Object.Name}
		out[i] = image.Suspect{Object: id, Path: u.Path, Value: u.Reference, Nameable: u.Nameable}
	}
	return out
}
