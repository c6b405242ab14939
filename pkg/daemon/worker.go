package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

// worker reconciles targets. One serves all clusters.
type worker struct {
	scheduler *scheduler
	daemon    *Daemon
	room      chan struct{} // has a place for each target that may be under way
}

const (
	// perProcessor is how many targets are under way at once for each processor, in all clusters. With more, every goroutine would
	// wait for a processor for so long that Leases are not renewed in time.
	perProcessor = 16
	// longReconcile is the time after which a reconcile leaves its room to another one: it waits for an API server, and not for
	// a processor. It keeps its place among the workers of its cluster.
	longReconcile = 5 * time.Second
)

func newWorker(s *scheduler) *worker {
	return &worker{scheduler: s, daemon: s.daemon, room: make(chan struct{}, perProcessor*runtime.GOMAXPROCS(0))}
}

// serve reconciles the targets of one cluster, a number of them at a time, until the context ends and those that it began are
// done.
func (w *worker) serve(ctx context.Context, cluster string, atOnce int) {
	var working sync.WaitGroup
	defer working.Wait()
	free := make(chan struct{}, atOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case free <- struct{}{}:
		}
		of, why, ok := w.scheduler.queue.next(ctx, cluster)
		if !ok {
			return
		}
		w.room <- struct{}{}
		leave := sync.OnceFunc(func() { <-w.room })
		long := time.AfterFunc(longReconcile, leave)
		working.Go(func() {
			defer func() {
				long.Stop()
				leave()
				<-free
			}()
			w.handleGuarded(ctx, of, why)
		})
	}
}

// handleGuarded is handle, after which another worker may take the target, also after a panic: then the next poll that its
// back-off allows reconciles it again.
func (w *worker) handleGuarded(ctx context.Context, of v1alpha1.Target, why reasons) {
	s := w.scheduler
	defer s.queue.finish(of)
	err := w.daemon.parts.Reconciler.Guard.Call(of, func() error {
		w.handle(ctx, of, why)
		return nil
	})
	if err != nil {
		if d := s.commits.planned().find(of); d != nil {
			s.retryLater(d, err)
		} else {
			w.daemon.states.change(of, (*state).makeDue)
		}
	}
	s.forgetUnknown(of)
}

// handle reconciles one target: by the rollout that waits for it, or else by itself.
func (w *worker) handle(ctx context.Context, of v1alpha1.Target, why reasons) {
	s := w.scheduler
	r := s.commits.current()
	if r == nil {
		return
	}
	d, finished := r.claim(of)
	defer finished()
	if d == nil {
		w.revisit(ctx, of, why, r)
		return
	}
	if r.ctx.Err() != nil {
		w.requeue(of, why)
		return
	}
	writing, ended := s.leases.Begins(d)
	if writing == nil {
		return
	}
	defer ended()
	j := job{running: ctx, why: why, began: time.Now(), pass: r.pass, mark: r.marks[of]}
	j.stale = w.daemon.states.step(of) > r.asOf // it was reconciled after its record was read
	result := w.reconcile(writing, d, j)
	r.pass.Note(result)
	if r.rewound != "" && !result.Detail.Superseded && d.Signature.Refused == nil {
		w.daemon.parts.Reconciler.ReportRewound(writing, d, r.rewound)
	}
	w.reconciled(d, j, &result)
}

// job is one reconcile of a target.
type job struct {
	running context.Context // ends when the daemon is told to stop
	why     reasons
	began   time.Time
	pass    *reconcile.Pass
	mark    *underway.Mark
	stale   bool
}

// revisit reconciles one target by itself, because something happened to it.
func (w *worker) revisit(running context.Context, of v1alpha1.Target, why reasons, r *rollout) {
	s, parts := w.scheduler, w.daemon.parts
	planned := s.commits.planned()
	d := planned.find(of)
	if d == nil {
		return
	}
	if isPending(d) {
		if why &^= retryDue | commitChanged; why != noReason { // what happened to it is looked at when it is rendered
			s.queue.add(of, time.Now().Add(minPollInterval), why)
		}
		return
	}
	ctx, ended := s.leases.Begins(d)
	if ctx == nil {
		return
	}
	defer ended()
	if w.needsNoRevisit(d, why) {
		return
	}
	j := job{running: running, why: why, began: time.Now(), mark: planned.marks[of]}
	w.daemon.states.step(of)
	read := d.Cluster.Records().Latest
	if why.has(retryDue) {
		read = d.Cluster.Records().Get // the last reconcile may have failed for a record that was a moment old
	}
	record, err := read(ctx, of)
	if err != nil {
		s.retryLater(d, err)
		w.daemon.failed(ctx, fmt.Errorf("%s: %w", of, err))
		return
	}
	if s.isOvertaken(d.Cluster, record) {
		s.yield(of, why)
		return
	}
	if d.Record = record; d.Overlay == "" && (record == nil || record.Status.RemovedAt != nil) {
		return // it left git, and its objects are gone
	}
	// The limits of a pass were checked with the commit: a target that they refused has its error.
	j.pass = planned.pass.Single(d, parts.Planner.Trailers(ctx, []*target.Desired{d}), parts.Reconciler.Pins.NewLookups())
	if j.pass.Options.Full = why.has(slowCheck); j.pass.Options.Full {
		j.pass.Shown = nil // it is to find what no watch noticed
	}
	if j.pass.Newest = r.ctx; r.ctx.Err() != nil { // the next rollout may take long to begin, as while git is away
		j.pass.Newest = r.next
	}
	result := w.reconcile(ctx, d, j)
	w.reconciled(d, j, &result)
}

