package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/source"
)

const (
	// jitterShare spreads the polls of many syncers over a tenth of their interval, so that they do not reach one git
	// server at once.
	jitterShare = 10
	// wakeInterval is the least time between two looks at the repository, however often somebody asks for one.
	wakeInterval = time.Second
	// defaultDrain is how long targets that are being carried out may take to end after the daemon was told to stop.
	defaultDrain = 30 * time.Second
)

// LoopOptions are what a user may ask of a daemon.
type LoopOptions struct {
	// Environments to work on; empty: all.
	Environments []string
	// Drain is how long targets that are being written may take after the daemon was told to stop; 0: 30 s.
	Drain time.Duration
	// Identity names this process among its replicas, and is unique to it.
	Identity string
}

// Loop carries the newest commit out, again and again, until the context ends. A repository that cannot be read leaves
// the last commit that was read in force. Between two commits a target is looked at when something happens to it: when
// somebody changes one of its objects, when what it waits for is there, and when it is time to look at its images. It
// returns nil when the context has ended and what was being written is written.
func (r *Runner) Loop(ctx context.Context, options LoopOptions) error {
	if _, err := r.Config.Select(options.Environments); err != nil {
		return err
	}
	r.loops = true
	r.progress = func(p Progress) {
		if ctx.Err() == nil || p.Result != nil && !errors.Is(p.Result.failure, context.Canceled) { // a target that was told to stop did not fail
			r.logTarget(p)
		}
	}
	r.log.Info("following the repository", "url", r.Config.Source.PublicURL(), "interval", r.Config.Source.Interval.Duration)
	d := newDaemon(ctx, r, options)
	d.begin(ctx)
	for ctx.Err() == nil {
		d.look(ctx)
		d.pause(ctx)
	}
	d.log.Info("told to stop; what is being written is written to its end")
	d.end(ctx)
	return nil
}

// Wake has a running Loop look at the repository at once, or a second after it did last, here and on the replicas that
// hold Leases.
func (r *Runner) Wake() {
	r.lookSoon()
	signal(r.asked)
}

// lookSoon has the Loop of this process look at the repository.
func (r *Runner) lookSoon() { signal(r.wake) }

// signal asks for something, unless that was asked for already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// passOn tells other replicas what this one was asked.
func (d *daemon) passOn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.asked:
		}
		d.tenure.nudge(ctx)
		if clock.Sleep(ctx, wakeInterval) != nil {
			return
		}
	}
}

// look asks the repository, and has done what follows from its answer. Where that stays out, the loop goes on with the
// commit in force, and takes the answer in when it comes.
func (d *daemon) look(ctx context.Context) {
	patience := time.Duration(0) // a question that was under way before has had its time
	if d.fetching.begin(ctx) {
		patience = fetchPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case answer := <-d.fetching.answers:
		if d.answered(ctx, answer) {
			d.lookSoon()
		}
	case <-timer.C:
		d.goOn(ctx)
	}
}

// answered takes in what the repository said, and reports whether it is to be asked again at once.
func (d *daemon) answered(ctx context.Context, a fetched) (again bool) {
	again = d.fetching.ended()
	d.board.fetched(ctx, a.snap, a.err)
	switch {
	case a.err == nil:
		d.mu.Lock()
		d.lookedAt = a.asked
		d.mu.Unlock()
		d.heard.news("repository, a try", "")
		if d.heard.news("repository", "") {
			d.log.Info("the repository can be read again", "commit", a.snap.Commit)
		}
	case ctx.Err() == nil:
		if d.heard.news("repository", a.err.Error()) {
			d.log.Error("the repository cannot be read; the last commit stays in force", "error", a.err)
		}
	}
	switch {
	case ctx.Err() != nil:
	case a.err == nil && a.snap.Commit != d.last.Commit:
		d.announce(a.snap)
		d.last = a.snap
		d.last.Rewound = ""
		d.rollOut(ctx, a.snap)
	default:
		if a.err == nil {
			d.metrics.synced(d.complete())
		}
		d.goOn(ctx)
	}
	return again
}

// goOn has done what is due although git says nothing new.
func (d *daemon) goOn(ctx context.Context) {
	if d.last.Commit == "" {
		return
	}
	all := d.wantsAll()
	d.poll(ctx) // also before a rollout that is due to a cluster that is away: the others go on as ever
	if all {
		d.rollOut(ctx, d.last)
	}
}

func (d *daemon) announce(snap source.Snapshot) {
	d.log.Info("new commit", "commit", snap.Commit, "subject", snap.Subject, "author", snap.Author)
	if snap.Rewound != "" {
		d.log.Warn("the branch's history was rewritten by a force push; following it", "commit", snap.Commit, "before", snap.Rewound)
	}
}

// pause waits for the time of the next look.
func (d *daemon) pause(ctx context.Context) {
	now := time.Now()
	d.alive.Store(&now)
	if clock.Sleep(ctx, wakeInterval) != nil {
		return
	}
	timer := time.NewTimer(max(0, jittered(d.Config.Source.Interval.Duration)-wakeInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-d.wake:
			return
		case answer := <-d.fetching.answers:
			if d.answered(ctx, answer) {
				return
			}
		}
	}
}

// logTarget writes the one line of a finished target. A target at rest is silent, and so is one that waits or fails as it
// did before.
func (r *Runner) logTarget(p Progress) {
	if p.Result == nil {
		return
	}
	log := r.log.With("pipeline", p.Target.Pipeline, "environment", p.Target.Environment, "commit", p.Commit, "took", p.Took.Round(time.Millisecond))
	state := ""
	if p.Result.Result == Failed || p.Result.Result == Held {
		state = string(p.Result.Result) + p.Result.Error + p.Result.Message
	} else if p.Result.uncompared != nil {
		state = p.Result.uncompared.Error()
	}
	news := r.heard.news(p.Target.String(), state)
	switch {
	case p.Result.Result == Failed && news:
		log.Error("target failed", "error", p.Result.Error, "owner", p.Result.Owner)
	case p.Result.Result != Failed && p.Result.uncompared != nil && news:
		log.Warn("objects of it could not be compared", "result", p.Result.Result, "changes", len(p.Result.Changes), "message", p.Result.Message)
	case p.Result.Result == Applied:
		log.Info("target applied", "changes", len(p.Result.Changes), "message", p.Result.Message)
	case p.Result.Result == Held && news:
		log.Info("target held", "message", p.Result.Message)
	default:
		log.Debug("target looked at", "result", p.Result.Result, "message", p.Result.Message, "error", p.Result.Error)
	}
}

// failed logs a failure, but not the one that follows from being told to stop, and not the same again.
func (r *Runner) failed(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil || !r.heard.news("", err.Error()) {
		return
	}
	r.log.Error("pass failed", "error", err)
}

func jittered(interval time.Duration) time.Duration {
	return interval + rand.N(interval/jitterShare+1)
}
