package apply

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/silence"
)

// waits bound how long an API server may say nothing to a request.
type waits struct{ read, write time.Duration }

// A write may wait for webhooks, each of which may take 30 s; one such and an ordinary one fit. What reads, and the answer
// that a watch begins, come at once.
var defaultWaits = waits{read: silence.Limit, write: 45 * time.Second}

const (
	// longestRetryAfter is how long a request waits at most because the API server asks for it: its priority and fairness
	// asks for 1 s. Whatever stands in between may ask for a quarter of an hour; the target is then tried again by its own
	// back-off.
	longestRetryAfter = 10 * time.Second
	// doubtInterval is the least time between two renewals of all watches because of a request that got no answer.
	doubtInterval = silence.Limit
)

// patience bounds the waits of requests to one API server.
//
// A watch is silent while nothing changes. A dead connection ends by HTTP/2's pings; behind a proxy that answers those by
// itself, a request that gets no answer is the sign that the watches are dead as well: all are then begun anew, from where
// they were.
type patience struct {
	next   http.RoundTripper // with the limits to the silence
	limits waits

	mu      sync.Mutex
	watches map[*watchBody]bool
	doubted time.Time
}

func newPatience(next http.RoundTripper, limits waits) *patience {
	p := &patience{limits: limits, watches: map[*watchBody]bool{}}
	p.next = &silence.Transport{Next: next, Limit: p.limit}
	return p
}

// limit says how long the answer to a request, and a part of its body, may stay out.
func (p *patience) limit(req *http.Request) (answer, part time.Duration) {
	switch {
	case isWatch(req):
		return p.limits.read, 0
	case req.Method == http.MethodGet:
		return p.limits.read, p.limits.read
	}
	return p.limits.write, p.limits.read
}

func isWatch(req *http.Request) bool { return req.URL.Query().Get("watch") == "true" }

// RoundTrip implements http.RoundTripper.
func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	if isWatch(req) {
		return p.watch(req)
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		if isTimeout(err) {
			p.doubt()
		}
		return nil, err
	}
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && wait > int(longestRetryAfter/time.Second) {
		resp.Header.Set("Retry-After", strconv.Itoa(int(longestRetryAfter/time.Second)))
	}
	return resp, nil
}

// watch begins a watch. client-go is not told how long to wait after a refusal, because it waits that long without a
// word; who asked for the watch hears of it, and has a back-off of its own.
func (p *patience) watch(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := p.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Header.Del("Retry-After")
	body := &watchBody{ReadCloser: resp.Body, patience: p, ctx: ctx, cancel: cancel}
	p.mu.Lock()
	p.watches[body] = true
	p.mu.Unlock()
	resp.Body = body
	return resp, nil
}

// doubt ends every watch, since the API server, or what is in between, does not answer.
func (p *patience) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.doubted.IsZero() && time.Since(p.doubted) < doubtInterval {
		return
	}
	p.doubted = time.Now()
	for body := range p.watches {
		body.cancel(&silence.Error{Limit: p.limits.read})
	}
}

// watchBody is what an open watch says.
type watchBody struct {
	io.ReadCloser

	patience *patience
	ctx      context.Context
	cancel   context.CancelCauseFunc
}

func (b *watchBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if _, doubted := errors.AsType[*silence.Error](context.Cause(b.ctx)); doubted {
		err = io.ErrUnexpectedEOF // a watch that ends so is begun anew
	}
	return n, err
}

func (b *watchBody) Close() error {
	b.patience.mu.Lock()
	delete(b.patience.watches, b)
	b.patience.mu.Unlock()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// isTimeout reports whether no answer came in time.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// WrappedRoundTripper gives client-go the transport below.
func (p *patience) WrappedRoundTripper() http.RoundTripper { return p.next }
