package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/election"
	"github.com/syncerdev/syncer/pkg/target"
)

// leases say which targets this process may write: the targets of the shards whose Lease it holds. A Lease is in the
// cluster that it protects, so that no cluster depends on another one. Replicas that know of each other share the shards
// evenly.
type leases struct {
	parts leaseParts
	ctx   context.Context // of every write; it outlives the loop's, so that a write that began may end
	stop  context.CancelFunc

	running sync.WaitGroup // elections, and the exchange with other replicas

	mu       sync.Mutex
	byShard  map[shard]*lease
	ended    bool // it takes part in no election any more
	replicas map[*cluster.Cluster]*replicas
}

// leaseParts are what leases work with.
type leaseParts struct {
	config       *v1alpha1.Config
	clusters     *target.Clusters
	environments []string // that were selected; empty: all
	identity     string
	log          *slog.Logger

	changed func(lease string, held bool, all []string) // a Lease came or went; called under the lock
	gained  func()                                      // a Lease came
	lost    func()                                      // a Lease went
	nudged  func()                                      // another replica wants the repository to be polled
}

// lease is this process's part in the election for one shard.
type lease struct {
	shard   shard
	holding context.Context // nil: another process holds it
	known   chan struct{}   // closed when the holder is known
	writing sync.WaitGroup  // reconciles that are under way
	giveUp  context.CancelFunc
	leaving bool // no reconcile begins any more, because another replica is to have the Lease
}

// replicas are those of one cluster that live, sorted; nil: not known.
type replicas struct{ present []string }

// leaseNews is how long the first poll of the repository waits to know who holds the Leases. A later answer is as good,
// and costs twice the work.
const leaseNews = 2 * time.Second

func newLeases(parts leaseParts) *leases {
	return &leases{parts: parts, byShard: map[shard]*lease{}, replicas: map[*cluster.Cluster]*replicas{}}
}

func (l *leases) elects() bool { return *l.parts.config.LeaderElection }

// begin takes part in the elections of every environment whose cluster can be reached. The others follow when they are
// first seen.
func (l *leases) begin(ctx context.Context) {
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !l.elects() {
		l.parts.changed("", false, l.held())
		return
	}
	environments, err := l.parts.config.Select(l.parts.environments)
	if err != nil {
		return // the loop has checked it
	}
	var all []*lease
	for _, environment := range environments {
		cluster, err := l.parts.clusters.Of(environment)
		if err != nil {
			continue // the first plan says so
		}
		for _, s := range shardsOf(l.parts.config, cluster.Server(), environment) {
			all = append(all, l.of(s))
		}
	}
	enough := time.After(leaseNews)
	for _, held := range all {
		select {
		case <-held.known:
		case <-enough:
			return
		case <-ctx.Done():
			return
		}
	}
}

