package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/target"
)

// tenure says which targets this process may write: those whose Lease it holds. A Lease is in the cluster that it
// protects, so that no cluster depends on another one. Where the work is split into shards, each shard has a Lease, and
// the replicas that know of each other share them evenly.
type tenure struct {
	daemon   *daemon
	identity string
	elects   bool
	shards   v1alpha1.Shards

	ctx  context.Context // of every write; it outlives the loop's, so that what was begun may end
	stop context.CancelFunc

	running sync.WaitGroup // elections, and what keeps replicas knowing of each other

	mu       sync.Mutex
	seats    map[part]*seat
	ended    bool // it takes part in no election any more
	attended map[*apply.Cluster]bool
	present  map[*apply.Cluster][]string // the replicas that live, as a cluster has them; nil: not known
}

// part is what one Lease is about.
type part struct {
	server *apply.Cluster
	lease  string
	index  int // among the shards
}

// seat is this process's place in one election.
type seat struct {
	part    part
	leads   context.Context // nil: another process does
	known   chan struct{}   // closed when it is known who leads
	writing sync.WaitGroup  // turns that are under way
	giveUp  context.CancelFunc
	leaving bool // no turn begins any more, because another replica is to have the Lease
}

// leaseNews is how long the first look at the repository waits to know who leads; later is as good, and twice the work.
const leaseNews = 2 * time.Second

func newTenure(d *daemon) *tenure {
	return &tenure{
		daemon: d, identity: d.options.Identity, elects: *d.Config.LeaderElection, shards: d.Config.Shards,
		seats: map[part]*seat{}, attended: map[*apply.Cluster]bool{}, present: map[*apply.Cluster][]string{},
	}
}

// begin takes part in the elections of every environment whose cluster can be reached; the others follow when they are
// first seen.
func (t *tenure) begin(ctx context.Context) {
	t.ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !t.elects {
		t.daemon.board.leads(t.held())
		return
	}
	environments, err := t.daemon.Config.Select(t.daemon.options.Environments)
	if err != nil {
		return // Loop has looked
	}
	var seats []*seat
	for _, environment := range environments {
		cluster, err := t.daemon.clusters.Of(environment)
		if err != nil {
			continue // the first plan says so
		}
		for _, p := range t.parts(cluster.Server(), environment) {
			seats = append(seats, t.seat(p))
		}
	}
	enough := time.After(leaseNews)
	for _, s := range seats {
		select {
		case <-s.known:
		case <-enough:
			return
		case <-ctx.Done():
			return
		}
	}
}

// parts are those of an environment.
func (t *tenure) parts(server *apply.Cluster, environment *v1alpha1.Environment) []part {
	if t.shards.By != v1alpha1.ByPipeline {
		return []part{t.part(server, environment, "")}
	}
	all := make([]part, t.shards.Count)
	for i := range all {
		all[i] = t.shard(server, i)
	}
	return all
}

// part is the one that a target belongs to.
func (t *tenure) part(server *apply.Cluster, environment *v1alpha1.Environment, pipeline string) part {
	name := "syncer-" + t.daemon.Config.Name
	switch t.shards.By {
	case v1alpha1.ByEnvironment:
		index := slices.IndexFunc(t.daemon.Config.Environments, func(e v1alpha1.Environment) bool { return e.Name == environment.Name })
		return part{server, name + "." + environment.Name, index} // a configuration's name has no dot
	case v1alpha1.ByPipeline:
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(pipeline)) // never fails
		return t.shard(server, int(hash.Sum32()%uint32(t.shards.Count)))
	}
	return part{server, name, 0}
}

func (t *tenure) shard(server *apply.Cluster, i int) part {
	return part{server, fmt.Sprintf("syncer-%s.%d-of-%d", t.daemon.Config.Name, i+1, t.shards.Count), i}
}

// begins is the context of a turn that writes a target, and what ends it; nil where the target is another process's.
func (t *tenure) begins(w *target.Desired) (context.Context, func()) {
	if !t.elects {
		return t.ctx, func() {}
	}
	s := t.seat(t.part(w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.holds() {
		return nil, nil
	}
	s.writing.Add(1)
	return s.leads, s.writing.Done
}

// has reports whether a target is this process's to write.
func (t *tenure) has(w *target.Desired) bool {
	if !t.elects {
		return true
	}
	s := t.seat(t.part(w.Cluster.Server(), w.Environment, w.Target.Pipeline))
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.holds()
}

// holds reports whether a turn may begin. The caller holds the tenure's lock.
func (s *seat) holds() bool { return s.leads != nil && s.leads.Err() == nil && !s.leaving }

// own are the works that this process may write.
func (t *tenure) own(works []*target.Desired) []*target.Desired {
	return slices.DeleteFunc(slices.Clone(works), func(w *target.Desired) bool { return !t.has(w) })
}

// seat is the place in an election, which begins when it is first asked for.
func (t *tenure) seat(p part) *seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.seats[p]; s != nil || t.ended {
		return cmp.Or(s, &seat{})
	}
	s := &seat{part: p, known: make(chan struct{})}
	t.seats[p] = s
	if t.shards.By != "" && !t.attended[p.server] {
		t.attended[p.server] = true
		t.running.Go(func() { t.attend(p.server) })
	}
	t.running.Go(func() { t.stand(s) })
	return s
}

// stand takes part in an election until the end, and again after it gave the Lease to another replica.
func (t *tenure) stand(s *seat) {
	log := t.daemon.log.With("lease", s.part.lease, "identity", t.identity)
	failed := func(err error) { log.Error("taking part in the election", "error", err) }
	candidate := apply.Candidate{
		Identity: t.identity,
		Leads: func(ctx context.Context) {
			log.Info("leading")
			t.take(s, ctx)
		},
		Leader: func(identity string) {
			if identity != t.identity { // take says so of this one, when the context is there
				log.Info("another replica leads; standing by", "leader", identity)
				t.tell(s)
			}
		},
		Lost:   func() { t.lose(s) },
		Yields: func() bool { return !t.meantFor(s.part) },
		Nudged: t.daemon.lookSoon,
		Failed: failed,
	}
	for {
		ctx, giveUp := context.WithCancel(t.ctx)
		t.mu.Lock()
		ended := t.ended
		if !ended {
			s.giveUp, s.leaving = giveUp, false
		}
		t.mu.Unlock()
		if ended {
			giveUp()
			return
		}
		err := apply.Elect(ctx, s.part.server, s.part.lease, candidate)
		giveUp()
		if err != nil { // it could not even begin, and will not fare better
			failed(err)
			return
		}
	}
}

// tell says that it is known who leads.
func (t *tenure) tell(s *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-s.known:
	default:
		close(s.known)
	}
}

