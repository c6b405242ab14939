package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

const (
	// markAfter is how long a commit may be on its way into a target before the record says so. A commit that is carried
	// out in time costs no write for it.
	markAfter = 3 * time.Second
	// markGrace is how long it may be on its way after it was planned at least: where reading the commit took long, the
	// turns may still be quick.
	markGrace = time.Second
	// markTimeout bounds the write of a mark, for which a turn that wants to write the record waits.
	markTimeout = 3 * time.Second
	markRetry   = time.Second
)

// underway knows the targets that a newer commit is on its way into, and since when. The zero value is ready. It is safe
// for concurrent use.
type underway struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]journey
}

type journey struct {
	commit  string
	since   time.Time   // when a commit that is not carried out yet was first seen, by the monotonic clock; zero: none is
	message string      // what is said of it; empty: nothing yet
	mark    *commitMark // of whatever commit: a turn with an older one may still be writing
}

// expect notes that the commit of a target's work is on its way since a moment, or since one before it is, and returns what
// says so.
func (u *underway) expect(w *target.Desired, since time.Time) *commitMark {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.byTarget[w.Target]
	at.commit = w.Snapshot.Commit
	if at.since.IsZero() {
		at.since = since
	}
	if at.mark == nil {
		at.mark = &commitMark{target: w.Target, cluster: w.Cluster}
	}
	if u.byTarget == nil {
		u.byTarget = map[v1alpha1.Target]journey{}
	}
	u.byTarget[w.Target] = at
	return at.mark
}

// of is what is known of a target.
func (u *underway) of(target v1alpha1.Target) journey {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byTarget[target]
}

// say notes what is said of a target that a commit is on its way into.
func (u *underway) say(target v1alpha1.Target, message string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.byTarget[target]; ok {
		at.message = message
		u.byTarget[target] = at
	}
}

// said is what is said of a target; empty: nothing.
func (u *underway) said(target v1alpha1.Target) string { return u.of(target).message }

// arrived forgets a target that has nothing to wait for.
func (u *underway) arrived(target v1alpha1.Target) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byTarget, target)
}

// ended takes in how a turn with a commit went. Where it failed, its record may say nothing of that: the API server may be
// what failed.
func (u *underway) ended(w *target.Desired, result *TargetResult) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.byTarget[w.Target]
	switch {
	case !ok || at.commit != w.Snapshot.Commit || result.skipped: // a newer one is on its way
	case result.Result == Failed:
		at.since, at.message = time.Time{}, fmt.Sprintf("commit %.8s is not carried out: %s", at.commit, result.Error)
		u.byTarget[w.Target] = at
	default:
		delete(u.byTarget, w.Target)
	}
}

// commitMark says in a target's record that a newer commit is on its way. Whoever else writes the record closes the mark
// before, so that each write asks for the version that the last one left. A nil mark is never written.
type commitMark struct {
	target  v1alpha1.Target
	cluster *cluster.Cluster

	mu         sync.Mutex
	commit     string                 // that is on its way; empty: the target had its turn with it
	closed     bool                   // a turn writes the record, or is about to
	record     *v1alpha1.PipelineSync // that a turn works with; nil: none has begun
	version    string                 // of the record, where a mark has changed it
	conditions []metav1.Condition     // of the record then
	marked     string                 // the commit that the record names
	stale      bool                   // the record was marked while no turn worked with it
	doubt      bool                   // the outcome of a write is not known
}

// expect has the mark say that a commit is on its way.
func (m *commitMark) expect(commit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commit = commit
}

// tell calls a function that says of the target that a commit is on its way, unless a turn is about to say how it is.
func (m *commitMark) tell(say func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit != "" && !m.closed {
		say()
	}
}

// write marks the record, unless it is marked, or a turn writes it.
func (m *commitMark) write(ctx context.Context, now func() time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit == "" || m.closed || m.marked == m.commit {
		return nil
	}
	current := m.record
	if current == nil || m.doubt {
		var err error
		if current, err = m.cluster.Records().Get(ctx, m.target); err != nil || current == nil {
			return err
		}
		if m.record != nil && !record.SameButConditions(m.record, current) {
			return nil // somebody else wrote it, and the turn is to find out
		}
		m.version = ""
	}
	status := record.Underway(current.Status, m.commit, now())
	m.doubt = true // until the answer is there
	w, err := m.cluster.Records().SaveStatus(ctx, m.target, status, cmp.Or(m.version, current.ResourceVersion))
	if err != nil {
		return err
	}
	m.doubt, m.version, m.conditions, m.marked, m.stale = false, w.Version, status.Conditions, m.commit, m.record == nil
	return nil
}

// touched reports whether the record may have been marked since it was read for the agenda. Nothing is marked until begin.
func (m *commitMark) touched() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.stale || m.doubt
}

// begin has marks written over the record that a turn works with, as it was just read.
func (m *commitMark) begin(record *v1alpha1.PipelineSync) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.record, m.version, m.stale, m.doubt = record == nil, record, "", false, false
}

// close ends the marking before the turn writes the record, and takes over what was marked.
func (m *commitMark) close(ctx context.Context) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	m.takeOver(ctx, m.record)
}

