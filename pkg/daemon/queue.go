package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// queue holds the targets that are to be reconciled, and why. A target is in it once, however much happens to it, and is
// never with two workers at a time. The number of workers of a cluster is limited, so that a cluster that hangs does not
// stop the others. The zero value is not ready; use newQueue. It is safe for concurrent use.
type queue struct {
	cluster func(v1alpha1.Target) string // targets of one cluster share their workers
	wide    int                          // how many targets of a cluster are with workers at most

	mu      sync.Mutex
	working map[string]int // how many targets of each cluster are with workers
	entries map[v1alpha1.Target]entry
	busy    map[v1alpha1.Target]bool // with a worker
	changed chan struct{}            // closed at each change
}

// entry is one target in the queue.
type entry struct {
	at      time.Time // not before
	reasons reasons
}

// reasons say why a target is reconciled; several may come together.
type reasons uint8

// The higher the bit, the sooner a target is reconciled.
const (
	slowCheck     reasons = 1 << iota // every object is compared, as a safety net
	statusChanged                     // an object's status changed
	retryDue                          // it failed before, or could not be followed
	waitEnded                         // what it waits for is there
	fieldsChanged                     // an object's fields changed
	commitChanged                     // git says something new

	noReason reasons = 0
)

// priorityAge is the wait that is worth as much as the next higher reason, so that every target gets a worker.
const priorityAge = 30 * time.Second

func (r reasons) has(other reasons) bool { return r&other != 0 }

var reasonNames = []string{"slow check", "status", "try again", "wait ended", "fields", "commit"}

// String names the reasons, the weakest first.
func (r reasons) String() string {
	var names []string
	for i, name := range reasonNames {
		if r.has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// priority is the place of the strongest reason.
func (r reasons) priority() int {
	n := 0
	for r >>= 1; r > 0; r >>= 1 {
		n++
	}
	return n
}

func newQueue(wide int, cluster func(v1alpha1.Target) string) *queue {
	return &queue{
		wide: wide, cluster: cluster, working: map[string]int{}, entries: map[v1alpha1.Target]entry{}, busy: map[v1alpha1.Target]bool{}, changed: make(chan struct{}),
	}
}

// add queues a target for a time. A target that is in the queue keeps its reasons, and the earlier time.
func (q *queue) add(target v1alpha1.Target, when time.Time, why reasons) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.entries[target]; ok {
		why |= last.reasons
		if last.at.Before(when) {
			when = last.at
		}
	}
	q.entries[target] = entry{at: when, reasons: why}
	q.notify()
}

// notify wakes the callers that wait. The caller holds the lock.
func (q *queue) notify() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// withdraw removes a reason from every target that waits.
func (q *queue) withdraw(why reasons) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for target, e := range q.entries {
		if e.reasons &^= why; e.reasons == noReason {
			delete(q.entries, target)
			continue
		}
		q.entries[target] = e
	}
}

// next waits for the first target, which is the caller's until finish; false when the context has ended.
func (q *queue) next(ctx context.Context) (v1alpha1.Target, reasons, bool) {
	for {
		q.mu.Lock()
		target, e, soonest, found := q.first(time.Now())
		if found && ctx.Err() == nil {
			delete(q.entries, target)
			q.busy[target] = true
			q.working[q.cluster(target)]++
			q.mu.Unlock()
			return target, e.reasons, true
		}
		changed := q.changed
		q.mu.Unlock()
		timer := time.NewTimer(soonest)
		select {
		case <-ctx.Done():
			timer.Stop()
			return v1alpha1.Target{}, noReason, false
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// first finds the target with the highest priority; where none is due, soonest is the time to the next one.
func (q *queue) first(now time.Time) (target v1alpha1.Target, e entry, soonest time.Duration, found bool) {
	soonest = time.Hour
	rank := func(e entry) int { return e.reasons.priority() + int(now.Sub(e.at)/priorityAge) }
	for t, other := range q.entries {
		switch {
		case q.busy[t] || q.working[q.cluster(t)] >= q.wide:
		case other.at.After(now):
			soonest = min(soonest, other.at.Sub(now))
		case !found || rank(other) > rank(e) || rank(other) == rank(e) && other.at.Before(e.at):
			target, e, found = t, other, true
		}
	}
	return target, e, soonest, found
}

// finish ends the work on a target, so that a worker may take it again.
func (q *queue) finish(target v1alpha1.Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, target)
	q.working[q.cluster(target)]--
	q.notify()
}

// forget drops a target that is to be forgotten. The entry of a rollout stays until a worker takes it: the rollout waits
// for that.
func (q *queue) forget(target v1alpha1.Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.entries[target]
	if e.reasons &= commitChanged; e.reasons == noReason {
		delete(q.entries, target)
	} else if ok {
		q.entries[target] = e
	}
}

// isBusy reports whether a target is with a worker.
func (q *queue) isBusy(target v1alpha1.Target) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy[target]
}

// depth counts the targets that are due and that no worker has taken yet.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, now := 0, time.Now()
	for _, e := range q.entries {
		if !e.at.After(now) {
			n++
		}
	}
	return n
}
