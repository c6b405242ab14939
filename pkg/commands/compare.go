package commands

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/target"
)

// pair is two environments that are compared with each other.
type pair struct{ a, b string }

// pairsOf returns the environments to compare, and the selection. Two environments that a user names narrow the selection to
// them.
func pairsOf(config *v1alpha1.Config, options DriftOptions) ([]pair, v1alpha1.Selection, error) {
	selection := options.Selection
	selected, err := config.Select(selection.Environments)
	if err != nil {
		return nil, selection, err
	}
	if len(options.Compare) > 0 {
		if err := checkPair(config, v1alpha1.Names(selected), options.Compare); err != nil {
			return nil, selection, err
		}
		if len(selection.Environments) == 0 {
			selection.Environments = options.Compare
		}
		return []pair{{options.Compare[0], options.Compare[1]}}, selection, nil
	}
	var out []pair
	for i := 1; options.CompareAll && i < len(selected); i++ {
		out = append(out, pair{selected[i-1].Name, selected[i].Name})
	}
	return out, selection, nil
}

// checkPair refuses names that are not two selected environments.
func checkPair(config *v1alpha1.Config, selected, names []string) error {
	if len(names) != 2 || names[0] == names[1] {
		return errors.New("two environments are compared; name them as in staging,prod")
	}
	if _, err := config.Select(names); err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(selected, name) {
			return fmt.Errorf("environment %s is to be compared and is not selected", name)
		}
	}
	return nil
}

// environments are the compared targets of one pipeline, by environment. A target that could not be read has no side.
type environments map[string]drift.Side

// skewOf lists the differences between environments of each pipeline, as far as both could be read. It lists the objects of a
// pipeline that only one of them has; git says whether the other one is to have it.
func skewOf(compared []comparison, pairs []pair, inGit []*target.Pipeline, expected []drift.ExpectedRule) []drift.Skew {
	var pipelines []string
	deployed := map[string]environments{}
	for _, c := range compared { // sorted
		pipeline := c.target.Target.Pipeline
		if deployed[pipeline] == nil {
			pipelines, deployed[pipeline] = append(pipelines, pipeline), environments{}
		}
		deployed[pipeline][c.target.Target.Environment] = c.side
	}
	var out []drift.Skew
	for _, name := range pipelines {
		for _, p := range pairs {
			out = append(out, skewOfPair(name, deployed[name], p, inGit, expected)...)
		}
	}
	return out
}

// skewOfPair lists the differences between two environments of one pipeline.
func skewOfPair(pipeline string, deployed environments, p pair, inGit []*target.Pipeline, expected []drift.ExpectedRule) []drift.Skew {
	a, inA := deployed[p.a]
	b, inB := deployed[p.b]
	switch {
	case inA && a.Rendered == nil, inB && b.Rendered == nil: // it could not be read
		return nil
	case inA && inB:
		return drift.CompareEnvironments(pipeline, a, b, expected)
	case inA:
		return drift.OnlyIn(pipeline, a, p.b, true, isIn(inGit, pipeline, p.b))
	case inB:
		return drift.OnlyIn(pipeline, b, p.a, false, isIn(inGit, pipeline, p.a))
	}
	return nil
}

// isIn reports whether a pipeline has an overlay for an environment.
func isIn(pipelines []*target.Pipeline, name, environment string) bool {
	p := find(pipelines, name)
	return p != nil && p.Overlays[environment] != ""
}
