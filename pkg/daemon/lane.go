package daemon

import (
	"container/heap"
	"time"
)

// lane has the targets of one cluster that no worker has yet, in a heap for each strongest reason: the first target is found
// without a look at all of them. The lock of its queue guards it.
type lane struct {
	waiting [reasonCount]entries
	changed chan struct{} // closed when a target comes
}

// push adds a target, and wakes the callers that wait for one.
func (l *lane) push(e *entry) {
	heap.Push(&l.waiting[e.reasons.priority()], e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// remove takes a target out, if it is in.
func (l *lane) remove(e *entry) {
	if e.index >= 0 {
		heap.Remove(&l.waiting[e.reasons.priority()], e.index)
	}
}

// first is the target with the highest priority; nil where none is due, and soonest is the time to the next one.
func (l *lane) first(now time.Time) (first *entry, soonest time.Duration) {
	soonest = time.Hour
	for _, of := range l.waiting {
		if len(of) == 0 {
			continue
		}
		switch e := of[0]; {
		case e.at.After(now):
			soonest = min(soonest, e.at.Sub(now))
		case first == nil || e.rank(now) > first.rank(now) || e.rank(now) == first.rank(now) && e.at.Before(first.at):
			first = e
		}
	}
	return first, soonest
}

// rank is the priority of a target's reason, and of its wait.
func (e *entry) rank(now time.Time) int { return e.reasons.priority() + int(now.Sub(e.at)/priorityAge) }

// entries are those of one priority, the longest wait first. They are a heap.Interface.
type entries []*entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e entries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

func (e *entries) Push(x any) {
	added := x.(*entry)
	added.index = len(*e)
	*e = append(*e, added)
}

func (e *entries) Pop() any {
	last := len(*e) - 1
	out := (*e)[last]
	out.index, (*e)[last] = -1, nil
	*e = (*e)[:last]
	return out
}
