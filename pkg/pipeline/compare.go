package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

// couple is two environments that are compared with each other.
type couple struct{ a, b string }

// couples are the environments to compare. Two that a user names narrow the selection to them.
func (r *Runner) couples(selection *Selection, options DriftOptions) ([]couple, error) {
	selected, err := r.environments(selection.Environments)
	if err != nil {
		return nil, err
	}
	if len(options.Compare) > 0 {
		if len(options.Compare) != 2 || options.Compare[0] == options.Compare[1] {
			return nil, errors.New("two environments are compared; name them as in staging,prod")
		}
		if _, err := r.environments(options.Compare); err != nil {
			return nil, err
		}
		for _, name := range options.Compare {
			if !slices.Contains(names(selected), name) {
				return nil, fmt.Errorf("environment %s is to be compared and is not selected", name)
			}
		}
		if len(selection.Environments) == 0 {
			selection.Environments = options.Compare
		}
		return []couple{{options.Compare[0], options.Compare[1]}}, nil
	}
	var out []couple
	for i := 1; options.CompareAll && i < len(selected); i++ {
		out = append(out, couple{selected[i-1].Name, selected[i].Name})
	}
	return out, nil
}

// compare lists how the environments of each pipeline differ, as far as both could be read.
func (r *Runner) compare(works []*work, couples []couple, sides map[apply.Target]drift.Side) []drift.Skew {
	var pipelines []string
	for _, w := range works { // sorted
		pipelines = append(pipelines, w.target.Pipeline)
	}
	var out []drift.Skew
	for _, name := range slices.Compact(pipelines) {
		for _, c := range couples {
			a, inA := sides[apply.Target{Pipeline: name, Environment: c.a}]
			b, inB := sides[apply.Target{Pipeline: name, Environment: c.b}]
			if inA && inB {
				out = append(out, drift.CompareEnvironments(name, a, b, r.expected)...)
			}
		}
	}
	return out
}

func expectedRules(rules []v1alpha1.FieldRule) ([]drift.ExpectedRule, error) {
	var out []drift.ExpectedRule
	for i, rule := range rules {
		fields, err := fieldRule(fmt.Sprintf("compare.ignore[%d]", i), rule)
		if err != nil {
			return nil, err
		}
		out = append(out, drift.ExpectedRule{Group: fields.Group, Kind: fields.Kind, Namespace: fields.Namespace, Name: fields.Name, Paths: fields.Paths})
	}
	return out, nil
}