// take begins the work on a part: everything is looked at, since nobody knows what happened before.
func (t *tenure) take(s *seat, ctx context.Context) {
	t.mu.Lock()
	if ctx.Err() != nil { // it is lost already, and lose may have been told of that before
		t.mu.Unlock()
		return
	}
	s.leads = ctx
	t.daemon.metrics.leads(s.part.lease, true)
	t.daemon.board.leads(t.held())
	t.mu.Unlock()
	t.tell(s)
	t.daemon.renew()
	t.share()
}

// lose ends it.
func (t *tenure) lose(s *seat) {
	t.mu.Lock()
	led := s.leads != nil
	s.leads = nil
	if led {
		t.daemon.metrics.leads(s.part.lease, false)
		t.daemon.board.leads(t.held())
	}
	t.mu.Unlock()
	if !led {
		return
	}
	t.daemon.log.Info("not leading any more", "lease", s.part.lease, "identity", t.identity)
	t.daemon.leaveUnled()
}

// attend has this process and the other replicas know of each other.
func (t *tenure) attend(server *apply.Cluster) {
	err := apply.Attend(t.ctx, server, t.daemon.Config.Name, t.identity, func(present []string) {
		t.daemon.log.Info("replicas", "present", present)
		t.mu.Lock()
		t.present[server] = present
		t.mu.Unlock()
		t.share()
	}, func(err error) { t.daemon.log.Error("sharing the work with other replicas", "error", err) })
	if err != nil {
		t.daemon.log.Error("sharing the work with other replicas", "error", err)
	}
}

// meantFor reports whether a part is for this process, as far as it knows of other replicas.
func (t *tenure) meantFor(p part) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meant(p)
}

// meant is meantFor under the lock. Shards go round among the replicas in the order of their names.
func (t *tenure) meant(p part) bool {
	present := t.present[p.server]
	return t.shards.By == "" || len(present) == 0 || present[p.index%len(present)] == t.identity
}

// share gives away the Leases that are meant for other replicas: what is being written is written first.
func (t *tenure) share() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, s := range t.seats {
		if t.ended || s.leads == nil || s.leaving || t.meant(p) {
			continue
		}
		t.daemon.log.Info("giving the Lease to another replica", "lease", p.lease)
		t.leave(s)
	}
}

// leave gives a seat up when what is being written there is written. The caller holds the lock.
func (t *tenure) leave(s *seat) {
	s.leaving = true
	giveUp := s.giveUp
	t.running.Go(func() {
		s.writing.Wait()
		giveUp()
	})
}

// retire takes no Lease any more, since nobody would do the work, and gives back each that is held as soon as nothing is
// written under it: one cluster does not wait for another.
func (t *tenure) retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for _, s := range t.seats {
		if !s.leaving && s.giveUp != nil { // without, it has not stood yet, and does not any more
			t.leave(s)
		}
	}
}

// nudge tells the replicas that hold what this one does not.
func (t *tenure) nudge(ctx context.Context) {
	t.mu.Lock()
	var others []part
	for p, s := range t.seats {
		if s.leads == nil {
			others = append(others, p)
		}
	}
	t.mu.Unlock()
	for _, p := range others {
		if err := apply.Nudge(ctx, p.server, p.lease); err != nil && ctx.Err() == nil {
			t.daemon.log.Warn("another replica sees the commit at its next poll", "error", err)
		}
	}
}

// held lists the Leases that this process holds, sorted. The caller holds the lock.
func (t *tenure) held() []string {
	if !t.elects {
		return []string{"all"}
	}
	out := []string{}
	for p, s := range t.seats {
		if s.leads != nil {
			out = append(out, p.lease)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cut breaks off what is being written.
func (t *tenure) cut() { t.stop() }

// end waits until the Leases are given back.
func (t *tenure) end() {
	t.stop()
	t.running.Wait()
}
