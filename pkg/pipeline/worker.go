package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
)

// work reconciles the targets of the queue, one after the other, until the context ends.
func (d *daemon) work(ctx context.Context) {
	for {
		of, why, ok := d.queue.next(ctx)
		if !ok {
			return
		}
		d.takeGuarded(of, why)
	}
}

// takeGuarded is take, after which another worker may take the target, also after a panic: then the next poll that its
// back-off allows reconciles it again.
func (d *daemon) takeGuarded(of v1alpha1.Target, why reasons) {
	defer d.queue.finish(of)
	err := d.guarded(of, func() error {
		d.take(of, why)
		return nil
	})
	if err != nil {
		if w := d.commits.planned().find(of); w != nil {
			d.retryLater(w, err)
		} else {
			d.unsettle(of)
		}
	}
	d.forgetUnknown(of)
}

// take reconciles one target: by the rollout that waits for it, or else by itself.
func (d *daemon) take(of v1alpha1.Target, why reasons) {
	r := d.commits.current()
	if r == nil {
		return
	}
	w, finished := r.take(of)
	defer finished()
	if w == nil {
		d.revisit(of, why, r)
		return
	}
	if r.ctx.Err() != nil {
		d.reconciled(w, why, &TargetResult{skipped: true}, 0)
		return
	}
	if writing, ended := d.leases.begins(w); writing != nil {
		defer ended()
		began := time.Now()
		stale := d.states.step(of) > r.asOf // it was reconciled after its record was read
		result := d.reconcile(writing, r.carrier, w, stale)
		r.carrier.note(w, result)
		if r.rewound != "" && !result.skipped {
			d.tellRewound(writing, w, r.rewound)
		}
		d.reconciled(w, why, &result, time.Since(began))
	}
}

// reconcile reconciles a target within a step that has begun, and takes in how it went.
func (d *daemon) reconcile(ctx context.Context, c *carrier, w *target.Desired, stale bool) TargetResult {
	w, result := c.inTurn(ctx, w, stale)
	d.done(ctx, w, &result, c.options.full)
	d.states.step(w.Target)
	return result
}

// reconciled takes in that a reconcile has ended.
func (d *daemon) reconciled(w *target.Desired, why reasons, result *TargetResult, took time.Duration) {
	if isOvertaken(result.failure) {
		d.lookAgain(w.Target, why|retryDue)
		return
	}
	if result.skipped {
		// A newer commit came. Its rollout decides whether it reconciles the target; the other reasons stay.
		if why &^= commitChanged; why != noReason {
			d.queue.add(w.Target, time.Now(), why)
		}
		return
	}
	d.metrics.reconciled(w, result, took)
	d.log.Debug("turn", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "reasons", why.String(), "result", result.Result)
}

// revisit reconciles one target by itself, because something happened to it.
func (d *daemon) revisit(of v1alpha1.Target, why reasons, r *rollout) {
	planned := d.commits.planned()
	w := planned.find(of)
	if w == nil {
		return
	}
	ctx, ended := d.leases.begins(w)
	if ctx == nil {
		return
	}
	defer ended()
	if d.needsNoRevisit(w, why) {
		return
	}
	began := time.Now()
	d.states.step(of)
	record, err := w.Cluster.Records().Get(ctx, of)
	if err != nil {
		d.retryLater(w, err)
		d.failed(ctx, fmt.Errorf("%s: %w", of, err))
		return
	}
	if d.overtaken(w.Cluster, record) {
		d.lookAgain(of, why)
		return
	}
	if w.Record = record; w.Overlay == "" && (record == nil || record.Status.RemovedAt != nil) {
		return // it left git, and its objects are gone
	}
	c := d.carrierAmong(planned.commit.Only(w, d.planner.Trailers(ctx, []*target.Desired{w})), planned.neighbours)
	c.marks, c.deadline, c.alone, c.unwatched = planned.marks, time.Now(), true, d.watching.unwatched
	if r.ctx.Err() == nil { // one that was stopped before says nothing: the next may take long, as while git is away
		c.newest = r.ctx
	}
	c.options.full = why.has(slowCheck)
	// The limits of a pass were judged with the commit: what they refused has its error.
	result := d.reconcile(ctx, c, w, false)
	d.reconciled(w, why, &result, time.Since(began))
}

