package daemon

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

// rollout is one commit on its way to its targets. It ends when every target was reconciled, or when a newer commit takes
// its place.
type rollout struct {
	ctx     context.Context // ends when the commit is not the newest any more
	stop    context.CancelFunc
	next    context.Context // ends when another rollout has begun; its own may be stopped long before that
	begun   context.CancelFunc
	pass    *reconcile.Pass
	marks   underway.Marks
	asOf    uint64        // the step of the states at which the records were read, or a later one
	over    chan struct{} // closed when it has ended
	began   time.Time     // when the commit was seen, by the monotonic clock
	due     int           // the targets that it reconciles
	rewound string        // where the branch stood before a force push; empty: there was none

	mu      sync.Mutex
	waiting map[v1alpha1.Target]waiting
}

// waiting is a target of a rollout that is in the queue.
type waiting struct {
	desired  *target.Desired
	finished func()
}

// rollOut begins a rollout in the place of the one before, which ends first: work on its commit stops before the next
// first write.
func (s *scheduler) rollOut(ctx context.Context, snap source.Snapshot) {
	before := s.commits.current()
	if before != nil {
		before.stop()
		<-before.over
		s.queue.withdraw(commitChanged)
	}
	r := &rollout{began: time.Now(), over: make(chan struct{}), rewound: snap.Rewound, waiting: map[v1alpha1.Target]waiting{}}
	r.ctx, r.stop = context.WithCancel(ctx)
	r.next, r.begun = context.WithCancel(ctx)
	s.commits.begin(r)
	if before != nil {
		before.begun()
	}
	s.others.Go(func() {
		defer s.complete()
		defer close(r.over)
		err := s.daemon.parts.Reconciler.Guard.Call(v1alpha1.Target{}, func() error { return s.roll(r, snap) })
		if r.ctx.Err() != nil {
			return // the next rollout reconciles what is left
		}
		if err == nil {
			s.daemon.states.isNewAbout(aboutRollout, "") // whatever failed before
		}
		if err != nil {
			s.daemon.failed(ctx, err)
		}
		s.commits.end(r, err)
		s.memory.Reset(memoryPause)
	})
}

// complete has the loop roll the commit out again when the last rollout has ended and had to leave something out that is there
// now: an environment that can be read, or an overlay that is rendered.
func (s *scheduler) complete() {
	if s.commits.completes() || s.commits.isPartial() {
		s.daemon.pollSoon()
	}
}

// roll plans a commit and gives its targets to the workers, each after the targets that it needs.
func (s *scheduler) roll(r *rollout, snap source.Snapshot) error {
	r.asOf = s.daemon.states.now()
	commit, err := s.daemon.parts.Planner.Plan(r.ctx, snap, v1alpha1.Selection{Environments: s.daemon.options.Environments})
	if err = cmp.Or(r.ctx.Err(), err); err != nil { // a plan that was given up lacks renderings
		return err
	}
	s.daemon.reportRefused(snap, commit.Refused)
	r.pass = reconcile.NewPass(commit, s.daemon.parts.Reconciler.Pins.NewLookups())
	r.pass.Newest, r.pass.Unwatched, r.pass.Shown = r.ctx, s.watching.unwatched, s.watching
	s.commits.plan(planned{commit: commit, pass: r.pass})
	s.forgetGone(commit)
	s.daemon.publisher.Planned(commit)
	due := s.due(r, commit)
	r.due = len(due)
	s.watching.begin(due)
	r.marks = s.daemon.tracker.Track(s.daemon.parts.Config.Name, due, r.began)
	s.commits.mark(r.marks)
	s.others.Go(func() {
		_ = s.daemon.parts.Reconciler.Guard.Call(v1alpha1.Target{}, func() error { // what it says, the reconciles say later
			s.daemon.tracker.Run(r.ctx, due, r.marks, r.began)
			return nil
		})
	})
	commit.InOrder(r.ctx, due, s.daemon.parts.Config, func(w *target.Desired, finished func()) {
		r.mu.Lock()
		r.waiting[w.Target] = waiting{w, finished}
		r.mu.Unlock()
		s.queue.add(w.Target, time.Now(), commitChanged)
	})
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	commit.Retired = s.leases.Own(commit.Retired)
	return errors.Join(append(commit.Incomplete, s.daemon.parts.Reconciler.Forget(r.ctx, commit.Retired))...)
}

