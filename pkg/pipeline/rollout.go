package pipeline

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// rollout is one commit on its way into its targets. It ends when every target had its turn, or when a newer commit
// takes its place.
type rollout struct {
	ctx     context.Context // ends with the rollout's place as the newest
	stop    context.CancelFunc
	carrier *carrier
	turns   map[v1alpha1.Target]int // when the records were read
	over    chan struct{}           // closed when it has ended
	began   time.Time               // when the commit was seen, by the monotonic clock
	rewound string                  // where the branch stood before a force push; empty: there was none

	mu      sync.Mutex
	waiting map[v1alpha1.Target]waiting
}

// waiting is a target of a rollout that is in the queue.
type waiting struct {
	work     *target.Desired
	finished func()
}

// rollOut begins a rollout in the place of the one before, which ends first: work on its commit stops before the next
// first write.
func (d *daemon) rollOut(ctx context.Context, snap source.Snapshot) {
	d.mu.Lock()
	before := d.rollout
	d.mu.Unlock()
	if before != nil {
		before.stop()
		<-before.over
		d.queue.withdraw(commitMoved)
	}
	r := &rollout{began: time.Now(), over: make(chan struct{}), rewound: snap.Rewound, waiting: map[v1alpha1.Target]waiting{}}
	r.ctx, r.stop = context.WithCancel(ctx)
	d.mu.Lock()
	d.rollout = r
	d.mu.Unlock()
	d.others.Go(func() {
		defer close(r.over)
		err := d.guarded(v1alpha1.Target{}, func() error { return d.roll(r, snap) })
		if r.ctx.Err() != nil {
			return // what was not carried out is the next one's
		}
		if err == nil {
			d.heard.news("", "") // whatever failed before
		}
		if err != nil {
			d.failed(ctx, err)
		}
		d.rolledOut(r, err)
	})
}

// roll plans a commit and gives its targets to the workers, each when those before it have finished.
func (d *daemon) roll(r *rollout, snap source.Snapshot) error {
	r.turns = d.turns.counts()
	a, err := d.planner.Plan(r.ctx, snap, v1alpha1.Selection{Environments: d.options.Environments})
	if err != nil {
		return err
	}
	c := d.carrier(a)
	c.newest, c.done, c.unwatched = r.ctx, d.done, d.unwatched
	r.carrier = c
	d.planned(a, c.near)
	d.board.plannedFor(a)
	var works []*target.Desired
	helped := d.helped(a.Targets)
	for _, w := range a.Targets {
		switch {
		case !d.tenure.has(w):
		case d.rests(w):
			d.underway.arrived(w.Target)
		case !helped[serverOf(w)] && !c.permits().Prunes[w.Target] && c.permits().Promotions[w.Target] == "" && d.stands(w): // the poll has it looked at in time
		case !d.retries.due(w.Target, w.Snapshot.Commit):
		case d.overtaken(w.Cluster, w.Record):
			if r.rewound != "" {
				d.tellRewound(r.ctx, w, r.rewound) // what follows is a turn of its own, which knows of no force push
			}
			d.lookAgain(w.Target, tryAgain)
		default:
			works = append(works, w)
		}
	}
	c.marks = d.tracked(works, r.began)
	d.mu.Lock()
	d.marks = c.marks
	d.mu.Unlock()
	d.others.Go(func() {
		_ = d.guarded(v1alpha1.Target{}, func() error { // what it says, the turns say later
			d.tellUnderway(r.ctx, works, c.marks, r.began)
			return nil
		})
	})
	a.InOrder(r.ctx, works, d.Config, func(w *target.Desired, finished func()) {
		r.mu.Lock()
		r.waiting[w.Target] = waiting{w, finished}
		r.mu.Unlock()
		d.queue.add(w.Target, time.Now(), commitMoved)
	})
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	a.Retired = d.tenure.own(a.Retired)
	return errors.Join(append(a.Incomplete, c.forget(r.ctx, a))...)
}

// take gives the work on a target to a worker, who calls finished at its end; nil when the rollout does not wait for it.
func (r *rollout) take(target v1alpha1.Target) (w *target.Desired, finished func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine, ok := r.waiting[target]
	if !ok {
		return nil, func() {}
	}
	delete(r.waiting, target)
	return mine.work, mine.finished
}

func (r *rollout) ended() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// rests reports whether a commit leaves a target as it is: it is settled, and git says of it what was carried out last.
// What is with a worker does not rest: its turn may be writing what another commit says. Nor does a target whose record
// says that a commit is on its way.
func (d *daemon) rests(w *target.Desired) bool {
	if d.queue.taken(w.Target) || d.underway.said(w.Target) != "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.desks[w.Target]
	return at != nil && at.settled && at.work != nil && w.Err == nil && w.Overlay != "" && w.Rendered.From != nil &&
		w.Rendered.From == at.work.Rendered.From && reflect.DeepEqual(w.Settings, at.work.Settings) && w.Level == at.work.Level &&
		d.follows(w) && d.now().Sub(at.compared) <= compareInterval
}

// stands reports whether a commit leaves a target as it is that waits or failed: git says of it what it said at its last
// turn. What happens to it has it looked at, and the end of its back-off.
func (d *daemon) stands(w *target.Desired) bool {
	if d.queue.taken(w.Target) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.desks[w.Target]
	if at == nil || at.settled || at.tried == nil || !sameInput(at.tried, w) || at.work != nil && !d.follows(w) {
		return false
	}
	d.retries.goOn(w.Target, w.Snapshot.Commit)
	return true
}

// helped lists the clusters to which a commit brings namespaces or kinds, of which targets may be in want.
func (d *daemon) helped(works []*target.Desired) map[*apply.Cluster]bool {
	out := map[*apply.Cluster]bool{}
	for _, w := range works {
		if w.Cluster != nil && apply.BroughtBy(w.Rendered.Set).Any() && !d.rests(w) && !d.stands(w) {
			out[serverOf(w)] = true
		}
	}
	return out
}

func serverOf(w *target.Desired) *apply.Cluster {
	if w.Cluster == nil {
		return nil
	}
	return w.Cluster.Server()
}
