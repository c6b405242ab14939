package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

// Several syncers may reconcile one target: a daemon and a sync by hand, two CI jobs, a replica that was paused. The newest
// commit wins, whichever of them is faster (docs/decisions/0028).

const (
	// overtakenTries bounds how often a command reconciles targets again that another syncer was writing.
	overtakenTries = 5
	overtakenPause = time.Second
	// tipAge is how long an answer of the repository says which commit is the newest.
	tipAge     = time.Second
	tipTimeout = 10 * time.Second
	// recentCommits is the number of commits that are searched for the commit of a record.
	recentCommits = 200
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
		asked := time.Now()
		snap, err := s.Source.Fetch(ctx)
		if err != nil {
			return pass, err
		}
		next, err := s.syncCommit(ctx, options, &tip{source: s.Source, snap: snap, asked: asked})
		pass = pass.then(next)
		if err != nil || !pass.overtaken() || try == overtakenTries || clock.Sleep(ctx, overtakenPause) != nil {
			return pass, err
		}
	}
}

// syncCommit reconciles the selected targets with one commit, or with the newer one that another syncer has written
// meanwhile.
func (s *Session) syncCommit(ctx context.Context, options SyncOptions, newest *tip) (*Pass, error) {
	began := time.Now()
	commit, err := s.Planner.Plan(ctx, newest.snap, options.Selection)
	if err == nil && s.isBehind(ctx, commit, newest) {
		asked := time.Now()
		if newer, failure := s.Source.Fetch(ctx); failure == nil && newer.Commit != newest.snap.Commit {
			newest = &tip{source: s.Source, snap: newer, asked: asked}
			commit, err = s.Planner.Plan(ctx, newer, options.Selection)
		}
	}
	if err != nil {
		return nil, err
	}
	pass := reconcile.NewPass(commit, s.Reconciler.Pins.NewLookups())
	pass.Options = reconcile.Options{Correct: options.Correct, Wait: options.Wait, Deadline: time.Now().Add(options.Wait)}
	pass.Confirm = newest.confirm
	tracker := underway.NewTracker(s.Reconciler.Dates, s.Reconciler.Log, nil)
	marks := tracker.Track(s.Config.Name, commit.Targets, began)
	marking, stop := context.WithCancel(ctx)
	var marker sync.WaitGroup
	marker.Go(func() {
		_ = s.Reconciler.Guard.Call(v1alpha1.Target{}, func() error { // each target says later how it fared
			tracker.Run(marking, commit.Targets, marks, began)
			return nil
		})
	})
	results := s.reconcileAll(ctx, pass, marks)
	stop()
	marker.Wait()
	out := newPass(newest.snap)
	for _, d := range commit.Targets {
		out.Targets = append(out.Targets, results[d.Target])
	}
	return out, errors.Join(append(commit.Incomplete, s.Reconciler.Forget(ctx, commit.Retired))...)
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
			result := s.reconcileOne(ctx, pass, d, marks)
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
func (s *Session) reconcileOne(ctx context.Context, pass *reconcile.Pass, d *target.Desired, marks underway.Marks) (result reconcile.Result) {
	total, began := len(pass.Commit.Targets), s.Reconciler.Dates.Now()
	err := s.Reconciler.Guard.Call(d.Target, func() error {
		s.progress(Progress{Target: d.Target, Total: total})
		result, _ = s.Reconciler.Reconcile(ctx, reconcile.Request{Desired: d, Pass: pass, Mark: marks[d.Target]}) // the result has the error
		s.progress(Progress{Target: d.Target, Total: total, Commit: d.Snapshot.Commit, Result: &result, Took: s.Reconciler.Dates.Now().Sub(began)})
		return nil
	})
	if err != nil {
		result = reconcile.FailedResult(d, err)
	}
	return result
}

// tip is the newest commit of the repository, as far as this process has asked. It is safe for concurrent use.
type tip struct {
	source *source.Repository
	snap   source.Snapshot

	mu    sync.Mutex
	asked time.Time // when the repository was last asked
}

// confirm returns reconcile.ErrOutdated where there is a newer commit. A repository that does not answer knows of none: its
// last commit stays in force.
func (t *tip) confirm(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.asked) < tipAge {
		return nil
	}
	t.asked = now
	asking, cancel := context.WithTimeout(ctx, tipTimeout)
	defer cancel()
	snap, err := t.source.Fetch(asking)
	if err != nil {
		return ctx.Err()
	}
	if snap.Commit != t.snap.Commit {
		return reconcile.ErrOutdated
	}
	return nil
}

// isBehind reports whether a record names a commit that the history of the newest known commit does not have, and was written
// since the repository was asked for it: another syncer may have carried out a newer commit.
func (s *Session) isBehind(ctx context.Context, commit *target.Commit, newest *tip) bool {
	named := map[string]bool{}
	for _, d := range commit.Targets {
		if d.Record != nil && d.Record.Spec.Source.Commit != newest.snap.Commit && reconcile.DecidedSince(d.Cluster, d.Record, newest.asked) {
			named[d.Record.Spec.Source.Commit] = true
		}
	}
	if len(named) == 0 {
		return false
	}
	commits, err := s.Source.Log(ctx, newest.snap.Commit, recentCommits)
	if err != nil {
		return true // the repository is asked again
	}
	for _, c := range commits {
		delete(named, c.Hash)
	}
	return len(named) > 0
}