// takeOver has a record be as the marks left it. Where it cannot be found out, the next write of the turn says so.
func (m *commitMark) takeOver(ctx context.Context, turn *v1alpha1.PipelineSync) {
	if m.doubt {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
		defer cancel()
		now, err := m.cluster.Records().Get(ctx, m.target)
		if err != nil || now == nil || !record.SameButConditions(turn, now) {
			return
		}
		m.doubt, m.version, m.conditions = false, now.ResourceVersion, now.Status.Conditions
	}
	if m.version != "" {
		turn.ResourceVersion, turn.Status.Conditions = m.version, m.conditions
		m.version = ""
	}
}

// reopen lets the record be marked again while objects are written: the turn has written its spec.
func (m *commitMark) reopen(written cluster.Written) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record == nil {
		return
	}
	record := *m.record
	record.ResourceVersion, record.Generation = written.Version, written.Generation
	m.closed, m.record, m.version = false, &record, ""
}

// leave ends the marking after the objects were written, and returns the version that the next write of the record asks for.
func (m *commitMark) leave(ctx context.Context, version string) string {
	if m == nil {
		return version
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return version
	}
	m.closed = true
	m.takeOver(ctx, m.record)
	return m.record.ResourceVersion
}

// end ends the marking with a turn. Where a newer commit is on its way by now, that one may be marked from now on.
func (m *commitMark) end(commit string, skipped bool) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit == commit && !skipped {
		m.commit = ""
	}
	if !skipped {
		m.marked = "" // the turn has said something else
	}
	m.closed, m.record, m.version = false, nil, ""
}

func (m *commitMark) isOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit == ""
}

// marks are those of the targets that a commit is on its way into. A target without one is not marked.
type marks map[v1alpha1.Target]*commitMark

func (m marks) of(target v1alpha1.Target) *commitMark { return m[target] }

// tracked returns the marks of the targets of a commit. began is when the commit was first seen.
func (r *Runner) tracked(works []*target.Desired, began time.Time) marks {
	out := marks{}
	for _, w := range works {
		if w.Record == nil || w.Record.Spec.Owner != r.Config.Name || w.Record.Status.LastAppliedCommit == "" {
			continue // nobody says that it is ready
		}
		out[w.Target] = r.underway.expect(w, began)
		out[w.Target].expect(w.Snapshot.Commit)
	}
	return out
}

// tellUnderway says of each target that a commit is on its way into it, where that takes longer than markAfter, until the
// context ends: in the record, on the board and in the metrics. began is when the commit was first seen.
func (r *Runner) tellUnderway(ctx context.Context, works []*target.Desired, m marks, began time.Time) {
	due, soonest := map[*target.Desired]time.Time{}, time.Now().Add(markGrace)
	for _, w := range works {
		if m.of(w.Target) == nil {
			continue
		}
		since := r.underway.of(w.Target).since
		if due[w] = since.Add(markAfter); due[w].Before(soonest) && !since.Before(began) { // no other commit waits for longer
			due[w] = soonest
		}
	}
	judged := map[*target.Desired]bool{}
	for len(due) > 0 {
		now, next := time.Now(), time.Now().Add(time.Hour)
		var late []*target.Desired
		for w, at := range due {
			switch {
			case m.of(w.Target).isOver():
				delete(due, w)
			case at.After(now):
				next = earlier(next, at)
			case !judged[w] && !r.changes(ctx, w):
				delete(due, w) // it is as the commit says, and its turn only looks
			default:
				judged[w] = true
				late = append(late, w)
			}
		}
		if r.markAll(ctx, late, m); len(late) > 0 {
			next = now.Add(markRetry) // a turn with an older commit may say something else meanwhile
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

// markAll marks targets side by side.
func (r *Runner) markAll(ctx context.Context, works []*target.Desired, m marks) {
	for _, w := range works {
		m.of(w.Target).tell(func() { r.say(w) })
	}
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	for _, w := range works {
		g.Go(func() error {
			r.mark(ctx, w, m.of(w.Target))
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

// changes reports whether a commit says something else of a target than what was applied last.
func (r *Runner) changes(ctx context.Context, w *target.Desired) bool {
	if w.Err != nil || w.Overlay == "" {
		return true
	}
	set, err := w.Applicable(w.Recorded(w.Record), w.Cluster.Namespace())
	if err != nil {
		return true
	}
	same, err := inventory.IsApplied(ctx, w.Cluster, w.Record, set)
	return err != nil || !same
}

// say says on the board and in the metrics that a commit is on its way into a target.
func (r *Runner) say(w *target.Desired) {
	message := record.UnderwayMessage(w.Record.Status, w.Snapshot.Commit)
	if r.underway.said(w.Target) != message {
		r.underway.say(w.Target, message)
		r.metrics.progresses(w.Target)
		r.board.publishSoon()
	}
}

// mark says so in its record.
func (r *Runner) mark(ctx context.Context, w *target.Desired, m *commitMark) {
	err := m.write(ctx, func() time.Time { return r.dates().In(w.Cluster) })
	if err != nil && ctx.Err() == nil {
		r.log.Debug("the record cannot be told that a commit is on its way", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
	}
}
