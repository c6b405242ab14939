package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/source"
)

// jitterShare spreads the polls of many syncers over a tenth of their interval, so that they do not reach one git
// server at once.
const jitterShare = 10

// Loop carries the newest commit out, again and again, until the context ends. A repository that cannot be read leaves
// the last commit that was read in force. It returns nil when the context ends.
func (r *Runner) Loop(ctx context.Context, options SyncOptions) error {
	if _, err := r.environments(options.Environments); err != nil {
		return err
	}
	r.checks = &checks{byTarget: map[apply.Target]check{}}
	r.progress = func(p Progress) {
		if ctx.Err() == nil { // a target that was told to stop did not fail
			r.logTarget(p)
		}
	}
	r.log.Info("following the repository", "url", publicURL(r.Config.Source.URL), "interval", r.Config.Source.Interval.Duration)
	alarms := newAlarms()
	defer alarms.stop()
	var last source.Snapshot
	for ctx.Err() == nil {
		snap, err := r.source.Fetch(ctx)
		if err != nil {
			r.failed(ctx, fmt.Errorf("fetching, the last commit stays in force: %w", err))
			snap = last
		}
		if snap.Commit != "" {
			r.pass(ctx, snap, last, options, alarms)
			last = snap
		}
		r.rest(ctx, last, options, alarms)
	}
	return nil
}

// rest waits for the next poll, and in the meantime carries out the targets whose wait is over.
func (r *Runner) rest(ctx context.Context, last source.Snapshot, options SyncOptions, alarms *alarms) {
	next := time.NewTimer(jittered(r.Config.Source.Interval.Duration))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			return
		case target := <-alarms.rang:
			alarms.clear(target)
			only := options
			only.Selection = Selection{Pipelines: []string{target.Pipeline}, Environments: []string{target.Environment}}
			r.pass(ctx, last, last, only, alarms)
		}
	}
}

func (r *Runner) pass(ctx context.Context, snap, last source.Snapshot, options SyncOptions, alarms *alarms) {
	if snap.Commit != last.Commit {
		r.log.Info("new commit", "commit", snap.Commit, "subject", snap.Subject, "author", snap.Author)
	}
	if snap.Rewound != "" {
		r.log.Warn("the branch's history was rewritten by a force push; following it", "commit", snap.Commit, "before", snap.Rewound)
	}
	snap.Rewound = ""
	options.due = r.retries.due
	pass, err := r.carry(ctx, snap, options)
	if err != nil {
		r.failed(ctx, err)
	}
	if pass == nil || ctx.Err() != nil {
		return
	}
	for i := range pass.Targets {
		target := &pass.Targets[i]
		if target.skipped {
			continue
		}
		alarms.set(ctx, target.Target(), target.until)
		r.retries.note(target.Target(), snap.Commit, target.failure, r.Config.Source.Interval.Duration)
	}
}

// logTarget writes the one line of a finished target. A target at rest is silent.
func (r *Runner) logTarget(p Progress) {
	if p.Result == nil {
		return
	}
	log := r.log.With("pipeline", p.Target.Pipeline, "environment", p.Target.Environment, "commit", p.Commit, "took", p.Took.Round(time.Millisecond))
	switch p.Result.Result {
	case Failed:
		log.Error("target failed", "error", p.Result.Error, "owner", p.Result.Owner)
	case Applied:
		log.Info("target applied", "changes", len(p.Result.Changes), "message", p.Result.Message)
	case Held:
		log.Info("target held", "message", p.Result.Message)
	default:
		log.Debug("target unchanged")
	}
}

// failed logs a failure, but not the one that follows from being told to stop.
func (r *Runner) failed(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return
	}
	r.log.Error("pass failed", "error", err)
}

func jittered(interval time.Duration) time.Duration {
	return interval + rand.N(interval/jitterShare+1)
}
