package pipeline

import "github.com/syncerdev/syncer/pkg/panics"

// each runs a read-only step for every target, several at once, and returns the results in the order of the works.
func (c *carrier) each(works []*work, step func(*work, *TargetResult) error) []TargetResult {
	results := make([]TargetResult, len(works)) // each worker owns one slot
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	for i, w := range works {
		g.Go(func() error {
			c.progress(Progress{Target: w.target, Total: c.total})
			results[i] = newResult(w)
			if err := c.guarded(w.target, func() error { return step(w, &results[i]) }); err != nil {
				results[i].Result, results[i].Error = Failed, err.Error()
			}
			c.progress(Progress{Target: w.target, Total: c.total, Result: &results[i]})
			return nil
		})
	}
	_ = g.Wait() // each target reports for itself
	return results
}

func newResult(w *work) TargetResult {
	return TargetResult{
		Pipeline: w.target.Pipeline, Environment: w.target.Environment, Owner: w.settings.Owner,
		Result: Unchanged, Changes: []ChangeResult{}, Images: []ImageResult{}, Warnings: append([]string{}, w.warnings()...),
	}
}