// needsNoRevisit reports whether syncer itself made the change, or a change of a status is to wait.
func (w *worker) needsNoRevisit(d *target.Desired, why reasons) bool {
	switch why {
	case fieldsChanged:
		watches := w.scheduler.watching.of(d)
		return watches != nil && !watches.Differs(d.Target)
	case statusChanged:
		var ended time.Time
		if last := w.daemon.states.of(d.Target).last; last != nil {
			ended = last.ended
		}
		pause := minStatusInterval - time.Since(ended)
		if pause > 0 {
			w.scheduler.queue.add(d.Target, time.Now().Add(pause), statusChanged)
		}
		return pause > 0
	}
	return false
}

// reconcile reconciles a target within a step that has begun, and notes how it went.
func (w *worker) reconcile(ctx context.Context, d *target.Desired, j job) reconcile.Result {
	request := reconcile.Request{Desired: d, Pass: j.pass, Stale: j.stale}
	if j.mark != nil {
		request.Mark = j.mark
	}
	w.scheduler.watching.shown(ctx, d)
	began := time.Now()
	result, err := w.daemon.parts.Reconciler.Reconcile(ctx, request)
	if j.running.Err() == nil || !errors.Is(err, context.Canceled) { // a target whose work was stopped did not fail
		w.daemon.logResult(d, &result, time.Since(began))
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	w.daemon.tracker.Ended(d.Target, d.Snapshot.Commit, failure, result.Detail.Superseded)
	w.note(ctx, d, &result, j.pass.Options.Full)
	w.daemon.states.step(d.Target)
	return result
}

// note updates what is known of a target by a result. The worker still has the target.
func (w *worker) note(ctx context.Context, planned *target.Desired, result *reconcile.Result, compared bool) {
	s, detail := w.scheduler, &result.Detail
	left := detail.Superseded || reconcile.IsOvertaken(detail.Failure)
	if left {
		w.daemon.states.change(planned.Target, (*state).makeDue) // a newer commit has to reconcile it
	}
	if ctx.Err() != nil || left {
		return
	}
	d := *planned
	d.Record = detail.Record
	s.wakeUps.set(ctx, d.Target, detail.Wait)
	if d.Record == nil && detail.Live != nil {
		record, err := d.Cluster.Records().Latest(ctx, d.Target) // that this reconcile made
		if err != nil {
			w.daemon.failed(ctx, err) // the next poll looks again
		}
		d.Record = record
	}
	interval, kept := w.daemon.parts.Config.Source.Interval.Duration, false
	w.daemon.states.change(d.Target, func(of *state) {
		if ctx.Err() != nil {
			return // the Lease is lost, and forgetUnleased comes after that
		}
		kept = true
		of.failures.note(d.Snapshot.Commit, detail.Failure, interval)
		of.wait.note(waitsFor(result), interval)
		of.note(&d, result, compared)
	})
	if kept && detail.Live != nil && d.Record != nil {
		s.watching.opened(&d).Judged(d.Cluster, d.Target, d.Record, detail.Live)
	}
}

// reconciled counts a reconcile that has ended, or queues the target again.
func (w *worker) reconciled(d *target.Desired, j job, result *reconcile.Result) {
	w.scheduler.memory.Reset(memoryPause)
	switch {
	case reconcile.IsOvertaken(result.Detail.Failure):
		w.scheduler.yield(d.Target, j.why|retryDue)
	case result.Detail.Superseded:
		w.requeue(d.Target, j.why)
	default:
		w.daemon.parts.Metrics.reconciled(d, result.Result, time.Since(j.began))
		w.daemon.parts.Log.Debug("turn", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "reasons", j.why.String(), "result", result.Result)
	}
}

// requeue queues a target again after a newer commit came. The rollout of that commit decides whether it reconciles the
// target; the other reasons stay.
func (w *worker) requeue(of v1alpha1.Target, why reasons) {
	if why &^= commitChanged; why != noReason {
		w.scheduler.queue.add(of, time.Now(), why)
	}
}

// logResult writes the one line of a finished target. It writes nothing for a target that is in sync, and nothing for one
// that waits or fails as it did before.
func (d *Daemon) logResult(of *target.Desired, result *reconcile.Result, took time.Duration) {
	log := d.parts.Log.With("pipeline", of.Target.Pipeline, "environment", of.Target.Environment, "commit", of.Snapshot.Commit, "took", took.Round(time.Millisecond))
	text, uncompared := "", result.Detail.Uncompared
	if result.Result == reconcile.Failed || result.Result == reconcile.Held {
		text = string(result.Result) + result.Error + result.Message
	} else if uncompared != nil {
		text = uncompared.Error()
	}
	isNew := d.states.isNew(of.Target, text)
	switch {
	case result.Result == reconcile.Failed && isNew:
		log.Error("target failed", "error", result.Error, "owner", result.Owner)
	case result.Result != reconcile.Failed && uncompared != nil && isNew:
		log.Warn("objects of it could not be compared", "result", result.Result, "changes", len(result.Changes), "message", result.Message)
	case result.Result == reconcile.Applied:
		log.Info("target applied", "changes", len(result.Changes), "message", result.Message)
	case result.Result == reconcile.Held && isNew:
		log.Info("target held", "message", result.Message)
	default:
		log.Debug("target looked at", "result", result.Result, "message", result.Message, "error", result.Error)
	}
}
