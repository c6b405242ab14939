package v1alpha1

import "cmp"

// Target is a deployment target: one pipeline in one environment.
type Target struct{ Pipeline, Environment string }

// String is PIPELINE@ENVIRONMENT.
func (t Target) String() string { return t.Pipeline + "@" + t.Environment }

// RecordName is the name of the target's record.
func (t Target) RecordName() string { return t.Pipeline + "." + t.Environment }

// Compare orders targets by pipeline and environment.
func (t Target) Compare(other Target) int {
	return cmp.Or(cmp.Compare(t.Pipeline, other.Pipeline), cmp.Compare(t.Environment, other.Environment))
}
