package pipeline

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// longestWait bounds the back-off of a target that waits or is not healthy yet. What it waits for is watched; some of it is
// a time, which nothing tells.
const longestWait = time.Minute

// waiters remembers when each target that waits is to be looked at although nothing happened to it: after the interval of
// the source, then after twice as long, and so on, as long as it waits for the same. The zero value is ready.
type waiters struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]waitFor
}

type waitFor struct {
	what  string
	times int
	due   time.Time
}

// due reports whether a target is to be looked at: its back-off has ended, or it has none.
func (w *waiters) due(target v1alpha1.Target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.byTarget[target]
	return !ok || !time.Now().Before(last.due)
}

// note remembers what a target waits for; empty: nothing that a back-off is for.
func (w *waiters) note(target v1alpha1.Target, what string, interval time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == "" {
		delete(w.byTarget, target)
		return
	}
	last := w.byTarget[target]
	if last.what != what {
		last = waitFor{what: what}
	}
	pause := min(interval<<min(last.times, 16), max(interval, longestWait))
	last.times++
	last.due = time.Now().Add(pause - rand.N(pause/jitterShare+1))
	if w.byTarget == nil {
		w.byTarget = map[v1alpha1.Target]waitFor{}
	}
	w.byTarget[target] = last
}

// waitsFor says what a target waits for after a turn; empty: nothing, or it failed, for which there are retries.
func waitsFor(result *TargetResult) string {
	if result.settled || result.failure != nil || result.skipped {
		return ""
	}
	return string(result.Result) + " " + result.Message
}

// sameInput reports whether git says of a target what it said for another turn, its errors included.
func sameInput(a, b *target.Desired) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return a.Rendered.From == b.Rendered.From && (a.Rendered.From != nil || a.Err != nil || a.Overlay == "") && a.Overlay == b.Overlay && a.Level == b.Level &&
		text(a.Err) == text(b.Err) && reflect.DeepEqual(a.Settings, b.Settings)
}

// recordsMoved has those targets looked at that wait for another one, as its record moved: for what they depend on, and for
// what they promote.
func (d *daemon) recordsMoved(environments []string, records []*v1alpha1.PipelineSync) {
	moved := map[v1alpha1.Target]bool{}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, record := range records {
		target := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}
		if slices.Contains(environments, target.Environment) && d.versions[target] != record.ResourceVersion {
			d.versions[target] = record.ResourceVersion
			moved[target] = true
		}
	}
	if d.latest == nil || len(moved) == 0 {
		return
	}
	for _, w := range d.latest.Targets {
		at := d.desks[w.Target]
		if at == nil || at.settled || d.retries.has(w.Target) {
			continue
		}
		on := func(pipeline, environment string) bool {
			return moved[v1alpha1.Target{Pipeline: pipeline, Environment: environment}]
		}
		from := w.Environment.Images.PromoteFrom
		if from != "" && on(w.Target.Pipeline, from) || slices.ContainsFunc(w.Settings.DependsOn, func(name string) bool { return on(name, w.Environment.Name) }) {
			d.queue.add(w.Target, time.Now().Add(calm), waitEnded)
		}
	}
}