// due lists the targets of a commit that its rollout reconciles.
func (s *scheduler) due(r *rollout, commit *target.Commit) []*target.Desired {
	var due, rest []*target.Desired
	for _, w := range commit.Targets {
		if !s.isConverged(w) {
			rest = append(rest, w)
		} else if s.leases.Has(w) {
			s.daemon.tracker.Forget(w.Target)
		}
	}
	helped := s.helped(rest)
	for _, w := range rest {
		switch {
		case !s.leases.Has(w), isPending(w):
		case !helped[serverOf(w)] && !commit.Allowed.Prunes[w.Target] && commit.Allowed.Promotions[w.Target] == "" && s.isUnchanged(w):
			s.daemon.states.goOn(w.Target, w.Snapshot.Commit) // a poll reconciles it in time
		case !s.daemon.states.of(w.Target).failures.isDue(w.Snapshot.Commit):
		case s.isOvertaken(w.Cluster, w.Record):
			if r.rewound != "" {
				s.daemon.parts.Reconciler.ReportRewound(r.ctx, w, r.rewound) // a reconcile of its own follows, which does not know of the force push
			}
			s.yield(w.Target, retryDue)
		default:
			due = append(due, w)
		}
	}
	return due
}

// isPending reports whether the overlay of a target is still being rendered. Until then the target stays as it is.
func isPending(w *target.Desired) bool {
	_, pending := errors.AsType[*target.PendingError](w.Err)
	return pending
}

// claim gives a target to a worker, which calls finished at the end; nil when the rollout does not wait for the target.
func (r *rollout) claim(target v1alpha1.Target) (w *target.Desired, finished func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine, ok := r.waiting[target]
	if !ok {
		return nil, func() {}
	}
	delete(r.waiting, target)
	return mine.desired, mine.finished
}

func (r *rollout) ended() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// isConverged reports whether a commit leaves a target as it is: it is converged, and git says of it what was applied last.
// A target that is with a worker is not converged: its reconcile may write what another commit says. Nor is a target whose
// record says that a commit is on its way.
func (s *scheduler) isConverged(w *target.Desired) bool {
	if s.queue.isBusy(w.Target) || s.daemon.tracker.Message(w.Target) != "" {
		return false
	}
	last, known := s.daemon.states.lastOf(w.Target)
	return known && last.converged && last.judged != nil && w.Err == nil && w.Overlay != "" && w.Rendered.From != nil &&
		w.Rendered.From == last.judged.Rendered.From && sameSignature(last.judged, w) && !lacksVerified(w) && reflect.DeepEqual(w.Settings, last.judged.Settings) && w.Level == last.judged.Level &&
		s.watching.follows(w) && time.Since(last.compared) <= compareInterval
}

// isUnchanged reports whether a commit leaves a target as it is that waits or failed: git says of it what it said at its
// last reconcile. What happens to the target has it reconciled, and the end of its back-off.
func (s *scheduler) isUnchanged(w *target.Desired) bool {
	if s.queue.isBusy(w.Target) {
		return false
	}
	last, known := s.daemon.states.lastOf(w.Target)
	return known && !last.converged && last.tried != nil && sameInput(last.tried, w) && (last.judged == nil || s.watching.follows(w))
}

// sameInput reports whether git says of a target what it said for another reconcile, its errors included.
func sameInput(a, b *target.Desired) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return a.Rendered.From == b.Rendered.From && (a.Rendered.From != nil || a.Err != nil || a.Overlay == "") && a.Overlay == b.Overlay && a.Level == b.Level &&
		text(a.Err) == text(b.Err) && sameSignature(a, b) && reflect.DeepEqual(a.Settings, b.Settings)
}

// sameSignature reports whether two plans of a target say the same of the signature of the newest commit.
func sameSignature(a, b *target.Desired) bool {
	x, y := a.Signature.Refused, b.Signature.Refused
	return a.Signature.Demanded == b.Signature.Demanded && (x == nil) == (y == nil) && (x == nil || x.Error() == y.Error())
}

// lacksVerified reports whether the record of a target does not say yet that a verified commit is in force.
func lacksVerified(w *target.Desired) bool {
	return w.Signature.Verified && w.Record != nil && w.Record.Status.Verified == nil
}

// helped lists the clusters to which a commit brings namespaces or kinds that other targets may need, by the targets that are
// not converged.
func (s *scheduler) helped(rest []*target.Desired) map[*cluster.Cluster]bool {
	out := map[*cluster.Cluster]bool{}
	for _, w := range rest {
		if w.Cluster != nil && w.Rendered.Provides.Any() && !s.isUnchanged(w) {
			out[serverOf(w)] = true
		}
	}
	return out
}

// isOvertaken reports whether another syncer has reconciled a commit that this process may not know yet, as `syncer sync`
// beside a daemon does. What the newest known commit says is not written before the repository was asked.
func (s *scheduler) isOvertaken(server *cluster.Cluster, record *v1alpha1.PipelineSync) bool {
	if record == nil || s.daemon.publisher.Knows(record.Spec.Source.Commit) {
		return false
	}
	return reconcile.DecidedSince(server, record, s.commits.lastFetch()) // else the commit is old, or was rewritten away
}

func serverOf(w *target.Desired) *cluster.Cluster {
	if w.Cluster == nil {
		return nil
	}
	return w.Cluster.Server()
}
