package record

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Bounds of the warnings of a record.
const (
	maxWarnings = 20
	maxWarning  = 500 // bytes
)

// keptWarnings bounds the warnings of a record.
func keptWarnings(warnings []string) []string {
	var out []string
	for i, warning := range warnings {
		if i == maxWarnings {
			return append(out, fmt.Sprintf("and %d more; `syncer diff` prints all of them", len(warnings)-maxWarnings))
		}
		out = append(out, manifest.Cut(warning, maxWarning))
	}
	return out
}

// NewWarnings returns the warnings that a record did not have.
func NewWarnings(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(warning string) bool { return slices.Contains(before, warning) })
}

// Bounds of the values of a record that look like images.
const (
	maxUnpinned      = 20
	maxUnpinnedValue = 300 // bytes of a path and of a reference; longer ones are left out
)

// keptUnpinned bounds the values of a record that look like images and are not pinned.
func keptUnpinned(values []v1alpha1.UnpinnedValue) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, v := range values {
		if len(v.Path) <= maxUnpinnedValue && len(v.Reference) <= maxUnpinnedValue && len(out) < maxUnpinned {
			out = append(out, v)
		}
	}
	return out
}
