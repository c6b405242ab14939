package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// queue holds the targets that are to be reconciled, and why. A target is in it once, however much happens to it, and is
// never with two workers at a time. Each cluster has a lane of its own with its own workers, so that a cluster that hangs does
// not stop the others, and an event in one cluster costs nothing in another. The zero value is not ready; use newQueue. It is
// safe for concurrent use.
type queue struct {
	cluster func(v1alpha1.Target) string // targets of one cluster share a lane

	mu      sync.Mutex
	lanes   map[string]*lane // by cluster
	entries map[v1alpha1.Target]*entry
	busy    map[v1alpha1.Target]bool // with a worker
}

// entry is one target in the queue.
type entry struct {
	target  v1alpha1.Target
	at      time.Time // not before
	reasons reasons
	index   int // in the heap of its reason; -1: its target is with a worker
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

// reasonCount is the number of the reasons, and of their priorities.
const reasonCount = 6

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

func newQueue(cluster func(v1alpha1.Target) string) *queue {
	return &queue{cluster: cluster, lanes: map[string]*lane{}, entries: map[v1alpha1.Target]*entry{}, busy: map[v1alpha1.Target]bool{}}
}

// lane returns the lane of a cluster. The caller holds the lock.
func (q *queue) lane(cluster string) *lane {
	l := q.lanes[cluster]
	if l == nil {
		l = &lane{changed: make(chan struct{})}
		q.lanes[cluster] = l
	}
	return l
}

// add queues a target for a time. A target that is in the queue keeps its reasons, and the earlier time.
func (q *queue) add(target v1alpha1.Target, when time.Time, why reasons) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lane(q.cluster(target))
	e := q.entries[target]
	if e == nil {
		e = &entry{target: target, at: when, index: -1}
		q.entries[target] = e
	}
	l.remove(e)
	e.reasons |= why
	if when.Before(e.at) {
		e.at = when
	}
	if !q.busy[target] {
		l.push(e)
	}
}

// withdraw removes a reason from every target that waits.
func (q *queue) withdraw(why reasons) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		q.keep(e, e.reasons&^why)
	}
}

// keep leaves a target in the queue for some of its reasons; without any, it is dropped. The caller holds the lock.
func (q *queue) keep(e *entry, why reasons) {
	l := q.lane(q.cluster(e.target))
	l.remove(e)
	if e.reasons = why; why == noReason {
		delete(q.entries, e.target)
	} else if !q.busy[e.target] {
		l.push(e)
	}
}

// next waits for the first target of a cluster, which is the caller's until finish; false when the context has ended.
func (q *queue) next(ctx context.Context, cluster string) (v1alpha1.Target, reasons, bool) {
	for {
		q.mu.Lock()
		l := q.lane(cluster)
		e, soonest := l.first(time.Now())
		if e != nil && ctx.Err() == nil {
			l.remove(e)
			delete(q.entries, e.target)
			q.busy[e.target] = true
			q.mu.Unlock()
			return e.target, e.reasons, true
		}
		changed := l.changed
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

// finish ends the work on a target, so that a worker may take it again.
func (q *queue) finish(target v1alpha1.Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, target)
	if e := q.entries[target]; e != nil {
		q.lane(q.cluster(target)).push(e)
	}
}

// forget drops a target that is to be forgotten. The entry of a rollout stays until a worker takes it: the rollout waits
// for that.
func (q *queue) forget(target v1alpha1.Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[target]; e != nil {
		q.keep(e, e.reasons&commitChanged)
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
