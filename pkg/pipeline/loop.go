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
// the last commit that was read in force. Between two commits a target is looked at when something happens to it: when
// somebody changes one of its objects, when what it waits for is there, and when it is time to look at its images. It
// returns nil when the context ends.
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
	d := newDaemon(ctx, r, options)
	defer d.stop()
	d.workers.Go(func() { d.serve(ctx) })
	var last source.Snapshot
	for ctx.Err() == nil {
		snap, err := r.source.Fetch(ctx)
		if err != nil {
			r.failed(ctx, fmt.Errorf("fetching, the last commit stays in force: %w", err))
			snap = last
		}
		switch {
		case snap.Commit == "":
		case snap.Commit != last.Commit || d.wantsAll():
			d.pass(ctx, snap, last)
			last = snap
		default:
			d.poll(ctx)
		}
		_ = wait(ctx, jittered(r.Config.Source.Interval.Duration)) // the loop ends with the context
	}
	return nil
}

// pass carries a commit into every target.
func (d *daemon) pass(ctx context.Context, snap, last source.Snapshot) {
	if snap.Commit != last.Commit {
		d.log.Info("new commit", "commit", snap.Commit, "subject", snap.Subject, "author", snap.Author)
	}
	if snap.Rewound != "" {
		d.log.Warn("the branch's history was rewritten by a force push; following it", "commit", snap.Commit, "before", snap.Rewound)
	}
	snap.Rewound = ""
	options := d.options
	options.due, options.planned, options.done = d.retries.due, d.planned, d.done
	_, err := d.carry(ctx, snap, options)
	if err != nil {
		d.failed(ctx, err)
	}
	d.passed(err)
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
