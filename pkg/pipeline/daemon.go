package pipeline

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
)

// daemon decides when a target is reconciled, and whether this replica does it.
type daemon struct {
	*Runner
	options LoopOptions

	queue    *queue
	leases   *leases
	commits  *commits
	wakeUps  *wakeUps
	watching *watching

	workers sync.WaitGroup // reconcile targets
	others  sync.WaitGroup // everything else that runs beside the loop
}

const (
	// debounce is the time from a change in the cluster to the reconcile: a command often makes more than one change.
	debounce = 50 * time.Millisecond
	// minStatusInterval is the least time between two reconciles that only a status has caused.
	minStatusInterval = 5 * time.Second
	// compareInterval is how often every object of a target is compared by a dry run, as a safety net below the watches.
	compareInterval = time.Hour
)

func newDaemon(ctx context.Context, r *Runner, options LoopOptions) *daemon {
	d := &daemon{Runner: r, options: options, commits: &commits{}}
	d.queue = newQueue(targetsAtOnce, d.clusterOf)
	d.wakeUps = &wakeUps{
		states: r.states, failed: d.tellPanic,
		wake: func(of v1alpha1.Target) { d.queue.add(of, time.Now(), waitEnded) },
	}
	d.watching = newWatching(func(cluster *cluster.Cluster) *watch.Watches {
		return watch.NewWatches(ctx, cluster, d.notice, func(kind string, err error) {
			r.tellPanic(v1alpha1.Target{}, err) // it may be of any target that has the kind
			r.log.Warn("objects cannot be watched; changes to them are seen at the next poll", "kind", kind, "error", err)
		})
	})
	d.leases = newLeases(leaseParts{
		config: r.Config, clusters: r.clusters, environments: options.Environments, identity: options.Identity, log: r.log,
		gained: d.renew, lost: d.forgetUnleased, nudged: r.lookSoon,
		changed: func(lease string, held bool, all []string) {
			if lease != "" {
				r.metrics.leads(lease, held)
			}
			r.board.leads(all)
		},
	})
	return d
}

// start starts what runs beside the loop.
func (d *daemon) start(ctx context.Context) {
	d.metrics.runs(d.queue, d.watching.unwatchedKinds)
	d.leases.begin(ctx)
	d.others.Go(func() { d.board.follow(ctx, d) })
	clusters := map[string]bool{}
	for i := range d.Config.Environments {
		clusters[d.clusterOf(v1alpha1.Target{Environment: d.Config.Environments[i].Name})] = true
	}
	for range targetsAtOnce * len(clusters) {
		d.workers.Go(func() { d.work(ctx) })
	}
}

// clusterOf names the cluster of a target, as the configuration has it.
func (d *daemon) clusterOf(of v1alpha1.Target) string {
	for i := range d.Config.Environments {
		if e := &d.Config.Environments[i]; e.Name == of.Environment {
			return e.Cluster.Kubeconfig + "\n" + e.Cluster.Context
		}
	}
	return ""
}

// stop waits for what is being written, after the context has ended. What takes too long is broken off, and the next pass
// finds what it left. Each Lease is given back when nothing is written under it any more.
func (d *daemon) stop() {
	d.leases.retire()
	drain := cmp.Or(d.options.Drain, defaultDrain)
	cut := time.AfterFunc(drain, func() {
		d.log.Warn("targets are still being written; they are broken off", "after", drain)
		d.leases.cut()
	})
	d.workers.Wait()
	cut.Stop()
	d.leases.end()
	d.wakeUps.stop()
	d.others.Wait()
	d.watching.wait()
}

// notice takes in that an object changed.
func (d *daemon) notice(n watch.Notice) {
	why := fieldsChanged
	if n.Status {
		why = statusChanged
	}
	d.queue.add(n.Target, time.Now().Add(debounce), why)
}

// renew requests a rollout to every target.
func (d *daemon) renew() {
	d.commits.renew()
	d.lookSoon()
}

// forget drops all that is known of a target.
func (d *daemon) forget(of v1alpha1.Target) {
	d.queue.forget(of)
	d.states.forget(of)
	d.underway.arrived(of)
	d.watching.forget(of)
	d.pins.Checks.Forget(of)
}

// forgetGone forgets the targets that a commit does not have any more. Of a target whose environment cannot be read now, the
// back-off stays.
func (d *daemon) forgetGone(commit *target.Commit) {
	there := targetsOf(commit.All())
	for _, of := range d.states.targets() {
		switch {
		case there[of]:
		case slices.Contains(commit.Unread, of.Environment):
			d.states.change(of, (*state).reset)
			d.underway.arrived(of)
			d.watching.forget(of)
		default:
			d.forget(of)
		}
	}
}

// forgetUnleased forgets the targets whose Lease this process does not hold any more.
func (d *daemon) forgetUnleased() {
	commit := d.commits.planned().commit
	if commit == nil {
		return
	}
	held := targetsOf(d.leases.own(commit.All()))
	for _, of := range d.states.targets() {
		if !held[of] {
			d.forget(of)
		}
	}
}

func targetsOf(all []*target.Desired) map[v1alpha1.Target]bool {
	out := map[v1alpha1.Target]bool{}
	for _, w := range all {
		out[w.Target] = true
	}
	return out
}

// forgetUnknown forgets a target that is not this process's to reconcile. It is called after each work on a target, which
// may have ended after the target was forgotten.
func (d *daemon) forgetUnknown(of v1alpha1.Target) {
	commit := d.commits.planned().commit
	if commit == nil {
		return // nothing is known to be gone
	}
	w := commit.Find(of)
	if w == nil && !slices.Contains(commit.Unread, of.Environment) || w != nil && !d.leases.has(w) {
		d.forget(of)
	}
}
