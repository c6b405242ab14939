package pipeline

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// What a record keeps of a target's warnings, so that it stays small.
const (
	maxWarnings = 20
	maxWarning  = 500 // bytes
)

// recordedWarnings are the warnings as a record keeps them.
func recordedWarnings(warnings []string) []string {
	var out []string
	for i, warning := range warnings {
		if i == maxWarnings {
			return append(out, fmt.Sprintf("and %d more; `syncer diff` prints all of them", len(warnings)-maxWarnings))
		}
		out = append(out, manifest.Cut(warning, maxWarning))
	}
	return out
}

// newWarnings are those that a record did not have.
func newWarnings(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(warning string) bool { return slices.Contains(before, warning) })
}