// needsNoRevisit reports whether syncer itself made the change, or a change of a status is to wait.
func (d *daemon) needsNoRevisit(w *target.Desired, why reasons) bool {
	switch why {
	case fieldsChanged:
		watches := d.watching.of(w)
		return watches != nil && !watches.Differs(w.Target)
	case statusChanged:
		var ended time.Time
		if last := d.states.of(w.Target).last; last != nil {
			ended = last.ended
		}
		pause := minStatusInterval - time.Since(ended)
		if pause > 0 {
			d.queue.add(w.Target, time.Now().Add(pause), statusChanged)
		}
		return pause > 0
	}
	return false
}

// done takes in how a target fared. The worker still has the target.
func (d *daemon) done(ctx context.Context, w *target.Desired, result *TargetResult, compared bool) {
	left := result.skipped || isOvertaken(result.failure)
	if left {
		d.unsettle(w.Target) // a newer commit has to reconcile it
	}
	if ctx.Err() != nil || left {
		return
	}
	d.wakeUps.set(ctx, w.Target, result.until)
	if w.Record == nil && result.live != nil {
		record, err := w.Cluster.Records().Get(ctx, w.Target) // that this reconcile made
		if err != nil {
			d.failed(ctx, err) // the next poll looks again
		}
		w.Record = record
	}
	interval, kept := d.Config.Source.Interval.Duration, false
	d.states.change(w.Target, func(of *state) {
		if ctx.Err() != nil {
			return // the Lease is lost, and forgetUnleased comes after that
		}
		kept = true
		of.failures.note(w.Snapshot.Commit, result.failure, interval)
		of.wait.note(waitsFor(result), interval)
		of.note(w, result, compared)
	})
	if kept && result.live != nil && w.Record != nil {
		d.watching.opened(w).Judged(w.Cluster, w.Target, w.Record, result.live)
	}
}

// note takes in the end of a reconcile.
func (s *state) note(w *target.Desired, result *TargetResult, compared bool) {
	now := time.Now()
	if s.last == nil {
		s.last = &reconciliation{compared: now}
	}
	last := s.last
	last.ended, last.unwatched, last.tried = now, result.unwatched, w
	// The objects may all be as they should be while the record is not: a failure is looked at again.
	last.converged = result.settled && result.failure == nil
	if compared {
		last.compared = now
	}
	if result.live != nil && w.Record != nil {
		last.judged, last.pins, last.credentials = w, w.Record.Spec.Images, result.credentials
		if result.pins != nil {
			last.pins = result.pins
		}
	}
}

// waitsFor says what a target waits for after a reconcile; empty: nothing, or it failed, which has a back-off of its own.
func waitsFor(result *TargetResult) string {
	if result.settled || result.failure != nil || result.skipped {
		return ""
	}
	return string(result.Result) + " " + result.Message
}

// lookAgain leaves a target to another syncer for now: the repository is asked, and the target reconciled after that.
func (d *daemon) lookAgain(of v1alpha1.Target, why reasons) {
	d.queue.add(of, time.Now().Add(2*minPollInterval), why)
	d.lookSoon()
}

// overtaken reports whether another syncer has reconciled a commit that this process may not know yet, as `syncer sync`
// beside a daemon does. What the newest known commit says is not written before the repository was asked.
func (d *daemon) overtaken(cluster *cluster.Cluster, record *v1alpha1.PipelineSync) bool {
	if record == nil || d.board.knows(record.Spec.Source.Commit) {
		return false
	}
	return decidedSince(cluster, record, d.commits.lastFetch()) // else the commit is old, or was rewritten away
}

// unsettle has the next poll reconcile a target.
func (d *daemon) unsettle(of v1alpha1.Target) {
	d.states.change(of, func(s *state) { s.unsettle() })
}

func (s *state) unsettle() {
	s.wait = wait{}
	if s.last != nil {
		s.last.converged, s.last.tried = false, nil
	}
}

// retryLater has a poll reconcile a target again that failed, when its back-off has ended.
func (d *daemon) retryLater(w *target.Desired, failure error) {
	d.states.change(w.Target, func(s *state) {
		s.unsettle()
		s.failures.note(w.Snapshot.Commit, failure, d.Config.Source.Interval.Duration)
	})
}
