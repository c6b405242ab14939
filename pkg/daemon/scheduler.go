package daemon

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/leases"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
)

// scheduler decides when a target is reconciled, and whether this replica does it. It lives as long as Run.
type scheduler struct {
	daemon *Daemon

	queue    *queue
	leases   *leases.Leases
	commits  *commits
	wakeUps  *wakeUps
	watching *watching
	images   *imageChecks

	memory  *time.Timer    // returns memory to the system when nothing was reconciled for memoryPause
	workers sync.WaitGroup // reconcile targets
	others  sync.WaitGroup // everything else that runs beside the loop
}

const (
	// targetsAtOnce is how many targets of a cluster are reconciled at the same time.
	targetsAtOnce = 8
	// defaultDrain is how long targets that are being reconciled may take to end after the daemon was told to stop.
	defaultDrain = 30 * time.Second
	// debounce is the time from a change in the cluster to the reconcile: a command often makes more than one change.
	debounce = 50 * time.Millisecond
	// minStatusInterval is the least time between two reconciles that only a status has caused.
	minStatusInterval = 5 * time.Second
	// renderPatience is how long the targets of a commit wait for overlays that take longer to render than their own.
	renderPatience = 500 * time.Millisecond
	// memoryPause is the time after the last reconcile at which memory is returned to the system. The Go runtime keeps twice the
	// memory in use, and returns it over minutes: at a thousand targets 30 of 185 MB.
	memoryPause = 5 * time.Second
	// latePause is how long an overlay that was late waits for the end of the rollout without it, which may hang in a target.
	latePause = 2 * time.Second
	// compareInterval is how often every object of a target is compared by a dry run, as a safety net below the watches.
	compareInterval = time.Hour
	// firstCompare is the least time from the first reconcile of a target after a start to the first comparison of that sort.
	firstCompare = 10 * time.Minute
)

func newScheduler(ctx context.Context, d *Daemon) *scheduler {
	s := &scheduler{daemon: d, commits: &commits{}, memory: time.AfterFunc(memoryPause, debug.FreeOSMemory)}
	s.memory.Stop() // until something was reconciled
	config, log, guard := d.parts.Config, d.parts.Log, d.parts.Reconciler.Guard
	clusters := clustersOf(config)
	s.queue = newQueue(func(of v1alpha1.Target) string { return clusters[of.Environment] })
	s.watching = newWatching(func(server *cluster.Cluster) *watch.Watches {
		return watch.NewWatches(ctx, server, s.notice, func(kind string, err error) {
			guard.Report(v1alpha1.Target{}, err) // it may be of any target that has the kind
			log.Warn("objects cannot be watched; changes to them are seen at the next poll", "kind", kind, "error", err)
		})
	})
	s.wakeUps = &wakeUps{
		states: d.states, failed: guard.Report, await: s.watching.await,
		wake: func(of v1alpha1.Target) { s.queue.add(of, time.Now(), waitEnded) },
	}
	s.images = newImageChecks(s.checkImages)
	s.leases = leases.New(leases.Parts{
		Config: config, Clusters: d.parts.Clusters, Environments: d.options.Environments, Identity: d.options.Identity, Log: log,
		Gained: s.renew, Lost: s.forgetUnleased, Nudged: d.pollSoon,
		Changed: func(lease string, held bool, all []string) {
			if lease != "" {
				d.parts.Metrics.leads(lease, held)
			}
			d.publisher.Leads(all)
		},
	})
	return s
}

// start starts what runs beside the loop.
func (s *scheduler) start(ctx context.Context) {
	d := s.daemon
	d.parts.Planner.Renderings.Patience, d.parts.Planner.Renderings.Late = renderPatience, s.isRendered
	d.parts.Metrics.runs(&gauges{queue: s.queue, watching: s.watching, states: d.states})
	s.leases.Begin(ctx)
	s.others.Go(func() { d.publisher.Run(ctx, s.recordsChanged) })
	s.others.Go(func() { s.images.run(ctx) })
	w := newWorker(s)
	served := map[string]bool{}
	for _, cluster := range clustersOf(d.parts.Config) {
		if !served[cluster] {
			served[cluster] = true
			s.workers.Go(func() { w.serve(ctx, cluster, targetsAtOnce) })
		}
	}
}

