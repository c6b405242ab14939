package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// alarms wake a daemon for the targets whose wait is over, so that a change goes out as soon as the run ends that it
// waited for, and not at the next poll.
type alarms struct {
	ring    func(v1alpha1.Target)
	failed  func(v1alpha1.Target, error) // is told why a wait was given up
	watches sync.WaitGroup

	mu      sync.Mutex
	waiting map[v1alpha1.Target]context.CancelFunc
	began   map[v1alpha1.Target]time.Time
}

func newAlarms(ring func(v1alpha1.Target), failed func(v1alpha1.Target, error)) *alarms {
	return &alarms{ring: ring, failed: failed, waiting: map[v1alpha1.Target]context.CancelFunc{}, began: map[v1alpha1.Target]time.Time{}}
}

// breath is the least time between two passes of one target that alarms cause, for objects that change all the time.
const breath = 500 * time.Millisecond

// set replaces what a target waits for; nil ends its wait.
func (a *alarms) set(ctx context.Context, target v1alpha1.Target, until *target.Wait) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clear(target)
	if until == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a.waiting[target] = cancel
	pause := breath - time.Since(a.began[target])
	a.began[target] = time.Now()
	a.watches.Go(func() {
		if clock.Sleep(ctx, pause) != nil {
			return
		}
		if err := panics.Try(func() error { return apply.AwaitChange(ctx, until.Cluster, until.Held) }); err != nil {
			a.failed(target, err)
			return // the next poll looks again
		}
		if ctx.Err() == nil {
			a.ring(target)
		}
	})
}

func (a *alarms) clear(target v1alpha1.Target) {
	if cancel, ok := a.waiting[target]; ok {
		cancel()
		delete(a.waiting, target)
	}
}

// stop ends every watch and waits for that.
func (a *alarms) stop() {
	a.mu.Lock()
	for target := range a.waiting {
		a.clear(target)
	}
	a.mu.Unlock()
	a.watches.Wait()
}
