package election_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/election"
)

var errAway = errors.New("the API server is away")

// replica is a replica of the configuration "data", and what it was told last.
type replica struct {
	end func()

	mu      sync.Mutex
	present []string
	failed  []string
}

func attend(b *bench.Bench, identity string) *replica {
	ctx, cancel := context.WithCancel(b.Ctx)
	r := &replica{}
	var attending sync.WaitGroup
	server := b.Cluster
	attending.Go(func() {
		if err := election.Attend(ctx, server, "data", identity, func(present []string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.present = slices.Clone(present)
		}, func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failed = append(r.failed, err.Error())
		}); err != nil {
			b.T.Error(err)
		}
	})
	r.end = sync.OnceFunc(func() { cancel(); attending.Wait() })
	b.T.Cleanup(r.end)
	return r
}

func (r *replica) sees(identities ...string) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Equal(r.present, identities)
	}
}

// faults are the faults that the replica was told of.
func (r *replica) faults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failed)
}

// Each replica knows the live ones. One that ends leaves at once, and its Lease goes.
func TestReplicasKnowOfEachOther(t *testing.T) {
	b := bench.New(t)
	first, second := attend(b, "a"), attend(b, "b")
	b.Eventually("both know of both", func() bool { return first.sees("a", "b")() && second.sees("a", "b")() })
	second.end()
	list, err := b.Admin.Resource(bench.Leases).Namespace(b.Records).List(b.Ctx, metav1.ListOptions{LabelSelector: "syncer.dev/replicas-of=data"})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("the Lease of a replica that ended is left: %v", err)
	}
	b.Eventually("the first one is alone", first.sees("a"))
}

// A replica that cannot reach the API server says so once, and is told the present replicas when it can again.
func TestReplicaToldOfAFaultOnce(t *testing.T) {
	b := bench.New(t)
	var away atomic.Bool
	var refused atomic.Int32
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if away.Load() {
			refused.Add(1)
			return nil, errAway
		}
		return inner.RoundTrip(req)
	})
	away.Store(true)
	r := attend(b, "a")
	b.Eventually("it has tried twice", func() bool { return refused.Load() > 1 })
	if faults := r.faults(); len(faults) != 1 || !strings.Contains(faults[0], "the Leases by which replicas know of each other: ") || !strings.Contains(faults[0], errAway.Error()) {
		t.Errorf("it was told %q", faults)
	}
	away.Store(false)
	b.Eventually("it is there", r.sees("a"))
}
