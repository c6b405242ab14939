// Package leases says which targets a process may write: it takes part in the elections for Leases, and shares shards with other
// replicas. It reconciles nothing.
package leases

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
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// Leases says which targets this process may write: the targets of the shards whose Lease it holds. A Lease is in the
// cluster that it protects, so that no cluster depends on another one. Replicas that know of each other share the shards
// evenly.
type Leases struct {
	parts Parts
	ctx   context.Context // of every write; it outlives the loop's, so that a write that began may end
	stop  context.CancelFunc

	running sync.WaitGroup // elections, and the exchange with other replicas

	mu       sync.Mutex
	ByShard  map[shard]*Lease
	ended    bool // it takes part in no election any more
	replicas map[*cluster.Cluster]*replicas
}

// Parts are what Leases works with.
type Parts struct {
	Config       *v1alpha1.Config
	Clusters     *target.Clusters
	Environments []string // that were selected; empty: all
	Identity     string
	Log          *slog.Logger

	Changed func(lease string, held bool, all []string) // a Lease came or went; called under the lock
	Gained  func()                                      // a Lease came
	Lost    func()                                      // a Lease went
	Nudged  func()                                      // another replica wants the repository to be polled
}

// Lease is the part of this process in the election for one shard.
type Lease struct {
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

// New returns leases that take part in no election before Begin.
func New(parts Parts) *Leases {
	return &Leases{parts: parts, ByShard: map[shard]*Lease{}, replicas: map[*cluster.Cluster]*replicas{}}
}

func (l *Leases) elects() bool { return *l.parts.Config.LeaderElection }

// Begin takes part in the elections of every environment whose cluster can be reached. The others follow when they are
// first seen.
func (l *Leases) Begin(ctx context.Context) {
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !l.elects() {
		l.parts.Changed("", false, l.held())
		return
	}
	environments, err := l.parts.Config.Select(l.parts.Environments)
	if err != nil {
		return // the loop has checked it
	}
	var all []*Lease
	for _, environment := range environments {
		connection, err := l.parts.Clusters.Of(environment)
		if err != nil {
			continue // the first plan says so
		}
		for _, s := range shardsOf(l.parts.Config, connection.Server(), environment) {
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

// Begins returns the context of a reconcile that writes a target, and a function that ends it; nil where the target is
// another process's.
func (l *Leases) Begins(w *target.Desired) (context.Context, func()) {
	if !l.elects() {
		return l.ctx, func() {}
	}
	of := l.of(ShardOf(l.parts.Config, w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	l.mu.Lock()
	defer l.mu.Unlock()
	if !of.isHeld() {
		return nil, nil
	}
	of.writing.Add(1)
	return of.holding, of.writing.Done
}

// Has reports whether a target is this process's to write.
func (l *Leases) Has(w *target.Desired) bool {
	if !l.elects() {
		return true
	}
	of := l.of(ShardOf(l.parts.Config, w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	l.mu.Lock()
	defer l.mu.Unlock()
	return of.isHeld()
}

// isHeld reports whether a reconcile may begin. The caller holds the lock of the leases.
func (l *Lease) isHeld() bool { return l.holding != nil && l.holding.Err() == nil && !l.leaving }

// Own returns the targets that this process may write.
func (l *Leases) Own(all []*target.Desired) []*target.Desired {
	return slices.DeleteFunc(slices.Clone(all), func(w *target.Desired) bool { return !l.Has(w) })
}

// of returns the lease of a shard. Its election begins with the first call.
func (l *Leases) of(s shard) *Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.ByShard[s]; known != nil || l.ended {
		return cmp.Or(known, &Lease{})
	}
	of := &Lease{shard: s, known: make(chan struct{})}
	l.ByShard[s] = of
	if l.parts.Config.Shards.By != "" && l.replicas[s.server] == nil {
		l.replicas[s.server] = &replicas{}
		l.running.Go(func() { l.attend(s.server) })
	}
	l.running.Go(func() { l.elect(of) })
	return of
}

// elect takes part in an election until the end, and again after another replica got the Lease from this one.
func (l *Leases) elect(of *Lease) {
	log := l.parts.Log.With("lease", of.shard.lease, "identity", l.parts.Identity)
	failed := func(err error) { log.Error("taking part in the election", "error", err) }
	candidate := election.Candidate{
		Identity: l.parts.Identity,
		Leads: func(ctx context.Context) {
			log.Info("leading")
			l.gain(of, ctx)
		},
		Leader: func(identity string) {
			if identity != l.parts.Identity { // gain says so of this one, when the context is there
				log.Info("another replica leads; standing by", "leader", identity)
				l.knowHolder(of)
			}
		},
		Lost:   func() { l.lose(of) },
		Yields: func() bool { return !l.isMeant(of.shard) },
		Nudged: l.parts.Nudged,
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

// knowHolder notes that the holder is known.
func (l *Leases) knowHolder(of *Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-of.known:
	default:
		close(of.known)
	}
}

// gain begins the work on a shard. All of its targets are reconciled: what happened before is not known.
func (l *Leases) gain(of *Lease, ctx context.Context) {
	l.mu.Lock()
	if ctx.Err() != nil { // it is lost already, and lose may have been called before
		l.mu.Unlock()
		return
	}
	of.holding = ctx
	l.parts.Changed(of.shard.lease, true, l.held())
	l.mu.Unlock()
	l.knowHolder(of)
	l.parts.Gained()
	l.share()
}

// lose ends the work on a shard.
func (l *Leases) lose(of *Lease) {
	l.mu.Lock()
	held := of.holding != nil
	of.holding = nil
	if held {
		l.parts.Changed(of.shard.lease, false, l.held())
	}
	l.mu.Unlock()
	if !held {
		return
	}
	l.parts.Log.Info("not leading any more", "lease", of.shard.lease, "identity", l.parts.Identity)
	l.parts.Lost()
}

// attend lets this process and the other replicas of a cluster know of each other.
func (l *Leases) attend(server *cluster.Cluster) {
	failed := func(err error) { l.parts.Log.Error("sharing the work with other replicas", "error", err) }
	err := election.Attend(l.ctx, server, l.parts.Config.Name, l.parts.Identity, func(present []string) {
		l.parts.Log.Info("replicas", "present", present)
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
func (l *Leases) isMeant(s shard) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isMeantLocked(s)
}

// isMeantLocked is isMeant under the lock. Shards go round among the replicas in the order of their names.
func (l *Leases) isMeantLocked(s shard) bool {
	var present []string
	if of := l.replicas[s.server]; of != nil {
		present = of.present
	}
	return l.parts.Config.Shards.By == "" || len(present) == 0 || present[s.index%len(present)] == l.parts.Identity
}

// share gives away the Leases that are meant for other replicas, as soon as nothing is written under them.
func (l *Leases) share() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, of := range l.ByShard {
		if l.ended || of.holding == nil || of.leaving || l.isMeantLocked(s) {
			continue
		}
		l.parts.Log.Info("giving the Lease to another replica", "lease", s.lease)
		l.release(of)
	}
}

// release gives a Lease up when nothing is written under it any more. The caller holds the lock.
func (l *Leases) release(of *Lease) {
	of.leaving = true
	giveUp := of.giveUp
	l.running.Go(func() {
		of.writing.Wait()
		giveUp()
	})
}

// Retire takes no Lease any more, since this process does no work any more. It gives back each Lease that is held as soon
// as nothing is written under it: one cluster does not wait for another.
func (l *Leases) Retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, of := range l.ByShard {
		if !of.leaving && of.giveUp != nil { // without, its election has not begun, and does not any more
			l.release(of)
		}
	}
}

// Nudge asks the replicas that hold the other Leases to poll the repository.
func (l *Leases) Nudge(ctx context.Context) {
	l.mu.Lock()
	var others []shard
	for s, of := range l.ByShard {
		if of.holding == nil {
			others = append(others, s)
		}
	}
	l.mu.Unlock()
	var g panics.Group
	g.SetLimit(nudgesAtOnce)
	for _, s := range others {
		g.Go(func() error {
			if err := election.Nudge(ctx, s.server, s.lease); err != nil && ctx.Err() == nil {
				l.parts.Log.Warn("another replica sees the commit at its next poll", "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // each has logged its own error
}

// nudgesAtOnce is how many replicas are asked at a time, so that one silent cluster does not hold up the others.
const nudgesAtOnce = 32

// held lists the Leases that this process holds, sorted. The caller holds the lock.
func (l *Leases) held() []string {
	if !l.elects() {
		return []string{"all"}
	}
	out := []string{}
	for s, of := range l.ByShard {
		if of.holding != nil {
			out = append(out, s.lease)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Cut breaks off what is being written.
func (l *Leases) Cut() { l.stop() }

// End waits until the Leases are given back.
func (l *Leases) End() {
	l.stop()
	l.running.Wait()
}
