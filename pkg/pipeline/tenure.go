package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/apply"
)

// tenure says which targets this process may write: those whose Lease it holds. A Lease is in the cluster that it
// protects, so that no cluster depends on another one.
type tenure struct {
	daemon   *daemon
	identity string
	elects   bool

	ctx  context.Context // of every write; it outlives the loop's, so that what was begun may end
	stop context.CancelFunc

	elections sync.WaitGroup

	mu    sync.Mutex
	parts map[part]*seat
}

// part is what one Lease is about.
type part struct {
	server *apply.Cluster
	lease  string
}

// seat is this process's place in one election.
type seat struct {
	leads  context.Context // nil: another process does
	leader string
	known  chan struct{} // closed when it is known who leads
}

// leaseNews is how long the first look at the repository waits to know who leads; later is as good, and twice the work.
const leaseNews = 2 * time.Second

func newTenure(d *daemon) *tenure {
	return &tenure{daemon: d, identity: d.options.Identity, elects: *d.Config.LeaderElection, parts: map[part]*seat{}}
}

// begin takes part in the elections of every environment whose cluster can be reached; the others follow when they are
// first seen.
func (t *tenure) begin(ctx context.Context) {
	t.ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !t.elects {
		return
	}
	environments, err := t.daemon.environments(t.daemon.options.Environments)
	if err != nil {
		return // Loop has looked
	}
	var seats []*seat
	for _, environment := range environments {
		if cluster, err := t.daemon.cluster(environment); err == nil {
			seats = append(seats, t.seat(part{cluster.Server(), t.lease()}))
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

func (t *tenure) lease() string { return "syncer-" + t.daemon.Config.Name }

// of is the context of whatever is written for a target; nil where that is another process's.
func (t *tenure) of(w *work) context.Context {
	if !t.elects {
		return t.ctx
	}
	s := t.seat(part{w.cluster.Server(), t.lease()})
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.leads == nil || s.leads.Err() != nil {
		return nil
	}
	return s.leads
}

// own are the works that this process may write.
func (t *tenure) own(works []*work) []*work {
	return slices.DeleteFunc(slices.Clone(works), func(w *work) bool { return t.of(w) == nil })
}

// seat is the place in an election, which begins when it is first asked for.
func (t *tenure) seat(p part) *seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.parts[p]; s != nil {
		return s
	}
	s := &seat{known: make(chan struct{})}
	t.parts[p] = s
	log := t.daemon.log.With("lease", p.lease, "identity", t.identity)
	candidate := apply.Candidate{
		Identity: t.identity,
		Leads: func(ctx context.Context) {
			log.Info("leading")
			t.take(p, s, ctx)
		},
		Leader: func(identity string) {
			if identity != t.identity {
				log.Info("another replica leads; standing by", "leader", identity)
			}
			t.heard(s, identity)
		},
		Lost: func() { t.lose(p, s) },
		Failed: func(err error) {
			log.Error("taking part in the election", "error", err)
		},
	}
	t.elections.Go(func() {
		if err := p.server.Elect(t.ctx, p.lease, candidate); err != nil {
			log.Error("taking part in the election", "error", err)
		}
	})
	return s
}

func (t *tenure) heard(s *seat, identity string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.leader = identity
	if identity == t.identity {
		return // take says so, when the context is there
	}
	s.tell()
}

// tell says that it is known who leads. The caller holds the lock.
func (s *seat) tell() {
	select {
	case <-s.known:
	default:
		close(s.known)
	}
}

// take begins the work on a part: everything is looked at, since nobody knows what happened before.
func (t *tenure) take(p part, s *seat, ctx context.Context) {
	t.mu.Lock()
	s.leads = ctx
	s.tell()
	t.mu.Unlock()
	t.daemon.metrics.leads(p.lease, true)
	t.daemon.board.leads(t.held())
	t.daemon.renew()
}

// lose ends it.
func (t *tenure) lose(p part, s *seat) {
	t.mu.Lock()
	led := s.leads != nil
	s.leads = nil
	t.mu.Unlock()
	if !led {
		return
	}
	t.daemon.log.Info("not leading any more", "lease", p.lease, "identity", t.identity)
	t.daemon.metrics.leads(p.lease, false)
	t.daemon.board.leads(t.held())
	t.daemon.leaveUnled()
}

// held lists the Leases that this process holds, sorted.
func (t *tenure) held() []string {
	if !t.elects {
		return []string{"all"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []string{}
	for p, s := range t.parts {
		if s.leads != nil {
			out = append(out, p.lease)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cut breaks off what is being written.
func (t *tenure) cut() { t.stop() }

// end gives the Leases back.
func (t *tenure) end() {
	t.stop()
	t.elections.Wait()
}
