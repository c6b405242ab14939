package apply_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/election"
)

// elected lets a candidate lead, and returns the context of its work.
func (b *bench) elected() context.Context {
	b.t.Helper()
	ctx, end := context.WithCancel(b.ctx)
	leads := make(chan context.Context, 16)
	var standing sync.WaitGroup
	standing.Go(func() {
		if err := election.Elect(ctx, b.cluster, "writer", election.Candidate{
			Identity: "a", Leads: func(ctx context.Context) { leads <- ctx }, Leader: func(string) {}, Lost: func() {}, Failed: func(error) {},
		}); err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(func() {
		end()
		standing.Wait()
	})
	select {
	case leading := <-leads:
		return leading
	case <-b.ctx.Done():
		b.t.Fatal("nobody leads")
		return nil
	}
}

// A process that cannot renew a Lease stops before another may begin, also where the API server does not even refuse.
func TestLeaseEndsInTimeWhenTheServerHangs(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var sent time.Time // the last write with an answer
	hangs := false
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				hung := hangs
				if !hung && req.Method != http.MethodGet {
					sent = time.Now()
				}
				mu.Unlock()
				if hung {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				return inner.RoundTrip(req)
			})
		})
	})
	leading := b.elected()
	mu.Lock()
	hangs = true
	mu.Unlock()
	select {
	case <-leading.Done():
	case <-b.ctx.Done():
		t.Fatal("it leads without end")
	}
	mu.Lock()
	defer mu.Unlock()
	if late := time.Since(sent); late > 10*time.Second { // the plan is less than 8 s; a busy machine needs some more
		t.Errorf("it ended %s after the Lease was last renewed, which another one may take after 10 s", late)
	}
}

// A process that slept finds that another one has the Lease. It stops at once, and does not take the Lease from it.
func TestLeaseThatAnotherOneHasIsLeftToIt(t *testing.T) {
	b := newBench(t)
	var asked atomic.Int32
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				asked.Add(1)
				return inner.RoundTrip(req)
			})
		})
	})
	leading := b.elected()
	if _, err := b.admin.Resource(leases).Namespace(b.records).Patch(b.ctx, "writer", "application/merge-patch+json",
		[]byte(`{"spec":{"holderIdentity":"b"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	select {
	case <-leading.Done():
	case <-b.ctx.Done():
		t.Fatal("it leads without end")
	}
	// A refused renewal, a read of the Lease's holder, and one more of each on their way.
	if n := asked.Load() - before; n > 4 {
		t.Errorf("it ended after %d requests", n)
	}
	lease, err := b.admin.Resource(leases).Namespace(b.records).Get(b.ctx, "writer", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity"); !strings.HasPrefix(holder, "b") {
		t.Errorf("the Lease is %q's", holder)
	}
}
