package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// wakeUps end the waits of targets, so that a held change is applied as soon as the run ends that it waits for, and not at
// the next poll.
type wakeUps struct {
	states  *states
	await   func(context.Context, *target.Wait) error
	wake    func(v1alpha1.Target)
	failed  func(v1alpha1.Target, error) // gets the reason why a wait was given up
	running sync.WaitGroup
}

// wakeUp is the wait of one target.
type wakeUp struct {
	cancel context.CancelFunc // nil: it waits for nothing
	began  time.Time          // the last wait; zero: none did
}

// wakeInterval is the least time between two reconciles of one target that wake-ups cause, for objects that change all
// the time.
const wakeInterval = 500 * time.Millisecond

// set replaces what a target waits for; nil ends its wait.
func (w *wakeUps) set(ctx context.Context, of v1alpha1.Target, until *target.Wait) {
	waiting, cancel := context.WithCancel(ctx)
	var pause time.Duration
	w.states.change(of, func(s *state) {
		if s.wakeUp.cancel != nil {
			s.wakeUp.cancel()
			s.wakeUp.cancel = nil
		}
		if until != nil {
			pause = wakeInterval - time.Since(s.wakeUp.began)
			s.wakeUp = wakeUp{cancel: cancel, began: time.Now()}
		}
	})
	if until == nil {
		cancel()
		return
	}
	w.running.Go(func() {
		if clock.Sleep(waiting, pause) != nil {
			return
		}
		if err := panics.Try(func() error { return w.await(waiting, until) }); err != nil {
			w.failed(of, err)
			return // the next poll looks again
		}
		if waiting.Err() == nil {
			w.wake(of)
		}
	})
}

// stop ends every wait.
func (w *wakeUps) stop() {
	for _, of := range w.states.targets() {
		w.states.change(of, func(s *state) {
			if s.wakeUp.cancel != nil {
				s.wakeUp.cancel()
				s.wakeUp.cancel = nil
			}
		})
	}
	w.running.Wait()
}
