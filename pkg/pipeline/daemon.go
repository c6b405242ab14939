package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// daemon is what a Loop knows between two looks at the repository.
type daemon struct {
	*Runner
	options  LoopOptions
	alarms   *alarms
	queue    *queue
	tenure   *tenure
	fetching *fetching
	workers  sync.WaitGroup // carry targets out
	others   sync.WaitGroup // everything else that runs beside the loop

	last source.Snapshot // the loop's own: the newest commit that was read

	mu      sync.Mutex
	rollout *rollout       // of the newest commit; nil: none yet
	latest  *target.Commit // of the newest commit, once it is planned
	near    map[*apply.Cluster]apply.Neighbours
	marks   marks // of the latest
	whole   time.Time
	// lookedAt is when the repository was last asked with success.
	lookedAt time.Time
	lost     bool // the last rollout could not see every environment
	desks    map[v1alpha1.Target]*desk
	waits    waiters
	versions map[v1alpha1.Target]string // of the records, as the board saw them
	watches  map[*apply.Cluster]*apply.Watches
	watch    func(*apply.Cluster) *apply.Watches
}

// desk is what is known of one target.
type desk struct {
	settled     bool            // there is nothing to do before something happens
	unwatched   bool            // its record says so of some of its kinds
	tried       *target.Desired // of the last turn, however it went
	passed      time.Time
	compared    time.Time       // when all of its objects were last compared
	work        *target.Desired // of the last pass; nil: it has not come that far
	pins        []v1alpha1.PinnedImage
	credentials *image.Credentials // of the pull secrets, for the next look at the images; nil: they are read then
}

const (
	// calm is the time from a change in the cluster to the look at it: a command often makes more than one.
	calm = 50 * time.Millisecond
	// statusCalm is the least time between two looks that only a status has caused.
	statusCalm = 5 * time.Second
	// compareInterval is how often every object of a target is compared by a dry run, as a safety net below the watches.
	compareInterval = time.Hour
)

func newDaemon(ctx context.Context, r *Runner, options LoopOptions) *daemon {
	d := &daemon{
		Runner: r, options: options, desks: map[v1alpha1.Target]*desk{}, versions: map[v1alpha1.Target]string{}, watches: map[*apply.Cluster]*apply.Watches{},
	}
	d.fetching = newFetching(r.source.Fetch, &d.others)
	d.queue = newQueue(targetsAtOnce, d.lane)
	d.alarms = newAlarms(func(target v1alpha1.Target) { d.queue.add(target, time.Now(), waitEnded) }, d.tellPanic)
	d.watch = func(cluster *apply.Cluster) *apply.Watches {
		return apply.NewWatches(ctx, cluster, d.notice, func(kind string, err error) {
			r.tellPanic(v1alpha1.Target{}, err) // it may be of any target that has the kind
			r.log.Warn("objects cannot be watched; changes to them are seen at the next poll", "kind", kind, "error", err)
		})
	}
	d.tenure = newTenure(d)
	return d
}

// begin starts what runs beside the loop.
func (d *daemon) begin(ctx context.Context) {
	d.metrics.runs(d.queue, d.unwatchedKinds)
	d.tenure.begin(ctx)
	d.others.Go(func() { d.board.follow(ctx, d) })
	d.others.Go(func() { d.passOn(ctx) })
	lanes := map[string]bool{}
	for i := range d.Config.Environments {
		lanes[d.lane(v1alpha1.Target{Environment: d.Config.Environments[i].Name})] = true
	}
	for range targetsAtOnce * len(lanes) {
		d.workers.Go(func() { d.serve(ctx) })
	}
}

// lane names the cluster of a target, as the configuration has it.
func (d *daemon) lane(target v1alpha1.Target) string {
	for i := range d.Config.Environments {
		if e := &d.Config.Environments[i]; e.Name == target.Environment {
			return e.Cluster.Kubeconfig + "\n" + e.Cluster.Context
		}
	}
	return ""
}

// end waits for what is being written, after the context has ended; what takes too long is broken off, and the next pass
// finds what it left. Each Lease is given back when nothing is written under it any more.
func (d *daemon) end(ctx context.Context) {
	d.tenure.retire()
	drain := cmp.Or(d.options.Drain, defaultDrain)
	cut := time.AfterFunc(drain, func() {
		d.log.Warn("targets are still being written; they are broken off", "after", drain)
		d.tenure.cut()
	})
	d.workers.Wait()
	cut.Stop()
	d.tenure.end()
	d.alarms.stop()
	d.others.Wait()
	for _, watches := range d.watches {
		watches.Wait()
	}
}

