package commands

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

const (
	// overtakenTries bounds how often a command reconciles targets again that another syncer was writing.
	overtakenTries = 5
	overtakenPause = time.Second
)

// SyncOptions are what a user may ask of a sync.
type SyncOptions struct {
	Selection v1alpha1.Selection
	// Correct writes the values of git also where only the cluster changed, in environments that report drift too.
	Correct bool
	// Wait for health for at most this long; 0 does not wait.
	Wait time.Duration
}

// Sync reconciles every selected target with the newest commit. Targets do not depend on each other's success: the error is
// about the sync as a whole, such as an unreachable repository; each target has its own. Targets that another syncer writes
// at the same time are reconciled again.
func (s *Session) Sync(ctx context.Context, options SyncOptions) (*Pass, error) {
	if _, err := s.Config.Select(options.Selection.Environments); err != nil {
		return nil, err // before the network is asked
	}
	var pass *Pass
	for try := 1; ; try++ {
		at, err := fetchNewest(ctx, s.Source)
		if err != nil {
			return pass, err
		}
		next, err := s.syncCommit(ctx, options, at)
		pass = pass.then(next)
		if err != nil || !pass.overtaken() || try == overtakenTries || clock.Sleep(ctx, overtakenPause) != nil {
			return pass, err
		}
	}
}

// syncCommit reconciles the selected targets with one commit, or with the newer one that another syncer has written
// meanwhile.
func (s *Session) syncCommit(ctx context.Context, options SyncOptions, at *newest) (*Pass, error) {
	began := time.Now()
	commit, err := s.Planner.Plan(ctx, at.snap, options.Selection)
	if err == nil && at.isBehind(ctx, commit) {
		if newer, failure := fetchNewest(ctx, s.Source); failure == nil && newer.snap.Commit != at.snap.Commit {
			at = newer
			commit, err = s.Planner.Plan(ctx, at.snap, options.Selection)
		}
	}
	if err != nil {
		return nil, err
	}
	pass := reconcile.NewPass(commit, s.Reconciler.Pins.NewLookups())
	pass.Options = reconcile.Options{Correct: options.Correct, Wait: options.Wait, Deadline: time.Now().Add(options.Wait)}
	pass.Confirm = at.confirm
	marks, stop := markUnderway(ctx, s.Reconciler, commit, began)
	results := s.reconcileAll(ctx, pass, marks)
	stop()
	out := newPass(at.snap)
	for _, d := range commit.Targets {
		out.Targets = append(out.Targets, results[d.Target])
	}
	return out, errors.Join(slices.Concat(commit.Incomplete, untold(commit), []error{s.Reconciler.Forget(ctx, commit.Retired)})...)
}

// untold lists the refusals of a commit for environments without a target that could say so.
func untold(commit *target.Commit) (out []error) {
	for _, refused := range commit.Refused {
		if !slices.ContainsFunc(commit.Targets, func(d *target.Desired) bool { return d.Environment.Name == refused.Environment }) {
			out = append(out, refused)
		}
	}
	return out
}

// markUnderway says in the records of targets that a commit is on its way to them, where that takes long, until stop is called.
func markUnderway(ctx context.Context, r *reconcile.Reconciler, commit *target.Commit, began time.Time) (marks underway.Marks, stop func()) {
	tracker := underway.NewTracker(r.Dates, r.Log, nil)
	marks = tracker.Track(r.Config.Name, commit.Targets, began)
	marking, cancel := context.WithCancel(ctx)
	var marker sync.WaitGroup
	marker.Go(func() {
		_ = r.Guard.Call(v1alpha1.Target{}, func() error { // each target says later how it fared
			tracker.Run(marking, commit.Targets, marks, began)
			return nil
		})
	})
	return marks, func() {
		cancel()
		marker.Wait()
	}
}

// reconcileAll reconciles the targets of a pass in their order, several at once.
func (s *Session) reconcileAll(ctx context.Context, pass *reconcile.Pass, marks underway.Marks) map[v1alpha1.Target]reconcile.Result {
	results := map[v1alpha1.Target]reconcile.Result{}
	var mu sync.Mutex
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	commit := pass.Commit
	commit.InOrder(ctx, commit.Targets, s.Config, func(d *target.Desired, finished func()) {
		g.Go(func() error {
			defer finished()
			result := reconcileOne(ctx, s.Reconciler, s.progress, reconcile.Request{Desired: d, Pass: pass, Mark: marks[d.Target]})
			pass.Note(result)
			mu.Lock()
			defer mu.Unlock()
			results[d.Target] = result
			return nil
		})
	})
	_ = g.Wait() // each target reports for itself
	for _, d := range commit.Targets {
		if _, ok := results[d.Target]; !ok { // the command was stopped before
			results[d.Target] = reconcile.FailedResult(d, context.Cause(ctx))
		}
	}
	return results
}

// reconcileOne reconciles one target and reports its progress.
func reconcileOne(ctx context.Context, r *reconcile.Reconciler, progress func(Progress), request reconcile.Request) (result reconcile.Result) {
	d, total, began := request.Desired, len(request.Pass.Commit.Targets), r.Dates.Now()
	if refused := d.Signature.Refused; refused != nil { // a sync is of the newest commit
		return reconcile.FailedResult(d, refused)
	}
	err := r.Guard.Call(d.Target, func() error {
		progress(Progress{Target: d.Target, Total: total})
		result, _ = r.Reconcile(ctx, request) // the result has the error
		progress(Progress{Target: d.Target, Total: total, Commit: d.Snapshot.Commit, Result: &result, Took: r.Dates.Now().Sub(began)})
		return nil
	})
	if err != nil {
		result = reconcile.FailedResult(d, err)
	}
	return result
}
