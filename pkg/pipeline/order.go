package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
)

// place orders targets: an environment goes before those that promote from it, a target before those that depend on it,
// and those that bring namespaces or kinds before those that may need them.
type place struct {
	depth, level int
	needy        bool // it brings neither namespaces nor kinds
}

func placeOf(w *Desired, config *v1alpha1.Config) place {
	return place{config.PromotionDepth(w.Environment.Name), w.Level, !apply.BroughtBy(w.Rendered.Set).Any()}
}

func (p place) before(o place) bool {
	switch {
	case p.depth != o.depth:
		return p.depth < o.depth
	case p.level != o.level:
		return p.level < o.level
	}
	return !p.needy && o.needy
}

// needs lists for each target those among the works that are to be carried out before it: the same pipeline in the
// environment that it promotes from, what it depends on, and what brings namespaces or kinds to its cluster. Each of
// them has an earlier place, so that nothing waits in a circle.
func (a *Commit) needs(works []*Desired, config *v1alpha1.Config) map[*Desired][]*Desired {
	var bringers []*Desired
	byTarget, places := map[v1alpha1.Target]*Desired{}, map[*Desired]place{}
	for _, w := range works {
		byTarget[w.Target], places[w] = w, placeOf(w, config)
		if !places[w].needy {
			bringers = append(bringers, w)
		}
	}
	needs := map[*Desired][]*Desired{}
	for _, w := range works {
		at, listed := places[w], map[*Desired]bool{}
		add := func(other *Desired) {
			if other != nil && !listed[other] && places[other].before(at) {
				listed[other] = true
				needs[w] = append(needs[w], other)
			}
		}
		if from := w.Environment.Images.PromoteFrom; from != "" {
			add(byTarget[v1alpha1.Target{Pipeline: w.Target.Pipeline, Environment: from}])
		}
		for _, name := range w.Settings.DependsOn {
			add(byTarget[v1alpha1.Target{Pipeline: name, Environment: w.Environment.Name}])
		}
		for _, other := range bringers {
			if w.Cluster != nil && other.Cluster != nil && other.Cluster.Server() == w.Cluster.Server() {
				add(other)
			}
		}
	}
	return needs
}

// inOrder starts each target when all that it needs has finished, and returns when all have, or the context has ended.
// start is called by one goroutine at a time; it has finished called once, from wherever it likes.
func (a *Commit) inOrder(ctx context.Context, works []*Desired, config *v1alpha1.Config, start func(w *Desired, finished func())) {
	waitsFor := map[*Desired]int{}
	holdsUp := map[*Desired][]*Desired{}
	for w, needed := range a.needs(works, config) {
		waitsFor[w] = len(needed)
		for _, other := range needed {
			holdsUp[other] = append(holdsUp[other], w)
		}
	}
	done := make(chan *Desired, len(works)) // so that nobody waits to say that it has finished
	begin := func(w *Desired) { start(w, func() { done <- w }) }
	for _, w := range works {
		if waitsFor[w] == 0 {
			begin(w)
		}
	}
	for range works {
		select {
		case <-ctx.Done():
			return
		case w := <-done:
			for _, next := range holdsUp[w] {
				if waitsFor[next]--; waitsFor[next] == 0 {
					begin(next)
				}
			}
		}
	}
}
