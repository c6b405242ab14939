package commands

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/target"
)

// couple is two environments that are compared with each other.
type couple struct{ a, b string }

// couples are the environments to compare. Two that a user names narrow the selection to them.
func (s *Session) couples(selection *v1alpha1.Selection, options DriftOptions) ([]couple, error) {
	selected, err := s.Config.Select(selection.Environments)
	if err != nil {
		return nil, err
	}
	if len(options.Compare) > 0 {
		if len(options.Compare) != 2 || options.Compare[0] == options.Compare[1] {
			return nil, errors.New("two environments are compared; name them as in staging,prod")
		}
		if _, err := s.Config.Select(options.Compare); err != nil {
			return nil, err
		}
		for _, name := range options.Compare {
			if !slices.Contains(v1alpha1.Names(selected), name) {
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

// skew lists the differences between environments of each pipeline, as far as both could be read. It lists the objects of a
// pipeline that only one of them has; git says whether the other one is to have it.
func (s *Session) skew(targets []*target.Desired, couples []couple, sides map[v1alpha1.Target]drift.Side, inGit []*target.Pipeline) []drift.Skew {
	var pipelines []string
	deployed := map[v1alpha1.Target]bool{}
	for _, d := range targets { // sorted
		pipelines = append(pipelines, d.Target.Pipeline)
		deployed[d.Target] = true
	}
	var out []drift.Skew
	for _, name := range slices.Compact(pipelines) {
		for _, c := range couples {
			of := func(environment string) (drift.Side, bool) {
				at := v1alpha1.Target{Pipeline: name, Environment: environment}
				side, ok := sides[at]
				if !ok {
					side.Environment = environment
				}
				return side, ok || !deployed[at] // else it could not be read
			}
			a, knownA := of(c.a)
			b, knownB := of(c.b)
			switch {
			case !knownA || !knownB || a.Rendered == nil && b.Rendered == nil:
			case b.Rendered == nil:
				out = append(out, drift.OnlyIn(name, a, c.b, true, isIn(inGit, name, c.b))...)
			case a.Rendered == nil:
				out = append(out, drift.OnlyIn(name, b, c.a, false, isIn(inGit, name, c.a))...)
			default:
				out = append(out, drift.CompareEnvironments(name, a, b, s.expected)...)
			}
		}
	}
	return out
}

// isIn reports whether a pipeline has an overlay for an environment.
func isIn(pipelines []*target.Pipeline, name, environment string) bool {
	return slices.ContainsFunc(pipelines, func(p *target.Pipeline) bool { return p.Name == name && p.Overlays[environment] != "" })
}