// begins returns the context of a reconcile that writes a target, and a function that ends it; nil where the target is
// another process's.
func (l *leases) begins(w *target.Desired) (context.Context, func()) {
	if !l.elects() {
		return l.ctx, func() {}
	}
	of := l.of(shardOf(l.parts.config, w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	l.mu.Lock()
	defer l.mu.Unlock()
	if !of.isHeld() {
		return nil, nil
	}
	of.writing.Add(1)
	return of.holding, of.writing.Done
}

// has reports whether a target is this process's to write.
func (l *leases) has(w *target.Desired) bool {
	if !l.elects() {
		return true
	}
	of := l.of(shardOf(l.parts.config, w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	l.mu.Lock()
	defer l.mu.Unlock()
	return of.isHeld()
}

// isHeld reports whether a reconcile may begin. The caller holds the lock of the leases.
func (l *lease) isHeld() bool { return l.holding != nil && l.holding.Err() == nil && !l.leaving }

// own are the targets that this process may write.
func (l *leases) own(all []*target.Desired) []*target.Desired {
	return slices.DeleteFunc(slices.Clone(all), func(w *target.Desired) bool { return !l.has(w) })
}

// of returns the lease of a shard. Its election begins with the first call.
func (l *leases) of(s shard) *lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.byShard[s]; known != nil || l.ended {
		return cmp.Or(known, &lease{})
	}
	of := &lease{shard: s, known: make(chan struct{})}
	l.byShard[s] = of
	if l.parts.config.Shards.By != "" && l.replicas[s.server] == nil {
		l.replicas[s.server] = &replicas{}
		l.running.Go(func() { l.attend(s.server) })
	}
	l.running.Go(func() { l.elect(of) })
	return of
}

// elect takes part in an election until the end, and again after another replica got the Lease from this one.
func (l *leases) elect(of *lease) {
	log := l.parts.log.With("lease", of.shard.lease, "identity", l.parts.identity)
	failed := func(err error) { log.Error("taking part in the election", "error", err) }
	candidate := election.Candidate{
		Identity: l.parts.identity,
		Leads: func(ctx context.Context) {
			log.Info("leading")
			l.take(of, ctx)
		},
		Leader: func(identity string) {
			if identity != l.parts.identity { // take says so of this one, when the context is there
				log.Info("another replica leads; standing by", "leader", identity)
				l.know(of)
			}
		},
		Lost:   func() { l.lose(of) },
		Yields: func() bool { return !l.isMeant(of.shard) },
		Nudged: l.parts.nudged,
		Failed: failed,
	}
	for {
		ctx, giveUp := context.WithCancel(l.ctx)
		l.mu.Lock()
		ended := l.ended
		if !ended {
			of.giveUp, of.leaving = giveUp, false
		}
		l.mu.Unlock()
		if ended {
			giveUp()
			return
		}
		err := election.Elect(ctx, of.shard.server, of.shard.lease, candidate)
		giveUp()
		if err != nil { // it did not even begin, and another try fails as well
			failed(err)
			return
		}
	}
}

// know notes that the holder is known.
func (l *leases) know(of *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-of.known:
	default:
		close(of.known)
	}
}

// take begins the work on a shard. All of its targets are reconciled: what happened before is not known.
func (l *leases) take(of *lease, ctx context.Context) {
	l.mu.Lock()
	if ctx.Err() != nil { // it is lost already, and lose may have been called before
		l.mu.Unlock()
		return
	}
	of.holding = ctx
	l.parts.changed(of.shard.lease, true, l.held())
	l.mu.Unlock()
	l.know(of)
	l.parts.gained()
	l.share()
}

// lose ends the work on a shard.
func (l *leases) lose(of *lease) {
	l.mu.Lock()
	held := of.holding != nil
	of.holding = nil
	if held {
		l.parts.changed(of.shard.lease, false, l.held())
	}
	l.mu.Unlock()
	if !held {
		return
	}
	l.parts.log.Info("not leading any more", "lease", of.shard.lease, "identity", l.parts.identity)
	l.parts.lost()
}

// attend lets this process and the other replicas of a cluster know of each other.
func (l *leases) attend(server *cluster.Cluster) {
	failed := func(err error) { l.parts.log.Error("sharing the work with other replicas", "error", err) }
	err := election.Attend(l.ctx, server, l.parts.config.Name, l.parts.identity, func(present []string) {
		l.parts.log.Info("replicas", "present", present)
		l.mu.Lock()
		l.replicas[server] = &replicas{present: present}
		l.mu.Unlock()
		l.share()
	}, failed)
	if err != nil {
		failed(err)
	}
}

// isMeant reports whether a shard is for this process, as far as it knows of other replicas.
func (l *leases) isMeant(s shard) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meant(s)
}

// meant is isMeant under the lock. Shards go round among the replicas in the order of their names.
func (l *leases) meant(s shard) bool {
	var present []string
	if of := l.replicas[s.server]; of != nil {
		present = of.present
	}
	return l.parts.config.Shards.By == "" || len(present) == 0 || present[s.index%len(present)] == l.parts.identity
}

// share gives away the Leases that are meant for other replicas, as soon as nothing is written under them.
func (l *leases) share() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, of := range l.byShard {
		if l.ended || of.holding == nil || of.leaving || l.meant(s) {
			continue
		}
		l.parts.log.Info("giving the Lease to another replica", "lease", s.lease)
		l.leave(of)
	}
}

// leave gives a Lease up when nothing is written under it any more. The caller holds the lock.
func (l *leases) leave(of *lease) {
	of.leaving = true
	giveUp := of.giveUp
	l.running.Go(func() {
		of.writing.Wait()
		giveUp()
	})
}

// retire takes no Lease any more, since this process does no work any more. It gives back each Lease that is held as soon
// as nothing is written under it: one cluster does not wait for another.
func (l *leases) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, of := range l.byShard {
		if !of.leaving && of.giveUp != nil { // without, its election has not begun, and does not any more
			l.leave(of)
		}
	}
}

// nudge asks the replicas that hold the other Leases to poll the repository.
func (l *leases) nudge(ctx context.Context) {
	l.mu.Lock()
	var others []shard
	for s, of := range l.byShard {
		if of.holding == nil {
			others = append(others, s)
		}
	}
	l.mu.Unlock()
	for _, s := range others {
		if err := election.Nudge(ctx, s.server, s.lease); err != nil && ctx.Err() == nil {
			l.parts.log.Warn("another replica sees the commit at its next poll", "error", err)
		}
	}
}

// held lists the Leases that this process holds, sorted. The caller holds the lock.
func (l *leases) held() []string {
	if !l.elects() {
		return []string{"all"}
	}
	out := []string{}
	for s, of := range l.byShard {
		if of.holding != nil {
			out = append(out, s.lease)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cut breaks off what is being written.
func (l *leases) cut() { l.stop() }

// end waits until the Leases are given back.
func (l *leases) end() {
	l.stop()
	l.running.Wait()
}
