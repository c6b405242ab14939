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
	// minPollInterval is the least time between two polls of the repository, however often a poll is requested.
	minPollInterval = time.Second
	// defaultDrain is how long targets that are being reconciled may take to end after the daemon was told to stop.
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

// Loop reconciles the targets of the newest commit, again and again, until the context ends. A repository that cannot be
// read leaves the last commit that was read in force. Between two commits a target is reconciled when something happens to
// it: when an object of it changes, when its wait ends, and when it is time to check its images. Loop returns nil when the
// context has ended and what was being written is written.
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
	l := &loop{daemon: d, fetching: newFetching(r.source.Fetch, &d.others)}
	d.start(ctx)
	d.others.Go(func() { l.passOn(ctx) })
	for ctx.Err() == nil {
		l.poll(ctx)
		l.pause(ctx)
	}
	d.log.Info("told to stop; what is being written is written to its end")
	d.stop()
	return nil
}

// Wake has a running Loop poll the repository at once, or a second after the last poll, here and on the replicas that
// hold Leases.
func (r *Runner) Wake() {
	r.lookSoon()
	signal(r.asked)
}

// lookSoon has the Loop of this process poll the repository.
func (r *Runner) lookSoon() { signal(r.wake) }

// signal requests something, unless that is requested already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop polls the repository.
type loop struct {
	daemon   *daemon
	fetching *fetching
	last     source.Snapshot // the newest commit that was read
}

// passOn asks other replicas for what this one was asked.
func (l *loop) passOn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.daemon.asked:
		}
		l.daemon.leases.nudge(ctx)
		if clock.Sleep(ctx, minPollInterval) != nil {
			return
		}
	}
}

// poll asks the repository, and starts what follows from its answer. A late answer is taken in when it comes; until then
// the loop goes on with the commit in force.
func (l *loop) poll(ctx context.Context) {
	wait := time.Duration(0) // a request that was under way before has had its time
	if l.fetching.begin(ctx) {
		wait = fetchWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case answer := <-l.fetching.answers:
		if l.answered(ctx, answer) {
			l.daemon.lookSoon()
		}
	case <-timer.C:
		l.goOn(ctx)
	}
}

// answered takes in the answer of the repository, and reports whether to ask again at once.
func (l *loop) answered(ctx context.Context, a fetched) (again bool) {
	d := l.daemon
	again = l.fetching.ended()
	d.board.fetched(ctx, a.snap, a.err)
	switch {
	case a.err == nil:
		d.commits.fetched(a.asked)
		d.logged.isNews(aboutTry, "")
		if d.logged.isNews(aboutRepository, "") {
			d.log.Info("the repository can be read again", "commit", a.snap.Commit)
		}
	case ctx.Err() == nil:
		if d.logged.isNews(aboutRepository, a.err.Error()) {
			d.log.Error("the repository cannot be read; the last commit stays in force", "error", a.err)
		}
	}
	switch {
	case ctx.Err() != nil:
	case a.err == nil && a.snap.Commit != l.last.Commit:
		d.announce(a.snap)
		l.last = a.snap
		l.last.Rewound = ""
		d.rollOut(ctx, a.snap)
	default:
		if a.err == nil {
			d.metrics.synced(d.synced())
		}
		l.goOn(ctx)
	}
	return again
}

// goOn starts what is due although git says nothing new.
func (l *loop) goOn(ctx context.Context) {
	if l.last.Commit == "" {
		return
	}
	all := l.daemon.commits.wantRollout()
	l.daemon.queueDue(ctx) // also before a rollout that a cluster that is away makes due: the others go on
	if all {
		l.daemon.rollOut(ctx, l.last)
	}
}

// pause waits for the time of the next poll.
func (l *loop) pause(ctx context.Context) {
	d := l.daemon
	now := time.Now()
	d.alive.Store(&now)
	if clock.Sleep(ctx, minPollInterval) != nil {
		return
	}
	timer := time.NewTimer(max(0, jittered(d.Config.Source.Interval.Duration)-minPollInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-d.wake:
			return
		case answer := <-l.fetching.answers:
			if l.answered(ctx, answer) {
				return
			}
		}
	}
}

func jittered(interval time.Duration) time.Duration {
	return interval + rand.N(interval/jitterShare+1)
}

func (d *daemon) announce(snap source.Snapshot) {
	d.log.Info("new commit", "commit", snap.Commit, "subject", snap.Subject, "author", snap.Author)
	if snap.Rewound != "" {
		d.log.Warn("the branch's history was rewritten by a force push; following it", "commit", snap.Commit, "before", snap.Rewound)
	}
}

// logTarget writes the one line of a finished target. It writes nothing for a target that is in sync, and nothing for one
// that waits or fails as it did before.
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
	news := r.states.isNews(p.Target, state)
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

// failed logs a failure once. It does not log the failure that follows from being told to stop.
func (r *Runner) failed(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil || !r.logged.isNews(aboutRollout, err.Error()) {
		return
	}
	r.log.Error("pass failed", "error", err)
}
