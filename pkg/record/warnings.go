package record

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Bounds of the remarks about git in a record.
const (
	mostWarnings   = 20
	longestWarning = 500 // bytes
	mostUnpinned   = 20
	// longestUnpinned bounds a path and a reference in bytes. Entries with longer ones are left out.
	longestUnpinned = 300
)

// recordedWarnings returns the warnings that a record keeps.
func recordedWarnings(warnings []string) []string {
	var out []string
	for i, warning := range warnings {
		if i == mostWarnings {
			return append(out, fmt.Sprintf("and %d more; `syncer diff` prints all of them", len(warnings)-mostWarnings))
		}
		out = append(out, manifest.Cut(warning, longestWarning))
	}
	return out
}

// NewWarnings returns the warnings that a record did not have.
func NewWarnings(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(warning string) bool { return slices.Contains(before, warning) })
}

// recordedUnpinned returns the values that a record keeps.
func recordedUnpinned(values []v1alpha1.UnpinnedValue) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, v := range values {
		if len(v.Path) <= longestUnpinned && len(v.Reference) <= longestUnpinned && len(out) < mostUnpinned {
			out = append(out, v)
		}
	}
	return out
}
