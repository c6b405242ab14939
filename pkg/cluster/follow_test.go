package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
)

// follower follows the records of a target's namespace, and keeps what it was told last.
type follower struct {
	mu      sync.Mutex
	last    cluster.Shown
	changed []string // the names that were told as changed
}

func followRecords(b *bench.Bench) *follower {
	ctx, cancel := context.WithCancel(b.Ctx)
	f := &follower{}
	var following sync.WaitGroup
	records := b.Cluster.Records()
	following.Go(func() {
		if err := records.Follow(ctx, func(s cluster.Shown) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.last = s
			for _, record := range s.Changed {
				f.changed = append(f.changed, record.Name)
			}
		}); err != nil {
			b.T.Error(err)
		}
	})
	b.T.Cleanup(func() { cancel(); following.Wait() })
	return f
}

// sees reports whether exactly these records were told last, without a fault.
func (f *follower) sees(names ...string) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		var got []string
		if !f.last.Read {
			return false
		}
		for _, record := range f.last.List() {
			got = append(got, record.Name)
		}
		return f.last.Err == nil && strings.Join(got, " ") == strings.Join(names, " ")
	}
}

// tells reports whether exactly these records were told as changed since it reported so last.
func (f *follower) tells(names ...string) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		slices.Sort(f.changed)
		if !slices.Equal(slices.Compact(f.changed), names) {
			return false
		}
		f.changed = nil
		return true
	}
}

func (f *follower) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.Err
}

func TestRecordsAreFollowed(t *testing.T) {
	b := bench.New(t)
	f := followRecords(b)
	b.Eventually("an empty namespace is read", f.sees())
	save(b, b.Spec(), promises)
	other := b.Other("ant")
	save(other, other.Spec(), promises)
	b.Eventually("both records are seen, by name", f.sees("ant.prod", "orders.prod"))
	b.Eventually("both are told as changed", f.tells("ant.prod", "orders.prod"))
	b.EditRecord(`{"metadata":{"annotations":{"a":"b"}}}`)
	b.Eventually("the record that changed is told, and no other", f.tells("orders.prod"))
	if n := len(b.Requests(func() {
		b.Delete(bench.RecordResource, b.Records, "ant.prod")
		b.Eventually("the deleted record is not seen", f.sees("orders.prod"))
	})); n > 0 {
		t.Errorf("%d requests for what a watch tells", n)
	}
}

// Follow reports a fault together with the last records, and it reports the end of the fault.
func TestFollowerIsToldOfAFault(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	var mu sync.Mutex
	installed, down := false, error(nil)
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if down != nil {
			return nil, down
		}
		if !installed {
			req = req.Clone(req.Context())
			req.URL.Path = strings.Replace(req.URL.Path, "/apis/syncer.dev/", "/apis/gone.syncer.dev/", 1)
		}
		return inner.RoundTrip(req)
	})
	f := followRecords(b)
	b.Eventually("the missing installation is told", func() bool { return errors.Is(f.fault(), cluster.ErrNotInstalled) })
	mu.Lock()
	down = errors.New("the server is away")
	mu.Unlock()
	b.Eventually("another fault is told", func() bool {
		err := f.fault()
		return err != nil && strings.Contains(err.Error(), "the server is away")
	})
	mu.Lock()
	installed, down = true, nil
	mu.Unlock()
	b.Eventually("the record is seen", f.sees("orders.prod"))
}

// While the records are followed they are known without a request. The answer to an own write counts at once.
func TestFollowedRecordsAreKnown(t *testing.T) {
	b := bench.New(t)
	if _, known := b.Cluster.Records().Known(b.Target); known {
		t.Error("a record is known that is not followed")
	}
	f := followRecords(b)
	b.Eventually("an empty namespace is read", f.sees())
	if record, known := b.Cluster.Records().Known(b.Target); record != nil || !known {
		t.Errorf("a record that does not exist: %v, %t", record, known)
	}
	save(b, b.Spec(), promises)
	record, known := b.Cluster.Records().Known(b.Target)
	if !known || record == nil || record.Spec.Pipeline != b.Target.Pipeline {
		t.Fatalf("after an own write: %v, %t", record, known)
	}
	requests := b.Requests(func() {
		latest, err := b.Cluster.Records().Latest(b.Ctx, b.Target)
		all, listErr := b.Cluster.Records().LatestList(b.Ctx)
		if err != nil || listErr != nil || latest.ResourceVersion != record.ResourceVersion || len(all) != 1 {
			t.Errorf("the latest record: %v, %v; %d records, %v", latest, err, len(all), listErr)
		}
	})
	if len(requests) > 0 {
		t.Errorf("requests: %s", bench.Shortly(requests))
	}
	b.EditRecord(`{"metadata":{"annotations":{"a":"b"}}}`)
	b.Eventually("the write of another client is known", func() bool {
		record, _ := b.Cluster.Records().Known(b.Target)
		return record.Annotations["a"] == "b"
	})
	record, _ = b.Cluster.Records().Known(b.Target)
	if err := b.Cluster.Records().Delete(b.Ctx, b.Target, record.UID, record.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	if record, known := b.Cluster.Records().Known(b.Target); record != nil || !known {
		t.Errorf("after an own deletion: %v, %t", record, known)
	}
}

// A silent API server is waited for once: while Follow tries on, the list of the records fails at once and asks nothing.
func TestASilentServerIsNotAskedForItsRecordsBeside(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	var mu sync.Mutex
	silent, asked := true, 0
	b.ConnectThrough(connect.Limits{Read: 300 * time.Millisecond, Write: time.Second}, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		mu.Lock()
		asked++
		isSilent := silent
		mu.Unlock()
		if isSilent {
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		}
		return inner.RoundTrip(req)
	})
	f := followRecords(b)
	b.Eventually("the silence is told", func() bool { return f.fault() != nil })
	mu.Lock()
	before := asked
	mu.Unlock()
	for range 20 {
		if _, err := b.Cluster.Records().LatestList(b.Ctx); err == nil {
			t.Fatal("a silent server has records")
		}
	}
	mu.Lock()
	if asked > before+1 { // a try of Follow may come in between
		t.Errorf("%d requests for 20 lists", asked-before)
	}
	silent = false
	mu.Unlock()
	b.Eventually("the record is seen", f.sees("orders.prod"))
	if all, err := b.Cluster.Records().LatestList(b.Ctx); err != nil || len(all) != 1 {
		t.Errorf("%d records, %v", len(all), err)
	}
}

// Callers that ask a silent API server for its kinds at the same time wait once, and not one after the other.
func TestCallersWaitTogetherForTheKinds(t *testing.T) {
	b := bench.New(t)
	var tries atomic.Int32
	b.ConnectThrough(connect.Limits{Read: 500 * time.Millisecond, Write: time.Second}, func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if strings.HasPrefix(req.URL.Path, "/api") {
			tries.Add(1)
		}
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	})
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			if _, err := b.Cluster.Mapping(v1alpha1.RecordKind); err == nil {
				t.Error("a silent server serves a kind")
			}
		})
	}
	callers.Wait()
	if n := tries.Load(); n > 2 { // discovery asks for /api and /apis
		t.Errorf("%d requests of 10 callers", n)
	}
}
