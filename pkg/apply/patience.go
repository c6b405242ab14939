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
	next    http.RoundTripper // with the limits to the silence
	limits  waits
	watches *openWatches
}

// openWatches are those to one API server, whichever of syncer's clients opened them.
type openWatches struct {
	mu      sync.Mutex
	bodies  map[*watchBody]bool
	doubted time.Time
}

func newPatience(next http.RoundTripper, limits waits, watches *openWatches) *patience {
	p := &patience{limits: limits, watches: watches}
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
			p.watches.doubt(p.limits.read)
		}
		return nil, err
	}
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && wait > int(longestRetryAfter/time.Second) {
		resp.Header.Set("Retry-After", strconv.Itoa(int(longestRetryAfter/time.Second)))
	}
	return resp, nil
}

// watch begins a watch. client-go is not told how long to wait after a refusal, nor that no answer came in time: it would
// wait, or try ten times, without a word. Who asked for the watch hears of it, and has a back-off of its own.
func (p *patience) watch(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := p.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		if isTimeout(err) && req.Context().Err() == nil {
			err = errors.New(err.Error())
		}
		return nil, err
	}
	resp.Header.Del("Retry-After")
	body := &watchBody{ReadCloser: resp.Body, watches: p.watches, ctx: ctx, cancel: cancel}
	p.watches.mu.Lock()
	p.watches.bodies[body] = true
	p.watches.mu.Unlock()
	resp.Body = body
	return resp, nil
}

// doubt ends every watch, since the API server, or what is in between, does not answer.
func (o *openWatches) doubt(after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.doubted.IsZero() && time.Since(o.doubted) < doubtInterval {
		return
	}
	o.doubted = time.Now()
	for body := range o.bodies {
		body.cancel(&silence.Error{Limit: after})
	}
}

// watchBody is what an open watch says.
type watchBody struct {
	io.ReadCloser

	watches *openWatches
	ctx     context.Context
	cancel  context.CancelCauseFunc
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
	b.watches.mu.Lock()
	delete(b.watches.bodies, b)
	b.watches.mu.Unlock()
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
