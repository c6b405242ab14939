package target

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// place orders targets: an environment comes before the ones that promote from it, a target before the ones that depend
// on it, and targets that provide namespaces or kinds before the ones that may need them.
type place struct {
	depth, level    int
	providesNothing bool // it provides neither namespaces nor kinds
}

func placeOf(d *Desired, config *v1alpha1.Config) place {
	return place{config.PromotionDepth(d.Environment.Name), d.Level, !d.Rendered.Provides.Any()}
}

func (p place) before(o place) bool {
	switch {
	case p.depth != o.depth:
		return p.depth < o.depth
	case p.level != o.level:
		return p.level < o.level
	}
	return !p.providesNothing && o.providesNothing
}

// needs lists for each target the ones that are reconciled before it: the same pipeline in the environment that it
// promotes from, its dependencies, and the targets that provide namespaces or kinds to its cluster. Each of them has an
// earlier place, so that no targets wait for each other.
func (c *Commit) needs(targets []*Desired, config *v1alpha1.Config) map[*Desired][]*Desired {
	var providers []*Desired
	byTarget, places := map[v1alpha1.Target]*Desired{}, map[*Desired]place{}
	for _, d := range targets {
		byTarget[d.Target], places[d] = d, placeOf(d, config)
		if !places[d].providesNothing {
			providers = append(providers, d)
		}
	}
	needs := map[*Desired][]*Desired{}
	for _, d := range targets {
		at, listed := places[d], map[*Desired]bool{}
		add := func(other *Desired) {
			if other != nil && !listed[other] && places[other].before(at) {
				listed[other] = true
				needs[d] = append(needs[d], other)
			}
		}
		if from := d.Environment.Images.PromoteFrom; from != "" {
			add(byTarget[v1alpha1.Target{Pipeline: d.Target.Pipeline, Environment: from}])
		}
		for _, name := range d.Settings.DependsOn {
			add(byTarget[v1alpha1.Target{Pipeline: name, Environment: d.Environment.Name}])
		}
		for _, other := range providers {
			if d.Cluster != nil && other.Cluster != nil && other.Cluster.Server() == d.Cluster.Server() {
				add(other)
			}
		}
	}
	return needs
}

// InOrder starts each target when the ones that it needs have finished. It returns when all have finished, or the context has
// ended. It calls start from one goroutine; start calls finished once, from any goroutine.
func (c *Commit) InOrder(ctx context.Context, targets []*Desired, config *v1alpha1.Config, start func(d *Desired, finished func())) {
	waitsFor := map[*Desired]int{}
	holdsUp := map[*Desired][]*Desired{}
	for d, needed := range c.needs(targets, config) {
		waitsFor[d] = len(needed)
		for _, other := range needed {
			holdsUp[other] = append(holdsUp[other], d)
		}
	}
	done := make(chan *Desired, len(targets)) // so that no target waits to report that it has finished
	begin := func(d *Desired) { start(d, func() { done <- d }) }
	for _, d := range targets {
		if waitsFor[d] == 0 {
			begin(d)
		}
	}
	for range targets {
		select {
		case <-ctx.Done():
			return
		case d := <-done:
			for _, next := range holdsUp[d] {
				if waitsFor[next]--; waitsFor[next] == 0 {
					begin(next)
				}
			}
		}
	}
}