// notice takes in that an object changed.
func (d *daemon) notice(n apply.Notice) {
	why := fieldsMoved
	if n.Status {
		why = statusMoved
	}
	d.queue.add(n.Target, time.Now().Add(calm), why)
}

// planned takes in the agenda of a new commit: from now on a target is carried out by it.
func (d *daemon) planned(a *target.Commit, near map[*apply.Cluster]apply.Neighbours) {
	d.mu.Lock()
	d.latest, d.near, d.marks = a, near, nil
	d.mu.Unlock()
	there := map[v1alpha1.Target]bool{}
	for _, w := range a.All() {
		there[w.Target] = true
	}
	d.leave(func(target v1alpha1.Target) bool { return !there[target] })
}

// leave forgets the targets that are not this process's to look at any more.
func (d *daemon) leave(gone func(v1alpha1.Target) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for target := range d.desks {
		if !gone(target) {
			continue
		}
		delete(d.desks, target)
		d.waits.note(target, "", 0)
		delete(d.versions, target)
		d.metrics.forget(target)
		d.underway.arrived(target)
		d.pins.Checks.Forget(target)
		for _, watches := range d.watches {
			watches.Forget(target)
		}
	}
}

// rolledOut takes in that every target of a commit had its turn. A rollout that was stopped says nothing of that.
func (d *daemon) rolledOut(r *rollout, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	d.whole, d.lost = d.now(), err != nil
}

// wantsAll reports whether the next look at the repository goes through every target although there is no new commit.
func (d *daemon) wantsAll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rollout != nil && !d.rollout.ended() && d.rollout.ctx.Err() == nil {
		return false // it is on its way
	}
	return d.lost || d.now().Sub(d.whole) > compareInterval
}

// renew has the next look at the repository go through every target.
func (d *daemon) renew() {
	d.mu.Lock()
	d.lost = true
	if d.rollout != nil {
		d.rollout.stop() // it was planned without what is new
	}
	d.mu.Unlock()
	d.lookSoon()
}

// done takes in how a target fared. It is called while the target's turn lasts.
func (d *daemon) done(ctx context.Context, w *target.Desired, result *TargetResult, compared bool) {
	left := result.skipped || isOvertaken(result.failure)
	if left {
		d.unsettle(w.Target) // a newer commit has to look at it
	}
	if ctx.Err() != nil || left {
		return
	}
	d.retries.note(w.Target, w.Snapshot.Commit, result.failure, d.Config.Source.Interval.Duration)
	d.waits.note(w.Target, waitsFor(result), d.Config.Source.Interval.Duration)
	d.alarms.set(ctx, w.Target, result.until)
	if w.Record == nil && result.live != nil {
		record, err := w.Cluster.Records().Get(ctx, w.Target) // that this turn made
		if err != nil {
			d.failed(ctx, err) // the next poll looks again
		}
		w.Record = record
	}
	var watches *apply.Watches
	d.mu.Lock()
	if ctx.Err() != nil { // leaveUnled, which comes after that, is not to be undone
		d.mu.Unlock()
		return
	}
	at := d.desks[w.Target]
	if at == nil {
		at = &desk{compared: d.now()}
		d.desks[w.Target] = at
	}
	at.passed, at.unwatched, at.tried = d.now(), result.unwatched, w
	// The objects may all be as they should be and the record be another: what failed is looked at again.
	at.settled = result.settled && result.failure == nil
	if compared {
		at.compared = d.now()
	}
	if result.live != nil && w.Record != nil {
		at.work, at.pins, at.credentials = w, w.Record.Spec.Images, result.credentials
		if result.pins != nil {
			at.pins = result.pins
		}
		server := w.Cluster.Server()
		if watches = d.watches[server]; watches == nil {
			watches = d.watch(server)
			d.watches[server] = watches
		}
	}
	d.mu.Unlock()
	if watches != nil {
		watches.Judged(w.Cluster, w.Target, w.Record, result.live)
	}
}

