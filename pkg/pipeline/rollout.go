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
	work     *work
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
	a, err := d.plan(r.ctx, snap, Selection{Environments: d.options.Environments})
	if err != nil {
		return err
	}
	c := d.carrier(r.ctx, a)
	c.newest, c.done, c.unwatched = r.ctx, d.done, d.unwatched
	c.limitRemovals(a)
	c.limitPass(a)
	r.carrier = c
	d.planned(a, c.near)
	d.board.plannedFor(a)
	var works []*work
	helped := d.helped(a.works)
	for _, w := range a.works {
		switch {
		case !d.tenure.has(w):
		case d.rests(w):
			d.underway.arrived(w.target)
		case !helped[serverOf(w)] && !c.allowed[w.target] && c.promotable[w.target] == "" && d.stands(w): // the poll has it looked at in time
		case !d.retries.due(w.target, w.snapshot.Commit):
		case d.overtaken(w.cluster, w.record):
			if r.rewound != "" {
				d.tellRewound(r.ctx, w, r.rewound) // what follows is a turn of its own, which knows of no force push
			}
			d.lookAgain(w.target, tryAgain)
		default:
			works = append(works, w)
		}
	}
	d.tracked(works, r.began)
	d.others.Go(func() {
		_ = d.guarded(v1alpha1.Target{}, func() error { // what it says, the turns say later
			d.tellUnderway(r.ctx, works, r.began)
			return nil
		})
	})
	a.inOrder(r.ctx, works, d.Config, func(w *work, finished func()) {
		r.mu.Lock()
		r.waiting[w.target] = waiting{w, finished}
		r.mu.Unlock()
		d.queue.add(w.target, time.Now(), commitMoved)
	})
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	a.retired = d.tenure.own(a.retired)
	return errors.Join(append(a.lost, c.forget(r.ctx, a))...)
}

// take gives the work on a target to a worker, who calls finished at its end; nil when the rollout does not wait for it.
func (r *rollout) take(target v1alpha1.Target) (w *work, finished func()) {
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
func (d *daemon) rests(w *work) bool {
	if d.queue.taken(w.target) || d.underway.said(w.target) != "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.desks[w.target]
	return at != nil && at.settled && at.work != nil && w.err == nil && w.overlay != "" && w.rendering != nil &&
		w.rendering == at.work.rendering && reflect.DeepEqual(w.settings, at.work.settings) && w.level == at.work.level &&
		d.follows(w) && d.now().Sub(at.compared) <= compareInterval
}

// stands reports whether a commit leaves a target as it is that waits or failed: git says of it what it said at its last
// turn. What happens to it has it looked at, and the end of its back-off.
func (d *daemon) stands(w *work) bool {
	if d.queue.taken(w.target) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.desks[w.target]
	if at == nil || at.settled || at.tried == nil || !sameInput(at.tried, w) || at.work != nil && !d.follows(w) {
		return false
	}
	d.retries.goOn(w.target, w.snapshot.Commit)
	return true
}

// helped lists the clusters to which a commit brings namespaces or kinds, of which targets may be in want.
func (d *daemon) helped(works []*work) map[*apply.Cluster]bool {
	out := map[*apply.Cluster]bool{}
	for _, w := range works {
		if w.cluster != nil && apply.BroughtBy(w.plain).Any() && !d.rests(w) && !d.stands(w) {
			out[serverOf(w)] = true
		}
	}
	return out
}

func serverOf(w *work) *apply.Cluster {
	if w.cluster == nil {
		return nil
	}
	return w.cluster.Server()
}
