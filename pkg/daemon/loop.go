package daemon

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/source"
	"golang.org/x/time/rate"
)

const (
	// jitterShare spreads the polls of many syncers over a tenth of their interval, so that they do not reach one git
	// server at once.
	jitterShare = 10
	// minPollInterval is how long a poll or a target waits that other replicas or syncers have to be asked for.
	minPollInterval = time.Second
	// Requested polls of the repository may follow each other at once, so that a commit soon after another one does not wait;
	// then each waits until the average is two a second again.
	pollsPerSecond = 2
	pollBurst      = 10
	burstInterval  = 50 * time.Millisecond
)

func newPollLimiter() *rate.Limiter { return rate.NewLimiter(pollsPerSecond, pollBurst) }

// loop polls the repository.
type loop struct {
	scheduler *scheduler
	fetching  *fetching
	last      source.Snapshot // the newest commit that was read
	polls     *rate.Limiter   // of requested polls
}

// untilNext returns the least time from a poll to the next one.
func (l *loop) untilNext(now time.Time) time.Duration {
	return max(burstInterval, l.polls.ReserveN(now, 1).DelayFrom(now))
}

// passOn asks other replicas for what this one was asked.
func (l *loop) passOn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.scheduler.daemon.passOn:
		}
		l.scheduler.leases.Nudge(ctx)
		if clock.Sleep(ctx, minPollInterval) != nil {
			return
		}
	}
}

// poll asks the repository, and starts what follows from its answer. A late answer is handled when it comes; until then
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
			l.scheduler.daemon.pollSoon()
		}
	case <-timer.C:
		l.goOn(ctx)
	}
}

// answered handles the answer of the repository, and reports whether to ask again at once.
func (l *loop) answered(ctx context.Context, a fetched) (again bool) {
	s, d := l.scheduler, l.scheduler.daemon
	again = l.fetching.ended()
	d.fetched(ctx, a.snap, a.err)
	switch {
	case a.err == nil:
		s.commits.fetched(a.asked)
		d.states.isNewAbout(aboutTry, "")
		if d.states.isNewAbout(aboutRepository, "") {
			d.parts.Log.Info("the repository can be read again", "commit", a.snap.Commit)
		}
	case ctx.Err() == nil:
		if d.states.isNewAbout(aboutRepository, a.err.Error()) {
			d.parts.Log.Error("the repository cannot be read; the last commit stays in force", "error", a.err)
		}
	}
	switch {
	case ctx.Err() != nil:
	case a.err == nil && a.snap.Commit != l.last.Commit:
		d.logCommit(a.snap)
		l.last = a.snap
		l.last.Rewound = ""
		s.rollOut(ctx, a.snap)
	default:
		if a.err == nil {
			d.parts.Metrics.synced(s.synced(), d.states)
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
	all := l.scheduler.commits.wantRollout()
	all = l.scheduler.daemon.parts.Planner.Trust.Changed() || all
	l.scheduler.queueDue() // also before a rollout that a cluster that is away makes due: the others go on
	if all {
		l.scheduler.rollOut(ctx, l.last)
	}
}

// pause waits for the time of the next poll.
func (l *loop) pause(ctx context.Context) {
	d := l.scheduler.daemon
	now := time.Now()
	d.lastPoll.Store(&now)
	least := l.untilNext(now)
	if clock.Sleep(ctx, least) != nil {
		return
	}
	timer := time.NewTimer(max(0, jittered(d.parts.Config.Source.Interval.Duration)-least))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-d.pollNow:
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

// logCommit logs a new commit.
func (d *Daemon) logCommit(snap source.Snapshot) {
	d.parts.Log.Info("new commit", "commit", snap.Commit, "subject", snap.Subject, "author", snap.Author)
	if snap.Rewound != "" {
		d.parts.Log.Warn("the branch's history was rewritten by a force push; following it", "commit", snap.Commit, "before", snap.Rewound)
	}
}

// reportRefused says once which environments do not follow a commit, and why.
func (d *Daemon) reportRefused(snap source.Snapshot, refused []*follow.Refusal) {
	by := map[string]*follow.Refusal{}
	for _, each := range refused {
		by[each.Environment] = each
	}
	for _, name := range d.parts.Planner.Trust.Environments() {
		each, text, value := by[name], "", 0.0
		if each != nil {
			text, value = each.Error(), 1
		}
		d.parts.Metrics.targets.untrusted.WithLabelValues(name).Set(value)
		switch isNew := d.states.isNewAbout(subject("trust of "+name), text); {
		case isNew && each != nil:
			d.parts.Log.Warn("the newest commit is not trusted", "environment", name, "commit", snap.Commit, "inForce", each.InForce, "reason", each.Reason, "error", text)
		case isNew:
			d.parts.Log.Info("the newest commit is trusted", "environment", name, "commit", snap.Commit)
		}
	}
}
