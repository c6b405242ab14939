package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
)

const (
	// markAfter is how long a commit may be on its way into a target before the record says so. A commit that is carried
	// out in time costs no write for it.
	markAfter = 3 * time.Second
	// markTimeout bounds the write of a mark, for which a turn that wants to write the record waits.
	markTimeout = 3 * time.Second
	markRetry   = time.Second

	// reasonUnderway is of Ready and Reconciling while a newer commit than the one applied is not carried out yet.
	reasonUnderway = "CommitUnderway"
)

// underway knows the targets that a newer commit is on its way into, and since when. The zero value is ready. It is safe
// for concurrent use.
type underway struct {
	mu       sync.Mutex
	byTarget map[apply.Target]journey
}

type journey struct {
	since   time.Time // when a commit that is not carried out yet was first seen, by the monotonic clock
	message string    // what is said of it; empty: nothing yet
}

// expect notes that a commit is on its way, and returns since when one is.
func (u *underway) expect(target apply.Target, since time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.byTarget[target]
	if !at.since.IsZero() {
		return at.since
	}
	if u.byTarget == nil {
		u.byTarget = map[apply.Target]journey{}
	}
	at.since = since
	u.byTarget[target] = at
	return since
}

// say notes what is said of a target that a commit is on its way into.
func (u *underway) say(target apply.Target, message string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.byTarget[target]; ok {
		at.message = message
		u.byTarget[target] = at
	}
}

// failed notes that a commit could not be carried out: it is on its way again when it is tried again.
func (u *underway) failed(target apply.Target, message string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.byTarget[target]; ok {
		u.byTarget[target] = journey{message: message}
	}
}

// said is what is said of a target; empty: nothing.
func (u *underway) said(target apply.Target) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byTarget[target].message
}

// arrived forgets a target whose commit was carried out, or that has nothing to wait for.
func (u *underway) arrived(target apply.Target) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byTarget, target)
}

// commitMark says in a target's record that a newer commit is on its way. Whoever else writes the record closes the mark before,
// so that each write asks for the version that the last one left. A nil mark is never written.
type commitMark struct {
	target  apply.Target
	cluster *apply.Cluster
	commit  string

	mu      sync.Mutex
	over    bool                   // the target had its turn
	closed  bool                   // the turn writes the record, or is about to
	record  *v1alpha1.PipelineSync // that the turn works with; nil: no turn has begun
	version string                 // of the record, where it is not record's
	marked  *v1alpha1.PipelineSyncStatus
	doubt   bool // the outcome of a write is not known
}

// tell calls a function that says of the target that a commit is on its way, unless the turn is about to say how it is.
func (m *commitMark) tell(say func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over && !m.closed {
		say()
	}
}

// write marks the record, unless its turn writes it, and reports whether there is nothing more to do.
func (m *commitMark) write(ctx context.Context, now func() time.Time) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || m.closed || m.marked != nil {
		return m.over || m.marked != nil, nil
	}
	record, version := m.record, m.version
	if record == nil || m.doubt {
		if record, err = m.cluster.Record(ctx, m.target); err != nil || record == nil {
			return false, err
		}
		if m.record != nil && !sameButConditions(m.record, record) {
			return false, nil // somebody else wrote it, and the turn is to find out
		}
		version = record.ResourceVersion
	}
	if version == "" {
		version = record.ResourceVersion
	}
	status := markUnderway(record.Status, m.commit)
	stampConditions(&status, record.Status.Conditions, toSecond(now()))
	m.doubt = true // until the answer is there
	w, err := m.cluster.SaveStatus(ctx, m.target, status, version)
	if err != nil {
		return false, err
	}
	m.doubt, m.version, m.marked = false, w.Version, &status
	return true, nil
}

// markUnderway is a status that says that a commit is on its way.
func markUnderway(before v1alpha1.PipelineSyncStatus, commit string) v1alpha1.PipelineSyncStatus {
	status, message := before, underwayMessage(before, commit)
	status.Conditions = slices.Clone(before.Conditions)
	setCondition(&status, v1alpha1.ConditionReady, false, reasonUnderway, message)
	setCondition(&status, v1alpha1.ConditionReconciling, true, reasonUnderway, message)
	setCondition(&status, v1alpha1.ConditionStalled, false, reasonUnderway, "")
	return status
}

func underwayMessage(status v1alpha1.PipelineSyncStatus, commit string) string {
	return fmt.Sprintf("commit %.8s is on its way; %.8s was applied last", commit, status.LastAppliedCommit)
}

// sameButConditions reports whether a record was written since by nobody but a mark.
func sameButConditions(a, b *v1alpha1.PipelineSync) bool {
	x, y := a.Status, b.Status
	x.Conditions, y.Conditions = nil, nil
	return a.UID == b.UID && a.Generation == b.Generation && equality.Semantic.DeepEqual(x, y)
}

// touched reports whether the record may have been written since it was read for the agenda.
func (m *commitMark) touched() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true // until the turn has read the record
	return m.marked != nil || m.doubt
}

// begin has marks written over the record that a turn works with.
func (m *commitMark) begin(record *v1alpha1.PipelineSync) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.record, m.version, m.doubt = record == nil, record, "", false
}

