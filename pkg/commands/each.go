package commands

import (
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// targetsAtOnce is how many targets a command handles at the same time.
const targetsAtOnce = 8

// each runs a step that only reads for every target, several at once. It returns the results in the order of the targets.
func (s *Session) each(targets []*target.Desired, step func(*target.Desired) (reconcile.Result, error)) []reconcile.Result {
	results := make([]reconcile.Result, len(targets)) // each worker owns one slot
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	for i, d := range targets {
		g.Go(func() error {
			s.progress(Progress{Target: d.Target, Total: len(targets)})
			results[i] = reconcile.NewResult(d)
			err := s.Reconciler.Guard.Call(d.Target, func() (err error) {
				results[i], err = step(d)
				return err
			})
			if err != nil {
				results[i].Fail(err)
			}
			s.progress(Progress{Target: d.Target, Total: len(targets), Result: &results[i]})
			return nil
		})
	}
	_ = g.Wait() // each target reports for itself
	return results
}
