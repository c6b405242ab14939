package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

// daemon is what `run` knows between two passes.
type daemon struct {
	*Runner
	options SyncOptions
	alarms  *alarms
	wakes   *wakes
	workers sync.WaitGroup

	mu      sync.Mutex
	latest  *agenda // of the newest commit
	whole   time.Time
	lost    bool // the last pass could not see every environment
	desks   map[apply.Target]*desk
	watches map[*apply.Cluster]*apply.Watches
	watch   func(*apply.Cluster) *apply.Watches
}

// desk is what is known of one target.
type desk struct {
	settled  bool // there is nothing to do before something happens
	passed   time.Time
	compared time.Time // when all of its objects were last compared
	work     *work     // of the last pass; nil: it has not come that far
	pins     []v1alpha1.PinnedImage
}

const (
	// calm is the time from a change in the cluster to the look at it: a command often makes more than one.
	calm = 50 * time.Millisecond
	// statusCalm is the least time between two looks that only a status has caused.
	statusCalm = 5 * time.Second
	// compareInterval is how often every object of a target is compared by a dry run, as a safety net below the watches.
	compareInterval = time.Hour
)

func newDaemon(ctx context.Context, r *Runner, options SyncOptions) *daemon {
	d := &daemon{Runner: r, options: options, wakes: newWakes(), desks: map[apply.Target]*desk{}, watches: map[*apply.Cluster]*apply.Watches{}}
	d.alarms = newAlarms(func(target apply.Target) { d.wakes.at(target, time.Now(), wakeAlarm) })
	d.watch = func(cluster *apply.Cluster) *apply.Watches {
		return cluster.NewWatches(ctx, d.notice, func(kind string, err error) {
			r.log.Warn("objects cannot be watched; changes to them are seen at the next poll", "kind", kind, "error", err)
		})
	}
	return d
}

// stop ends what the daemon began, after its context has ended.
func (d *daemon) stop() {
	d.alarms.stop()
	d.workers.Wait()
	for _, watches := range d.watches {
		watches.Wait()
	}
}

// notice takes in that an object changed.
func (d *daemon) notice(n apply.Notice) {
	if n.Status {
		d.wakes.at(n.Target, time.Now().Add(calm), wakeStatus)
		return
	}
	d.wakes.at(n.Target, time.Now().Add(calm), wakeFields)
}

// planned takes in the agenda of a new commit: from now on a target is carried out by it.
func (d *daemon) planned(a *agenda) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest = a
	for target := range d.desks {
		if a.find(target) == nil {
			delete(d.desks, target)
			d.drifts.set(target, nil)
			for _, watches := range d.watches {
				watches.Forget(target)
			}
		}
	}
}

func (d *daemon) passed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole, d.lost = d.now(), err != nil
}

// wantsAll reports whether the next poll looks at every target although there is no new commit.
func (d *daemon) wantsAll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost || d.now().Sub(d.whole) > compareInterval
}

// done takes in how a target fared. It is called while the target's turn lasts.
func (d *daemon) done(ctx context.Context, w *work, result *TargetResult, compared bool) {
	if ctx.Err() != nil || result.skipped {
		return
	}
	d.retries.note(w.target, w.snapshot.Commit, result.failure, d.Config.Source.Interval.Duration)
	d.alarms.set(ctx, w.target, result.until)
	var watches *apply.Watches
	d.mu.Lock()
	at := d.desks[w.target]
	if at == nil {
		at = &desk{compared: d.now()}
		d.desks[w.target] = at
	}
	at.passed, at.settled = d.now(), result.settled
	if compared {
		at.compared = d.now()
	}
	if result.live != nil && w.record != nil {
		at.work, at.pins = w, w.record.Spec.Images
		if result.pins != nil {
			at.pins = result.pins
		}
		server := w.cluster.Server()
		if watches = d.watches[server]; watches == nil {
			watches = d.watch(server)
			d.watches[server] = watches
		}
	}
	d.mu.Unlock()
	if watches != nil {
		watches.Judged(w.cluster, w.target, w.record, result.live)
	}
}

