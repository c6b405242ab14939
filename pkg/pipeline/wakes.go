package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/apply"
)

// wakes remember when targets are to be looked at before the next commit comes. The zero value is not ready; use
// newWakes. It is safe for concurrent use.
type wakes struct {
	mu      sync.Mutex
	due     map[apply.Target]wake
	changed chan struct{}
}

type wake struct {
	at     time.Time
	reason wakeReason
}

type wakeReason int

const (
	wakeStatus  wakeReason = iota // an object's status changed
	wakeFields                    // somebody changed a field
	wakeAlarm                     // what was waited for is there
	wakeCompare                   // every object is compared, as a safety net
)

func newWakes() *wakes {
	return &wakes{due: map[apply.Target]wake{}, changed: make(chan struct{}, 1)}
}

// at wakes for a target at a time, or before. Of two wakes for one target the earlier time and the stronger reason stay.
func (w *wakes) at(target apply.Target, when time.Time, reason wakeReason) {
	w.mu.Lock()
	last, ok := w.due[target]
	if ok && !when.Before(last.at) {
		when = last.at
	}
	w.due[target] = wake{at: when, reason: max(reason, last.reason)}
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// next waits for the next target that is due; false when the context has ended.
func (w *wakes) next(ctx context.Context) (apply.Target, wakeReason, bool) {
	for {
		target, due, any := w.earliest()
		pause := time.Hour
		if any {
			pause = time.Until(due.at)
		}
		if any && pause <= 0 && w.pop(target, due) {
			return target, due.reason, true
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return apply.Target{}, 0, false
		case <-w.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (w *wakes) earliest() (target apply.Target, due wake, any bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, d := range w.due {
		if !any || d.at.Before(due.at) {
			target, due, any = t, d, true
		}
	}
	return target, due, any
}

func (w *wakes) pop(target apply.Target, due wake) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due[target] != due {
		return false // it changed in the meantime
	}
	delete(w.due, target)
	return true
}
