package daemon

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// queueDue queues the targets that are to be reconciled although git says nothing new, and plans the checks of images.
func (s *scheduler) queueDue() {
	commit, idle := s.commits.idle()
	if !idle {
		return
	}
	var checks []imageCheck
	for _, w := range commit.Targets {
		if !s.leases.Has(w) {
			continue // another replica's
		}
		if isPending(w) {
			continue // the rollout after its rendering reconciles it
		}
		known := s.daemon.states.of(w.Target)
		last := known.last
		switch {
		case last != nil && last.converged && w.Overlay == "": // removed
		case last == nil || s.watching.needsPoll(w, known):
			if known.failures.isDue(w.Snapshot.Commit) {
				s.queue.add(w.Target, time.Now(), retryDue)
			}
		case last.judged == nil: // it has no objects yet
		case time.Since(last.compared) > compareInterval:
			s.daemon.states.compared(w.Target) // it is requested now
			s.queue.add(w.Target, time.Now().Add(rand.N(s.daemon.parts.Config.Source.Interval.Duration)), slowCheck)
		default:
			checks = append(checks, imageCheck{w.Target, time.Now().Add(s.daemon.parts.Reconciler.Pins.Checks.ImagesDueIn(w.Target))})
		}
	}
	s.images.plan(checks)
}

// synced lists the environments that this process reconciles, and whether every one of their targets was reconciled by the
// newest commit.
func (s *scheduler) synced() map[string]bool {
	out := map[string]bool{}
	commit := s.commits.complete()
	if commit == nil {
		return out
	}
	for _, w := range commit.Targets {
		if !s.leases.Has(w) {
			continue
		}
		if _, known := out[w.Environment.Name]; !known {
			out[w.Environment.Name] = true
		}
		if known := s.daemon.states.of(w.Target); known.last == nil || known.failures.has() || w.Signature.Refused != nil || isPending(w) {
			out[w.Environment.Name] = false
		}
	}
	return out
}

// wakeDependents queues the targets that wait for a record that changed: what they depend on, and what they promote.
func (s *scheduler) wakeDependents(changed map[v1alpha1.Target]bool) {
	commit := s.commits.planned().commit
	if commit == nil || len(changed) == 0 {
		return
	}
	for _, w := range commit.Targets {
		if w.Environment.Images.PromoteFrom == "" && len(w.Settings.DependsOn) == 0 {
			continue
		}
		known := s.daemon.states.of(w.Target)
		if known.last == nil || known.last.converged || known.failures.has() {
			continue
		}
		on := func(pipeline, environment string) bool {
			return changed[v1alpha1.Target{Pipeline: pipeline, Environment: environment}]
		}
		from := w.Environment.Images.PromoteFrom
		if from != "" && on(w.Target.Pipeline, from) || slices.ContainsFunc(w.Settings.DependsOn, func(name string) bool { return on(name, w.Environment.Name) }) {
			s.queue.add(w.Target, time.Now().Add(debounce), waitEnded)
		}
	}
}