// poll has those targets looked at that need it although git says nothing new.
func (d *daemon) poll(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest == nil || d.rollout != nil && !d.rollout.ended() {
		return
	}
	for _, w := range d.latest.Targets {
		at := d.desks[w.Target]
		switch {
		case !d.tenure.has(w): // another replica's
		case at != nil && at.settled && w.Overlay == "": // removed
		case at == nil || at.settled && at.work == nil || at.work != nil && !d.follows(w) || at.unwatched || !at.settled && d.waits.due(w.Target):
			if d.retries.due(w.Target, w.Snapshot.Commit) {
				d.queue.add(w.Target, time.Now(), tryAgain)
			}
		case at.work == nil: // there is nothing of it yet
		case d.now().Sub(at.compared) > compareInterval:
			at.compared = d.now() // asked for
			d.queue.add(w.Target, time.Now().Add(rand.N(d.Config.Source.Interval.Duration)), slowCheck)
		case d.pins.Checks.ImagesDue(w.Target, w.Environment.Images.Interval.Duration):
			carried, pins, credentials := at.work, at.pins, at.credentials // a turn may replace them meanwhile
			d.others.Go(func() {
				_ = d.guarded(carried.Target, func() error { // what fails is looked at again when it is due
					d.lookAtImages(ctx, carried, pins, credentials)
					return nil
				})
			})
		}
	}
}

// complete lists the environments that this process carries out, and whether every one of their targets had its turn by
// the newest commit.
func (d *daemon) complete() map[string]bool {
	out := map[string]bool{}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest == nil || d.rollout != nil && (!d.rollout.ended() || d.rollout.ctx.Err() != nil) {
		return out
	}
	for _, w := range d.latest.Targets {
		if !d.tenure.has(w) {
			continue
		}
		if _, known := out[w.Environment.Name]; !known {
			out[w.Environment.Name] = true
		}
		if d.desks[w.Target] == nil || d.retries.has(w.Target) {
			out[w.Environment.Name] = false
		}
	}
	return out
}

// leaveUnled forgets the targets whose Lease this process does not hold any more.
func (d *daemon) leaveUnled() {
	d.mu.Lock()
	a := d.latest
	d.mu.Unlock()
	if a == nil {
		return
	}
	led := map[v1alpha1.Target]bool{}
	for _, w := range d.tenure.own(a.All()) {
		led[w.Target] = true
	}
	d.leave(func(target v1alpha1.Target) bool { return !led[target] })
}

// follows reports whether every object of a target is watched. The caller holds the lock.
func (d *daemon) follows(w *target.Desired) bool {
	watches := d.watches[w.Cluster.Server()]
	return watches != nil && watches.Follows(w.Target)
}

// lookAtImages asks the registries about the images of a target that is in sync, and has it reconciled where they say
// something new.
func (d *daemon) lookAtImages(ctx context.Context, w *target.Desired, pins []v1alpha1.PinnedImage, credentials *image.Credentials) {
	if wait, isNew := d.pins.Recheck(ctx, w, pins, credentials); isNew {
		d.queue.add(w.Target, time.Now().Add(wait), waitEnded)
	}
}

// serve carries out the targets whose turn it is, one after the other, until the context ends.
func (d *daemon) serve(ctx context.Context) {
	for {
		target, why, ok := d.queue.next(ctx)
		if !ok {
			return
		}
		d.attendGuarded(target, why)
	}
}

// attendGuarded is attend, after which the target is another worker's to take, also when it panicked: then the next poll
// that its retries allow looks at it again.
func (d *daemon) attendGuarded(target v1alpha1.Target, why reasons) {
	defer d.queue.finish(target)
	err := d.guarded(target, func() error {
		d.attend(target, why)
		return nil
	})
	if err == nil {
		return
	}
	d.unsettle(target)
	if w, _ := d.current(target); w != nil {
		d.retries.note(target, w.Snapshot.Commit, err, d.Config.Source.Interval.Duration)
	}
}

// attend carries one target out.
func (d *daemon) attend(target v1alpha1.Target, why reasons) {
	d.mu.Lock()
	r := d.rollout
	d.mu.Unlock()
	if r == nil {
		return
	}
	w, finished := r.take(target)
	defer finished()
	if w == nil {
		d.revisit(target, why, r)
		return
	}
	if r.ctx.Err() != nil {
		d.reconciled(w, why, &TargetResult{skipped: true}, 0)
		return
	}
	if writing, ended := d.tenure.begins(w); writing != nil {
		defer ended()
		began := time.Now()
		result := r.carrier.inTurn(writing, w, r.turns[target])
		r.carrier.note(w, result)
		if r.rewound != "" && !result.skipped {
			d.tellRewound(writing, w, r.rewound)
		}
		d.reconciled(w, why, &result, time.Since(began))
	}
}