// close ends the marking before the turn writes the record, and takes over what was marked.
func (m *commitMark) close(ctx context.Context) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.record == nil {
		return
	}
	if m.doubt {
		m.settle(ctx, m.record)
		return
	}
	if m.marked != nil && m.version != "" {
		m.record.ResourceVersion, m.record.Status.Conditions = m.version, m.marked.Conditions
	}
}

// settle finds out what became of a mark whose answer was lost. Where that fails, the next write of the turn says so.
func (m *commitMark) settle(ctx context.Context, record *v1alpha1.PipelineSync) {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	now, err := m.cluster.Record(ctx, m.target)
	if err != nil || now == nil || !sameButConditions(record, now) {
		return
	}
	m.doubt, m.version = false, now.ResourceVersion
	record.ResourceVersion, record.Status.Conditions = now.ResourceVersion, now.Status.Conditions
}

// reopen lets the record be marked again while objects are written: the turn has written its spec.
func (m *commitMark) reopen(written apply.Written) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record == nil || m.marked != nil {
		return // there is none to write over, or it is said already
	}
	record := *m.record
	record.ResourceVersion, record.Generation = written.Version, written.Generation
	m.closed, m.record, m.version = false, &record, written.Version
}

// leave ends the marking after the objects were written, and returns the version that the next write of the record asks for.
func (m *commitMark) leave(ctx context.Context, version string) string {
	if m == nil || version == "" {
		return version
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return version
	}
	m.closed = true
	if m.doubt {
		record := *m.record
		m.settle(context.WithoutCancel(ctx), &record)
		return record.ResourceVersion
	}
	return m.version
}

func (m *commitMark) isOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// end ends the marking with the turn.
func (m *commitMark) end() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over, m.closed = true, true
}

// ended takes in how a turn with a newer commit went. Where it failed, its record may say nothing of that: the API server may
// be what failed.
func (u *underway) ended(target apply.Target, commit string, result *TargetResult) {
	switch {
	case result.skipped: // the commit in whose place another one came is not there yet
	case result.Result == Failed:
		u.failed(target, fmt.Sprintf("commit %.8s is not carried out: %s", commit, result.Error))
	default:
		u.arrived(target)
	}
}

// tracked gives the works of a commit their marks. began is when the commit was first seen.
func (r *Runner) tracked(works []*work, began time.Time) {
	for _, w := range works {
		if w.record == nil || w.record.Spec.Owner != r.Config.Name || w.record.Status.LastAppliedCommit == "" {
			continue // nobody says that it is ready
		}
		r.underway.expect(w.target, began)
		w.mark = &commitMark{target: w.target, cluster: w.cluster, commit: w.snapshot.Commit}
	}
}

// tellUnderway says of each target that a commit is on its way into it, where that takes longer than markAfter, until the
// context ends: in the record, on the board and in the metrics.
func (r *Runner) tellUnderway(ctx context.Context, works []*work, began time.Time) {
	due := map[*work]time.Time{}
	for _, w := range works {
		if w.mark != nil {
			due[w] = r.underway.expect(w.target, began).Add(markAfter)
		}
	}
	judged := map[*work]bool{}
	for len(due) > 0 {
		now, next := time.Now(), time.Now().Add(time.Hour)
		var late []*work
		for w, at := range due {
			switch {
			case w.mark.isOver():
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
		for i, done := range r.markAll(ctx, late) {
			if done {
				delete(due, late[i])
			} else {
				next = now.Add(markRetry)
			}
		}
		if len(due) == 0 || wait(ctx, time.Until(next)) != nil {
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

// markAll marks targets side by side, and reports for each whether there is nothing more to do.
func (r *Runner) markAll(ctx context.Context, works []*work) []bool {
	for _, w := range works {
		w.mark.tell(func() { r.say(w) })
	}
	done := make([]bool, len(works)) // each worker owns one slot
	var g errgroup.Group
	g.SetLimit(targetsAtOnce)
	for i, w := range works {
		g.Go(func() error {
			done[i] = r.mark(ctx, w)
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	return done
}

// changes reports whether a commit says something else of a target than what was applied last.
func (r *Runner) changes(ctx context.Context, w *work) bool {
	if w.err != nil || w.overlay == "" {
		return true
	}
	set, err := w.applicable(w.recorded(w.record), w.cluster.Namespace())
	if err != nil {
		return true
	}
	same, err := w.cluster.Applied(ctx, w.record, set)
	return err != nil || !same
}

// say says on the board and in the metrics that a commit is on its way into a target.
func (r *Runner) say(w *work) {
	message := underwayMessage(w.record.Status, w.snapshot.Commit)
	if r.underway.said(w.target) != message {
		r.underway.say(w.target, message)
		r.metrics.progresses(w.target)
		r.board.publishSoon()
	}
}

// mark says so in its record, and reports whether there is nothing more to do.
func (r *Runner) mark(ctx context.Context, w *work) bool {
	done, err := w.mark.write(ctx, func() time.Time { return r.dateIn(w.cluster) })
	if err != nil && ctx.Err() == nil {
		r.log.Debug("the record cannot be told that a commit is on its way", "pipeline", w.target.Pipeline, "environment", w.target.Environment, "error", err)
	}
	return done
}