// clustersOf names the cluster of each environment, as the configuration has it.
func clustersOf(config *v1alpha1.Config) map[string]string {
	out := make(map[string]string, len(config.Environments))
	for i := range config.Environments {
		e := &config.Environments[i]
		out[e.Name] = e.Cluster.Kubeconfig + "\n" + e.Cluster.Context
	}
	return out
}

// stop waits for what is being written, after the context has ended. What takes too long is broken off, and the next pass
// finds what it left. Each Lease is given back when nothing is written under it any more.
func (s *scheduler) stop() {
	s.leases.Retire()
	drain := cmp.Or(s.daemon.options.Drain, defaultDrain)
	cut := time.AfterFunc(drain, func() {
		s.daemon.parts.Log.Warn("targets are still being written; they are broken off", "after", drain)
		s.leases.Cut()
	})
	s.workers.Wait()
	cut.Stop()
	s.leases.End()
	s.wakeUps.stop()
	s.others.Wait()
	s.daemon.parts.Planner.Renderings.Stop()
	s.watching.wait()
	s.memory.Stop()
}

// recordsChanged handles what a watch of records shows: the targets whose record changed, and whether the records of the
// environments could not be read before.
func (s *scheduler) recordsChanged(environments []string, changed map[v1alpha1.Target]bool, readable bool) {
	if readable {
		s.commits.isReadable(environments)
		s.complete()
	}
	s.wakeDependents(changed)
}

// notice queues a target one of whose objects changed.
func (s *scheduler) notice(n watch.Notice) {
	why := fieldsChanged
	if n.Status {
		why = statusChanged
	}
	s.queue.add(n.Target, time.Now().Add(debounce), why)
}

// isRendered requests a rollout to the targets whose overlay took long to render.
func (s *scheduler) isRendered() {
	s.commits.isRendered()
	s.daemon.pollSoon()
	time.AfterFunc(latePause, s.daemon.pollSoon)
}

// renew requests a rollout to every target.
func (s *scheduler) renew() {
	s.commits.renew()
	s.daemon.pollSoon()
}

// retryLater has a poll reconcile a target again that failed, when its back-off has ended.
func (s *scheduler) retryLater(w *target.Desired, failure error) {
	s.daemon.states.change(w.Target, func(of *state) {
		of.makeDue()
		of.failures.note(w.Snapshot.Commit, failure, s.daemon.parts.Config.Source.Interval.Duration)
	})
}

// yield leaves a target to another syncer for now: the repository is asked, and the target reconciled after that.
func (s *scheduler) yield(of v1alpha1.Target, why reasons) {
	s.queue.add(of, time.Now().Add(2*minPollInterval), why)
	s.daemon.pollSoon()
}

// forget drops all that is known of a target.
func (s *scheduler) forget(of v1alpha1.Target) {
	s.queue.forget(of)
	s.daemon.states.forget(of)
	s.daemon.tracker.Forget(of)
	s.watching.forget(of)
	s.daemon.parts.Reconciler.Pins.Checks.Forget(of)
}

// forgetGone forgets the targets that a commit does not have any more. Of a target whose environment cannot be read now, the
// back-off stays.
func (s *scheduler) forgetGone(commit *target.Commit) {
	for _, of := range s.daemon.states.targets() {
		switch {
		case commit.Find(of) != nil:
		case slices.Contains(commit.Unread, of.Environment):
			s.daemon.states.change(of, (*state).reset)
			s.daemon.tracker.Forget(of)
			s.watching.forget(of)
		default:
			s.forget(of)
		}
	}
}

// forgetUnleased forgets the targets whose Lease this process does not hold any more.
func (s *scheduler) forgetUnleased() {
	commit := s.commits.planned().commit
	if commit == nil {
		return
	}
	held := targetsOf(s.leases.Own(commit.All()))
	for _, of := range s.daemon.states.targets() {
		if !held[of] {
			s.forget(of)
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
func (s *scheduler) forgetUnknown(of v1alpha1.Target) {
	commit := s.commits.planned().commit
	if commit == nil {
		return // nothing is known to be gone
	}
	w := commit.Find(of)
	if w == nil && !slices.Contains(commit.Unread, of.Environment) || w != nil && !s.leases.Has(w) {
		s.forget(of)
	}
}
