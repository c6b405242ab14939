package watch_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/connect"
)

// faulty is a transport with faults between a cluster and its API server.
type faulty struct {
	mu    sync.Mutex
	fault func(*http.Request, http.RoundTripper) (*http.Response, error) // nil: none
	stuck []chan struct{}                                                // closed: an open watch sends nothing more
	asked int                                                            // watches
	ends  []func() error                                                 // end the open watches
}

func (f *faulty) set(fault func(*http.Request, http.RoundTripper) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faulty) watches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// stall stops all data of the open watches without closing them.
func (f *faulty) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, stuck := range f.stuck {
		close(stuck)
	}
	f.stuck = nil
}

func (f *faulty) through(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
	watch := req.URL.Query().Get("watch") == "true"
	f.mu.Lock()
	fault := f.fault
	if watch {
		f.asked++
	}
	f.mu.Unlock()
	if fault != nil {
		if resp, err := fault(req, inner); resp != nil || err != nil {
			return resp, err
		}
	}
	resp, err := inner.RoundTrip(req)
	if err == nil && watch {
		stuck := make(chan struct{})
		f.mu.Lock()
		ending := &endingBody{ReadCloser: resp.Body}
		f.stuck, f.ends = append(f.stuck, stuck), append(f.ends, ending.Close)
		f.mu.Unlock()
		resp.Body = &stalled{ReadCloser: ending, stuck: stuck, ctx: req.Context()}
	}
	return resp, err
}

type stalled struct {
	io.ReadCloser
	stuck chan struct{}
	ctx   context.Context
}

func (s *stalled) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	select {
	case <-s.stuck:
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	default:
		return n, err
	}
}

// answered is the silence within which an API server answers also on a busy machine.
const answered = 3 * time.Second

// throughFaults connects the cluster through a transport with faults, with the given limits.
func throughFaults(b *bench.Bench, read, write time.Duration) *faulty {
	f := &faulty{}
	b.ConnectThrough(connect.Limits{Read: read, Write: write}, f.through)
	return f
}

// busy answers a request with 429 and a long wait.
func busy(*http.Request, http.RoundTripper) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Status: "429 Too Many Requests", Header: http.Header{"Retry-After": {"900"}, "Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader("come back in a quarter of an hour")),
	}, nil
}

func busyWatches(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
	if req.URL.Query().Get("watch") != "true" {
		return nil, nil
	}
	return busy(req, inner)
}

// A watch that is refused with a long Retry-After counts as none. It is reported, and requested again much earlier.
func TestWatchThatIsRefusedForLong(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	line := throughFaults(b, time.Minute, time.Minute)
	w := follow(b)
	w.judged()
	if kinds := w.watches.Unwatched(b.Target); len(kinds) > 0 || w.watches.UnwatchedKinds() > 0 {
		t.Errorf("unwatched: %v", kinds)
	}
	line.set(busyWatches)
	line.endWatches()
	w.Eventually("it is not watched", func() bool { return !w.watches.Follows(w.Target) })
	w.Eventually("its kinds are named", func() bool {
		return slices.Contains(w.watches.Unwatched(b.Target), "ConfigMap") && w.watches.UnwatchedKinds() == 2
	})
	w.Eventually("it is told of", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.failed) > 0 && strings.Contains(w.failed[0], "too many requests")
	})
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	line.set(nil)
	w.noticed("what happened meanwhile")
	w.Eventually("it follows again", func() bool {
		return w.watches.Follows(w.Target) && w.watches.UnwatchedKinds() == 0
	})
} // the limit of a test is shorter than the quarter of an hour

// endWatches ends the open watches as an API server that is stopped does.
func (line *faulty) endWatches() {
	line.mu.Lock()
	defer line.mu.Unlock()
	for _, end := range line.ends {
		_ = end()
	}
	line.ends = nil
}

// If a watch ended and its next request gets no answer, it counts as none after a while, although no error arrives.
func TestWatchThatIsNotAnswered(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	line := throughFaults(b, answered, answered)
	w := follow(b)
	w.judged()
	line.set(func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if req.URL.Query().Get("watch") != "true" {
			return nil, nil
		}
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	})
	line.endWatches()
	w.Eventually("it is told of", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.failed) > 0 && strings.Contains(w.failed[0], "the server sent nothing for 3s")
	})
	w.Eventually("it does not count as watched", func() bool {
		return !w.watches.Follows(w.Target) && len(w.watches.Unwatched(b.Target)) > 0
	})
	line.set(nil)
	w.Eventually("it follows again", func() bool { return w.watches.Follows(w.Target) })
}

// A request without an answer ends within the limit, for reads and writes, before the header or in the body. The fault may
// be temporary. The watches, which may hang as well, are started again.
func TestRequestsThatAreNotAnswered(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	b.Deploy(set)
	line := throughFaults(b, answered, answered)
	w := follow(b)
	w.judged()
	before := line.watches()
	line.stall()
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	hang := func(method string, inBody bool) func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		return func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
			if req.Method != method || req.URL.Query().Get("watch") == "true" {
				return nil, nil
			}
			if !inBody {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			}
			resp, err := inner.RoundTrip(req)
			if err == nil {
				stuck := make(chan struct{})
				close(stuck)
				resp.Body = &stalled{ReadCloser: resp.Body, stuck: stuck, ctx: req.Context()}
			}
			return resp, err
		}
	}
	silent := func(what string, err error) {
		t.Helper()
		bench.WantError(t, err, "the server sent nothing for 3s")
		if !errors.Is(err, context.DeadlineExceeded) || answer.IsPermanent(err) {
			t.Errorf("%s: %v counts as a failure that stays", what, err)
		}
	}
	line.set(hang(http.MethodGet, false))
	_, err := b.Cluster.Records().Get(b.Ctx, b.Target)
	silent("a read", err)
	line.set(nil)
	w.noticed("what the watches that hang had missed")
	if line.watches() == before {
		t.Error("no watch was begun anew")
	}
	line.set(hang(http.MethodGet, true))
	_, err = b.Cluster.Records().Get(b.Ctx, b.Target)
	silent("the body of an answer", err)
	line.set(hang(http.MethodPatch, false))
	_, err = b.Cluster.DryRun(b.Ctx, set[0])
	silent("a write", err)
}
