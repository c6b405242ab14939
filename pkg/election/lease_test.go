package election_test

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
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/election"
)

const lease = "writer"

// candidacy is a candidate that stands, and what it was told.
type candidacy struct {
	*testing.T
	ctx     context.Context
	leads   chan context.Context
	leaders chan string
	lost    chan struct{}
	nudged  chan struct{}
	failed  chan error
	end     func() // ends the candidacy, and returns when it has ended
}

// stand lets a candidate take part in the election until the test ends.
func stand(b *bench.Bench, identity string, yields func() bool) *candidacy {
	ctx, cancel := context.WithCancel(b.Ctx)
	c := &candidacy{
		T: b.T, ctx: b.Ctx, leads: make(chan context.Context, 16), leaders: make(chan string, 64), lost: make(chan struct{}, 64),
		nudged: make(chan struct{}, 64), failed: make(chan error, 64),
	}
	var standing sync.WaitGroup
	server := b.Cluster
	standing.Go(func() {
		if err := election.Elect(ctx, server, lease, election.Candidate{
			Identity: identity, Yields: yields,
			Leads: func(ctx context.Context) { c.leads <- ctx }, Leader: func(identity string) { c.leaders <- identity },
			Lost: func() { c.lost <- struct{}{} }, Nudged: func() { c.nudged <- struct{}{} }, Failed: func(err error) { c.failed <- err },
		}); err != nil {
			b.T.Error(err)
		}
	})
	c.end = sync.OnceFunc(func() { cancel(); standing.Wait() })
	b.T.Cleanup(c.end)
	return c
}

// await receives what the candidate is told.
func await[V any](c *candidacy, what string, from chan V) V {
	c.Helper()
	select {
	case value := <-from:
		return value
	case <-c.ctx.Done():
		c.Fatalf("waiting until %s", what)
		panic("unreachable")
	}
}

func (c *candidacy) awaitEnd(leading context.Context) {
	c.Helper()
	select {
	case <-leading.Done():
	case <-c.ctx.Done():
		c.Fatal("it leads without end")
	}
}

// A process that cannot renew a Lease stops before another may begin, also where the API server does not even refuse.
func TestLeaseEndsInTimeWhenTheServerHangs(t *testing.T) {
	b := bench.New(t)
	var mu sync.Mutex
	var sent time.Time // the last write with an answer
	hangs := false
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
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
	c := stand(b, "a", nil)
	leading := await(c, "it leads", c.leads)
	mu.Lock()
	hangs = true
	mu.Unlock()
	c.awaitEnd(leading)
	mu.Lock()
	late := time.Since(sent)
	mu.Unlock()
	if late > 10*time.Second { // the plan is less than 8 s; a busy machine needs some more
		t.Errorf("it ended %s after the Lease was last renewed, which another one may take after 10 s", late)
	}
	await(c, "the loss is told", c.lost)
	if err := await(c, "the fault is told", c.failed); !strings.Contains(err.Error(), "the Lease "+b.Records+"/"+lease+", without which nothing is written: ") {
		t.Errorf("it is told %v", err)
	}
}

