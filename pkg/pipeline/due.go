package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// queueDue queues the targets that are to be reconciled although git says nothing new, and checks images that are due.
func (d *daemon) queueDue(ctx context.Context) {
	commit, idle := d.commits.idle()
	if !idle {
		return
	}
	for _, w := range commit.Targets {
		if !d.leases.has(w) {
			continue // another replica's
		}
		known := d.states.of(w.Target)
		last := known.last
		switch {
		case last != nil && last.converged && w.Overlay == "": // removed
		case last == nil || d.isUnsettled(w, known):
			if known.failures.isDue(w.Snapshot.Commit) {
				d.queue.add(w.Target, time.Now(), retryDue)
			}
		case last.judged == nil: // it has no objects yet
		case time.Since(last.compared) > compareInterval:
			d.states.compared(w.Target) // it is requested now
			d.queue.add(w.Target, time.Now().Add(rand.N(d.Config.Source.Interval.Duration)), slowCheck)
		case d.pins.Checks.ImagesDue(w.Target, w.Environment.Images.Interval.Duration):
			d.others.Go(func() {
				defer d.forgetUnknown(w.Target)
				_ = d.guarded(w.Target, func() error { // a check that fails is made again when it is due
					d.checkImages(ctx, last)
					return nil
				})
			})
		}
	}
}

// isUnsettled reports whether a target that was reconciled needs more than events to be as git says.
func (d *daemon) isUnsettled(w *target.Desired, known state) bool {
	last := known.last
	switch {
	case last.converged && last.judged == nil, last.judged != nil && !d.watching.follows(w), last.unwatched:
		return true
	}
	return !last.converged && known.wait.isDue()
}

// synced lists the environments that this process reconciles, and whether every one of their targets was reconciled by the
// newest commit.
func (d *daemon) synced() map[string]bool {
	out := map[string]bool{}
	commit := d.commits.complete()
	if commit == nil {
		return out
	}
	for _, w := range commit.Targets {
		if !d.leases.has(w) {
			continue
		}
		if _, known := out[w.Environment.Name]; !known {
			out[w.Environment.Name] = true
		}
		if known := d.states.of(w.Target); known.last == nil || known.failures.has() {
			out[w.Environment.Name] = false
		}
	}
	return out
}

// checkImages asks the registries about the images of a target that is in sync, and has it reconciled where they say
// something new.
func (d *daemon) checkImages(ctx context.Context, last *reconciliation) {
	if wait, isNew := d.pins.Recheck(ctx, last.judged, last.pins, last.credentials); isNew {
		d.queue.add(last.judged.Target, time.Now().Add(wait), waitEnded)
	}
}

// wakeDependents queues the targets that wait for a record that changed: what they depend on, and what they promote.
func (d *daemon) wakeDependents(changed map[v1alpha1.Target]bool) {
	commit := d.commits.planned().commit
	if commit == nil || len(changed) == 0 {
		return
	}
	for _, w := range commit.Targets {
		known := d.states.of(w.Target)
		if known.last == nil || known.last.converged || known.failures.has() {
			continue
		}
		on := func(pipeline, environment string) bool {
			return changed[v1alpha1.Target{Pipeline: pipeline, Environment: environment}]
		}
		from := w.Environment.Images.PromoteFrom
		if from != "" && on(w.Target.Pipeline, from) || slices.ContainsFunc(w.Settings.DependsOn, func(name string) bool { return on(name, w.Environment.Name) }) {
			d.queue.add(w.Target, time.Now().Add(debounce), waitEnded)
		}
	}
}
