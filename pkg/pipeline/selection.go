package pipeline

import "slices"

// Selection narrows a command to some pipelines and environments; empty means all.
type Selection struct{ Pipelines, Environments []string }

// has reports whether a selection covers a target.
func (s Selection) has(pipeline, environment string) bool {
	return (len(s.Pipelines) == 0 || slices.Contains(s.Pipelines, pipeline)) &&
		(len(s.Environments) == 0 || slices.Contains(s.Environments, environment))
}