// poll wakes for the targets that have to be looked at although git says nothing new.
func (d *daemon) poll(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest == nil {
		return
	}
	for _, w := range d.latest.works {
		at := d.desks[w.target]
		switch {
		case at != nil && at.settled && w.overlay == "": // removed
		case at == nil || !at.settled || at.work == nil || !d.watches[w.cluster.Server()].Follows(w.target):
			if d.retries.due(w.target, w.snapshot.Commit) {
				d.wakes.at(w.target, d.now(), wakeAlarm)
			}
		case d.now().Sub(at.compared) > compareInterval:
			at.compared = d.now() // asked for
			d.wakes.at(w.target, time.Now().Add(rand.N(d.Config.Source.Interval.Duration)), wakeCompare)
		case d.imagesDue(w):
			d.workers.Go(func() { d.lookAtImages(ctx, at.work, at.pins) })
		}
	}
}

// imagesDue reports whether it is time to ask the registries about a target's images.
func (d *daemon) imagesDue(w *work) bool {
	d.checks.mu.Lock()
	defer d.checks.mu.Unlock()
	last, ok := d.checks.byTarget[w.target]
	if !ok || d.now().Sub(last.at) < w.environment.Images.Interval.Duration {
		return !ok
	}
	last.at = d.now() // asked for
	d.checks.byTarget[w.target] = last
	return true
}

// lookAtImages asks the registries about the images of a target at rest. The API server is asked only where they say
// something new.
func (d *daemon) lookAtImages(ctx context.Context, w *work, pins []v1alpha1.PinnedImage) {
	c := carrier{Runner: d.Runner, lookups: d.newLookups()}
	c.lookups.known = w.credentials
	d.checks.mu.Lock()
	before := d.checks.byTarget[w.target].findings
	d.checks.mu.Unlock()
	news := c.checkImages(ctx, w, pins)
	same := slices.EqualFunc(before, news, func(a, b drift.Finding) bool {
		return a.Kind == b.Kind && a.Object == b.Object && a.Path == b.Path && a.Live == b.Live
	})
	ranges := w.policy() == v1alpha1.Track && len(w.settings.Images.Select) > 0 // a new tag may be the highest
	if ctx.Err() != nil || same && !ranges {
		return
	}
	d.checks.mu.Lock()
	delete(d.checks.byTarget, w.target)
	d.checks.mu.Unlock()
	d.forgetLooks(w.target)
	d.wakes.at(w.target, time.Now(), wakeAlarm)
}

// serve carries out the targets that something happened to, until the context ends.
func (d *daemon) serve(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(targetsAtOnce)
	for {
		target, reason, ok := d.wakes.next(ctx)
		if !ok {
			break
		}
		g.Go(func() error {
			d.wake(ctx, target, reason)
			return nil
		})
	}
	_ = g.Wait() // each target reports for itself
}

// wake carries one target out by itself.
func (d *daemon) wake(ctx context.Context, target apply.Target, reason wakeReason) {
	release := d.turns.take(target)
	defer release()
	w, a := d.current(target)
	if w == nil {
		return
	}
	d.mu.Lock()
	at, watches := d.desks[target], d.watches[w.cluster.Server()]
	var passed time.Time
	if at != nil {
		passed = at.passed
	}
	d.mu.Unlock()
	switch {
	case reason == wakeFields && watches != nil && !watches.Differs(target):
		return // it was syncer itself
	case reason == wakeStatus && d.now().Sub(passed) < statusCalm:
		d.wakes.at(target, time.Now().Add(statusCalm-d.now().Sub(passed)), wakeStatus)
		return
	}
	record, err := w.cluster.Record(ctx, target)
	if err != nil {
		d.unsettle(target)
		d.failed(ctx, err)
		return
	}
	if w.record = record; w.overlay == "" && (record == nil || record.Status.RemovedAt != nil) {
		return // it left git, and its objects are gone
	}
	c := d.carrier(ctx, a)
	c.options, c.deadline, c.alone = d.options, time.Now(), true
	c.options.full = reason == wakeCompare
	// The limits of a pass were judged with the commit: what they refused has its error.
	result := c.target(ctx, w)
	d.done(ctx, w, &result, c.options.full)
}

// unsettle has the next poll look at a target.
func (d *daemon) unsettle(target apply.Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.desks[target]; at != nil {
		at.settled = false
	}
}

// current is a target's work by the newest commit, in an agenda of its own; nil where there is none.
func (d *daemon) current(target apply.Target) (*work, *agenda) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest == nil {
		return nil, nil
	}
	i := slices.IndexFunc(d.latest.works, func(w *work) bool { return w.target == target })
	if i < 0 {
		return nil, nil
	}
	w := *d.latest.works[i]
	others := slices.Concat(d.latest.works[:i:i], d.latest.works[i+1:], d.latest.others)
	return &w, &agenda{works: []*work{&w}, others: others, deployed: d.latest.deployed}
}
