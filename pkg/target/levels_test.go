package target

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// wanted is a target of the environment prod that git has, and that depends on others.
func wanted(name string, dependsOn ...string) *Desired {
	return &Desired{
		Target: v1alpha1.Target{Pipeline: name, Environment: "prod"}, Environment: &v1alpha1.Environment{Name: "prod"}, Overlay: name,
		Settings: v1alpha1.PipelineSettings{DependsOn: dependsOn},
	}
}

// errorText is the text of an error; empty: there is none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestLevelIsTheLongestChainOfDependencies(t *testing.T) {
	gone := wanted("gone")
	gone.Overlay = ""
	for name, c := range map[string]struct {
		targets []*Desired
		levels  map[string]int
		errs    map[string]string
	}{
		"a chain and a short cut": {
			targets: []*Desired{wanted("c", "a", "b"), wanted("b", "a"), wanted("a")},
			levels:  map[string]int{"a": 0, "b": 1, "c": 2},
		},
		"a dependency that does not exist": {
			targets: []*Desired{wanted("a", "x"), wanted("b", "a"), wanted("c")},
			errs: map[string]string{
				"a": "pipeline.yaml: dependsOn: there is no pipeline x in environment prod",
				"b": "pipeline.yaml: dependsOn: there is no pipeline x in environment prod",
			},
		},
		"a dependency that git does not have any more": {
			targets: []*Desired{wanted("a", "gone"), gone},
			errs:    map[string]string{"a": "pipeline.yaml: dependsOn: there is no pipeline gone in environment prod"},
		},
		"a circle, and a target that depends on it": {
			targets: []*Desired{wanted("a", "b"), wanted("b", "a"), wanted("c", "a")},
			errs: map[string]string{
				"a": "pipeline.yaml: dependsOn goes in a circle: a on b on a",
				"b": "pipeline.yaml: dependsOn goes in a circle: b on a on b",
				"c": "pipeline.yaml: dependsOn goes in a circle: a on b on a",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			commit := NewCommit(c.targets)
			commit.orderByDependency()
			for _, d := range c.targets {
				if d.Level != c.levels[d.Target.Pipeline] || errorText(d.Err) != c.errs[d.Target.Pipeline] {
					t.Errorf("%s: level %d, error %q; want %d, %q", d.Target, d.Level, errorText(d.Err), c.levels[d.Target.Pipeline], c.errs[d.Target.Pipeline])
				}
			}
		})
	}
}
