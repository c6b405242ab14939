package pipeline

import (
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// each runs a read-only step for every target, several at once, and returns the results in the order of the works.
func (c *carrier) each(works []*target.Desired, step func(*target.Desired, *TargetResult) error) []TargetResult {
	results := make([]TargetResult, len(works)) // each worker owns one slot
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	for i, w := range works {
		g.Go(func() error {
			c.progress(Progress{Target: w.Target, Total: c.total})
			results[i] = newResult(w)
			if err := c.guarded(w.Target, func() error { return step(w, &results[i]) }); err != nil {
				results[i].Result, results[i].Error = Failed, err.Error()
			}
			c.progress(Progress{Target: w.Target, Total: c.total, Result: &results[i]})
			return nil
		})
	}
	_ = g.Wait() // each target reports for itself
	return results
}

func newResult(w *target.Desired) TargetResult {
	return TargetResult{
		Pipeline: w.Target.Pipeline, Environment: w.Target.Environment, Owner: w.Settings.Owner,
		Result: Unchanged, Changes: []ChangeResult{}, Images: []ImageResult{}, Warnings: append([]string{}, w.Warnings()...),
	}
}