// reconciled takes in that a turn has ended.
func (d *daemon) reconciled(w *target.Desired, why reasons, result *TargetResult, took time.Duration) {
	if isOvertaken(result.failure) {
		d.lookAgain(w.Target, why|tryAgain)
		return
	}
	if result.skipped {
		// A newer commit came. Whether that one has to look at the target is for it to say; what else happened is not forgotten.
		if why &^= commitMoved; why != noReason {
			d.queue.add(w.Target, time.Now(), why)
		}
		return
	}
	d.metrics.reconciled(w, result, took)
	d.log.Debug("turn", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "reasons", why.String(), "result", result.Result)
}

// revisit carries one target out by itself, because something happened to it.
func (d *daemon) revisit(of v1alpha1.Target, why reasons, r *rollout) {
	w, a := d.current(of)
	if w == nil {
		return
	}
	ctx, ended := d.tenure.begins(w)
	if ctx == nil {
		return
	}
	defer ended()
	d.mu.Lock()
	at, watches, near, marks := d.desks[of], d.watches[w.Cluster.Server()], d.near, d.marks
	var passed time.Time
	if at != nil {
		passed = at.passed
	}
	d.mu.Unlock()
	switch {
	case why == fieldsMoved && watches != nil && !watches.Differs(of):
		return // it was syncer itself
	case why == statusMoved && d.now().Sub(passed) < statusCalm:
		d.queue.add(of, time.Now().Add(statusCalm-d.now().Sub(passed)), statusMoved)
		return
	}
	began := time.Now()
	turn := d.turns.take(of)
	record, err := w.Cluster.Records().Get(ctx, of)
	if err != nil {
		d.unsettle(of)
		d.retries.note(of, w.Snapshot.Commit, err, d.Config.Source.Interval.Duration)
		d.failed(ctx, fmt.Errorf("%s: %w", of, err))
		return
	}
	if d.overtaken(w.Cluster, record) {
		d.lookAgain(of, why)
		return
	}
	if w.Record = record; w.Overlay == "" && (record == nil || record.Status.RemovedAt != nil) {
		return // it left git, and its objects are gone
	}
	c := d.carrierAmong(a.Only(w, d.planner.Trailers(ctx, []*target.Desired{w})), near)
	c.marks = marks
	c.deadline, c.alone, c.done, c.unwatched = time.Now(), true, d.done, d.unwatched
	if r.ctx.Err() == nil { // one that was stopped before says nothing: the next may be long in coming, as while git is away
		c.newest = r.ctx
	}
	c.options.full = why.has(slowCheck)
	// The limits of a pass were judged with the commit: what they refused has its error.
	result := c.inTurn(ctx, w, turn)
	d.reconciled(w, why, &result, time.Since(began))
}

// lookAgain leaves a target to another syncer for now: the repository is asked, and the target looked at after that.
func (d *daemon) lookAgain(target v1alpha1.Target, why reasons) {
	d.queue.add(target, time.Now().Add(2*wakeInterval), why)
	d.lookSoon()
}

// overtaken reports whether somebody has carried out a commit that this process may not have heard of yet, as `syncer sync`
// beside a daemon does: what the newest known commit says is not to be put back before the repository was asked.
func (d *daemon) overtaken(cluster *apply.Cluster, record *v1alpha1.PipelineSync) bool {
	if record == nil || d.board.knows(record.Spec.Source.Commit) {
		return false
	}
	d.mu.Lock()
	asked := d.lookedAt
	d.mu.Unlock()
	return decidedSince(cluster, record, asked) // else the commit is old, or was rewritten away
}

// unsettle has the next poll look at a target.
func (d *daemon) unsettle(target v1alpha1.Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits.note(target, "", 0)
	if at := d.desks[target]; at != nil {
		at.settled, at.tried = false, nil
	}
}

// current returns a copy of a target of the newest commit, and the commit; nil where there is none.
func (d *daemon) current(target v1alpha1.Target) (*target.Desired, *target.Commit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest == nil {
		return nil, nil
	}
	planned := d.latest.Find(target)
	if planned == nil {
		return nil, nil
	}
	w := *planned
	return &w, d.latest
}
