package underway

import (
	"cmp"
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/record"
)

// Mark says in the record of a target that a newer commit is on its way. A reconcile that writes the record closes the mark
// before, so that each write asks for the version that the last one left. A nil mark is never written.
type Mark struct {
	target  v1alpha1.Target
	cluster *cluster.Cluster

	mu          sync.Mutex
	commit      string                 // that is on its way; empty: the target was reconciled with it
	closed      bool                   // a reconcile writes the record, or is about to
	record      *v1alpha1.PipelineSync // that a reconcile works with; nil: none has begun
	version     string                 // of the record, where a mark has changed it
	conditions  []metav1.Condition     // of the record then
	marked      string                 // the commit that the record names
	stale       bool                   // the record was marked while no reconcile worked with it
	unconfirmed bool                   // the outcome of a write is not known
}

// expect sets the commit that is on its way.
func (m *Mark) expect(commit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commit = commit
}

// unlessClosed calls a function, unless a reconcile is about to write the record, or the commit has arrived.
func (m *Mark) unlessClosed(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit != "" && !m.closed {
		do()
	}
}

// isWanted reports whether write would mark the record now.
func (m *Mark) isWanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit != "" && !m.closed && m.marked != m.commit
}

// write marks the record, unless it is marked, or a reconcile writes it.
func (m *Mark) write(ctx context.Context, now func() time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit == "" || m.closed || m.marked == m.commit {
		return nil
	}
	r := m.record
	if r == nil || m.unconfirmed {
		read := m.cluster.Records().Latest // a write over an older state is refused
		if m.unconfirmed {
			read = m.cluster.Records().Get
		}
		var err error
		if r, err = read(ctx, m.target); err != nil || r == nil {
			return err
		}
		if m.record != nil && !record.SameButConditions(m.record, r) {
			return nil // another syncer wrote it, and the reconcile finds that out
		}
		m.version = ""
	}
	status := record.Underway(r.Status, m.commit, now())
	m.unconfirmed = true // until the answer is there
	w, err := m.cluster.Records().SaveStatus(ctx, m.target, status, cmp.Or(m.version, r.ResourceVersion))
	if err != nil {
		return err
	}
	m.unconfirmed, m.version, m.conditions, m.marked, m.stale = false, w.Version, status.Conditions, m.commit, m.record == nil
	return nil
}

// Touched ends the marking until Begin, and reports whether the record may have been marked since the commit was planned.
func (m *Mark) Touched() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.stale || m.unconfirmed
}

// Begin allows marks over the record that a reconcile works with, as it was just read.
func (m *Mark) Begin(record *v1alpha1.PipelineSync) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.record, m.version, m.stale, m.unconfirmed = record == nil, record, "", false, false
}

// Close ends the marking before the reconcile writes the record, and takes the marks over into that record.
func (m *Mark) Close(ctx context.Context) {
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

// takeOver sets a record to what the marks left. Where that cannot be found out, the next write of the reconcile fails.
func (m *Mark) takeOver(ctx context.Context, into *v1alpha1.PipelineSync) {
	if m.unconfirmed {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
		defer cancel()
		now, err := m.cluster.Records().Get(ctx, m.target)
		if err != nil || now == nil || !record.SameButConditions(into, now) {
			return
		}
		m.unconfirmed, m.version, m.conditions = false, now.ResourceVersion, now.Status.Conditions
	}
	if m.version != "" {
		into.ResourceVersion, into.Status.Conditions = m.version, m.conditions
		m.version = ""
	}
}

// Reopen allows marks while objects are written: the reconcile has written the spec of the record.
func (m *Mark) Reopen(written cluster.Written) {
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

// Leave ends the marking after the objects were written, and returns the version that the next write of the record asks for.
func (m *Mark) Leave(ctx context.Context, version string) string {
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

// End ends the marking with a reconcile. Where a newer commit is on its way by now, that one may be marked from now on.
func (m *Mark) End(commit string, superseded bool) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commit == commit && !superseded {
		m.commit = ""
	}
	if !superseded {
		m.marked = "" // the reconcile has written another status
	}
	m.closed, m.record, m.version = false, nil, ""
}

func (m *Mark) isOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit == ""
}