// A process that slept finds that another one has the Lease. It stops at once, and does not take the Lease from it.
func TestLeaseThatAnotherOneHasIsLeftToIt(t *testing.T) {
	b := bench.New(t)
	var asked atomic.Int32
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		asked.Add(1)
		return inner.RoundTrip(req)
	})
	c := stand(b, "a", nil)
	leading := await(c, "it leads", c.leads)
	if _, err := b.Admin.Resource(bench.Leases).Namespace(b.Records).Patch(b.Ctx, lease, types.MergePatchType,
		[]byte(`{"spec":{"holderIdentity":"b"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	c.awaitEnd(leading)
	// A refused renewal, a read of the Lease's holder, and one more of each on their way.
	if n := asked.Load() - before; n > 4 {
		t.Errorf("it ended after %d requests", n)
	}
	if holder := holderOf(b); !strings.HasPrefix(holder, "b") {
		t.Errorf("the Lease is %q's", holder)
	}
}

func holderOf(b *bench.Bench) string {
	b.T.Helper()
	holder, _, _ := unstructured.NestedString(b.Get(bench.Leases, b.Records, lease).Object, "spec", "holderIdentity")
	return holder
}

// A candidate that ends releases the Lease, so that another one leads before it would have expired. The other one is told
// of each leader.
func TestLeaseIsReleasedAtTheEnd(t *testing.T) {
	b := bench.New(t)
	first := stand(b, "a", nil)
	leading := await(first, "it leads", first.leads)
	second := stand(b, "b", nil)
	if leader := await(second, "the other one knows the leader", second.leaders); leader != "a" {
		t.Errorf("the leader is %q", leader)
	}
	first.end()
	ended := time.Now()
	if leading.Err() == nil {
		t.Error("the first one still leads")
	}
	if holder := holderOf(b); holder == "a" {
		t.Error("the first one still holds the Lease")
	}
	await(second, "the other one leads", second.leads)
	if took := time.Since(ended); took > 9*time.Second { // the next try comes within 3.3 s
		t.Errorf("it led %s after the release", took)
	}
}

// A candidate that yields leaves a free Lease to another one, and takes it in the end where nobody comes.
func TestCandidateThatYieldsLeavesAFreeLeaseToAnother(t *testing.T) {
	b := bench.New(t)
	var preferred atomic.Bool
	preferred.Store(true)
	var asked atomic.Int32
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		defer asked.Add(1)
		return inner.RoundTrip(req)
	})
	polite := stand(b, "a", preferred.Load)
	b.Eventually("the candidate has looked for the Lease", func() bool { return asked.Load() > 0 })
	other := stand(b, "b", nil)
	await(other, "the other one leads", other.leads)
	if len(polite.leads) > 0 {
		t.Error("the candidate that yields leads")
	}
	preferred.Store(false)
	other.end()
	await(polite, "it leads when nobody else is to", polite.leads)
}

// The holder of a Lease learns of a write of another process at its next renewal, and keeps the Lease.
func TestNudgeIsNoticedByTheHolder(t *testing.T) {
	b := bench.New(t)
	c := stand(b, "a", nil)
	leading := await(c, "it leads", c.leads)
	if err := election.Nudge(b.Ctx, b.Cluster, lease); err != nil {
		t.Fatal(err)
	}
	await(c, "the nudge is noticed", c.nudged)
	if leading.Err() != nil || holderOf(b) != "a" {
		t.Error("the nudge ended the leadership")
	}
	bench.WantError(t, election.Nudge(b.Ctx, b.Cluster, "nobodys"), "nudging the holder of the Lease "+b.Records+"/nobodys")
}

// Without the namespace there is no Lease; the candidate says what to do, once.
func TestElectionNeedsAnInstallation(t *testing.T) {
	b := bench.New(t)
	b.Records = "nowhere"
	_, b.Cluster = b.Connect(b.Plane.Kubeconfig)
	c := stand(b, "a", nil)
	bench.WantError(t, await(c, "the fault is told", c.failed), "the Lease nowhere/writer", "run `syncer install` first")
}

// A missing right is told once, with the right, and the election goes on when it is given.
func TestElectionWithoutRightsSaysWhichOneIsMissing(t *testing.T) {
	b := bench.New(t)
	user := "candidate-" + b.Namespace
	kubeconfig, err := b.Plane.AddUser(user)
	if err != nil {
		t.Fatal(err)
	}
	_, b.Cluster = b.Connect(kubeconfig)
	c := stand(b, "a", nil)
	bench.WantError(t, await(c, "the fault is told", c.failed), "give "+user+" a Role or ClusterRole that allows to get leases.coordination.k8s.io")
	b.Create(bench.Roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: candidate, namespace: "+b.Records+"}\nrules:\n- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, create, update, patch, delete]}\n")
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: candidate, namespace: "+b.Records+"}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: candidate}\nsubjects: [{kind: User, name: "+user+", apiGroup: rbac.authorization.k8s.io}]\n")
	await(c, "it leads with the right", c.leads)
	if len(c.failed) > 0 {
		t.Errorf("the same fault is told again: %v", <-c.failed)
	}
}
