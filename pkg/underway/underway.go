// Package underway follows commits that are on their way to targets: where one takes long, the record of the target says so.
// Else a reader of the record would mistake the commit before it for the newest one.
package underway

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

const (
	// markAfter is how long a commit may be on its way to a target before the record says so. A commit that arrives in time
	// costs no write for it.
	markAfter = 3 * time.Second
	// markGrace is how long it may be on its way after it was planned: where reading the commit took long, the reconcile may
	// still be quick.
	markGrace = time.Second
	// markTimeout bounds the write of a mark, for which a reconcile that wants to write the record waits.
	markTimeout = 3 * time.Second
	markRetry   = time.Second
	// marksAtOnce is how many records are marked at the same time.
	marksAtOnce = 8
	// A mark costs as much as the write of a status. Where a commit is on its way to very many targets, most of them get it
	// before a mark is worth that: then marksPerSecond are written, from the end of the order, after the first marksBurst.
	marksPerSecond = 10
	marksBurst     = 50
)

// Tracker knows the targets that a newer commit is on its way to, and since when. It is safe for concurrent use.
type Tracker struct {
	dates  target.Dates
	log    *slog.Logger
	notify func(v1alpha1.Target)

	mu       sync.Mutex
	byTarget map[v1alpha1.Target]progress
}

// progress is a commit on its way to a target.
type progress struct {
	commit  string
	since   time.Time // when a commit that has not arrived yet was first seen, by the monotonic clock; zero: none is on its way
	message string    // empty: there is none yet
	mark    *Mark     // of any commit: a reconcile with an older one may still be writing
}

// NewTracker returns a tracker. notify receives each target whose message is new; nil: it is not called.
func NewTracker(dates target.Dates, log *slog.Logger, notify func(v1alpha1.Target)) *Tracker {
	return &Tracker{dates: dates, log: log, notify: notify, byTarget: map[v1alpha1.Target]progress{}}
}

// Marks are those of the targets that a commit is on its way to. A target without one is not marked.
type Marks map[v1alpha1.Target]*Mark

// Track notes that a commit is on its way to targets, and returns their marks. A record that says of no commit that it is
// applied is not marked. began is when the commit was first seen.
func (t *Tracker) Track(owner string, targets []*target.Desired, began time.Time) Marks {
	out := Marks{}
	for _, d := range targets {
		if d.Record == nil || d.Record.Spec.Owner != owner || d.Record.Status.LastAppliedCommit == "" {
			continue
		}
		out[d.Target] = t.expect(d, began)
		out[d.Target].expect(d.Snapshot.Commit)
	}
	return out
}

// expect notes that a commit is on its way since a moment, or since an earlier one, and returns the mark of its target.
func (t *Tracker) expect(d *target.Desired, since time.Time) *Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.byTarget[d.Target]
	at.commit = d.Snapshot.Commit
	if at.since.IsZero() {
		at.since = since
	}
	if at.mark == nil {
		at.mark = &Mark{target: d.Target, cluster: d.Cluster}
	}
	t.byTarget[d.Target] = at
	return at.mark
}

// Message says that a commit is on its way to a target, or that it failed there; empty: there is nothing to say.
func (t *Tracker) Message(of v1alpha1.Target) string { return t.of(of).message }

func (t *Tracker) of(of v1alpha1.Target) progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTarget[of]
}

// Forget drops a target: no commit is on its way to it.
func (t *Tracker) Forget(of v1alpha1.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byTarget, of)
}

// Ended notes the end of a reconcile with a commit. The record may not have its failure: the API server may be the cause.
func (t *Tracker) Ended(of v1alpha1.Target, commit, failure string, superseded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.byTarget[of]
	switch {
	case !ok || at.commit != commit || superseded: // a newer one is on its way
	case failure != "":
		at.since, at.message = time.Time{}, fmt.Sprintf("commit %.8s is not carried out: %s", at.commit, failure)
		t.byTarget[of] = at
	default:
		delete(t.byTarget, of)
	}
}

// Run says of each target that a commit is on its way to it, where that takes longer than markAfter, until the context ends.
// began is when the commit was first seen.
func (t *Tracker) Run(ctx context.Context, targets []*target.Desired, marks Marks, began time.Time) {
	due, soonest := map[*target.Desired]time.Time{}, time.Now().Add(markGrace)
	for _, d := range targets {
		if marks[d.Target] == nil {
			continue
		}
		since := t.of(d.Target).since
		if due[d] = since.Add(markAfter); due[d].Before(soonest) && !since.Before(began) { // no other commit waits for longer
			due[d] = soonest
		}
	}
	judged, p := map[*target.Desired]bool{}, pace{rate.NewLimiter(marksPerSecond, marksBurst), map[*target.Desired]int{}}
	for len(due) > 0 {
		now, next := time.Now(), time.Now().Add(time.Hour)
		var late []*target.Desired
		for _, d := range targets {
			at, waits := due[d]
			switch {
			case !waits:
			case marks[d.Target].isOver():
				delete(due, d)
			case at.After(now):
				next = earlier(next, at)
			case !judged[d] && !changes(ctx, d):
				delete(due, d) // it is as the commit says, and its reconcile only reads
			default:
				judged[d] = true
				late = append(late, d)
			}
		}
		if t.markAll(ctx, late, marks, p); len(late) > 0 {
			next = now.Add(markRetry) // a reconcile with an older commit may write something else meanwhile
		}
		if len(due) == 0 || clock.Sleep(ctx, time.Until(next)) != nil {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pace decides which marks are written now.
type pace struct {
	limiter *rate.Limiter
	tries   map[*target.Desired]int
}

// next returns the targets to mark now: as many as the pace allows, the last first, and before those that were tried in vain.
func (p pace) next(targets []*target.Desired, marks Marks) []*target.Desired {
	var out []*target.Desired
	for _, d := range slices.Backward(targets) {
		if marks[d.Target].isWanted() {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b *target.Desired) int { return p.tries[a] - p.tries[b] })
	for i, d := range out {
		if !p.limiter.Allow() {
			return out[:i]
		}
		p.tries[d]++
	}
	return out
}

// markAll sets the messages of targets, and marks those whose turn it is.
func (t *Tracker) markAll(ctx context.Context, targets []*target.Desired, marks Marks, p pace) {
	for _, d := range targets {
		marks[d.Target].unlessClosed(func() { t.setMessage(d) })
	}
	var g panics.Group
	g.SetLimit(marksAtOnce)
	for _, d := range p.next(targets, marks) {
		g.Go(func() error {
			err := marks[d.Target].write(ctx, func() time.Time { return t.dates.In(d.Cluster) })
			if err != nil && ctx.Err() == nil {
				t.log.Debug("the record cannot be told that a commit is on its way", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

// changes reports whether a commit changes a target since the one that was applied last.
func changes(ctx context.Context, d *target.Desired) bool {
	if d.Err != nil || d.Overlay == "" {
		return true
	}
	set, err := d.Applicable(d.Recorded(d.Record), d.Cluster.Namespace())
	if err != nil {
		return true
	}
	same, err := inventory.IsApplied(ctx, d.Cluster, d.Record, set)
	return err != nil || !same
}

// setMessage sets the message of a target and notifies where it is new.
func (t *Tracker) setMessage(d *target.Desired) {
	message := record.UnderwayMessage(d.Record.Status, d.Snapshot.Commit)
	t.mu.Lock()
	at, ok := t.byTarget[d.Target]
	isNew := at.message != message
	if ok {
		at.message = message
		t.byTarget[d.Target] = at
	}
	t.mu.Unlock()
	if isNew && t.notify != nil {
		t.notify(d.Target)
	}
}
