package connect

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

// Limits bound how long an API server may stay silent after a request.
type Limits struct{ Read, Write time.Duration }

// DefaultLimits give a write the time for webhooks: each may take 30 s, so that a slow one and an ordinary one fit. The
// answer to a read, and the begin of a watch, come at once.
var DefaultLimits = Limits{Read: silence.Limit, Write: 45 * time.Second}

const (
	// longestRetryAfter is the longest wait of a request when the API server asks for a wait: its priority and fairness
	// asks for 1 s. A proxy in between may ask for a quarter of an hour; the target is then tried again by its own
	// back-off.
	longestRetryAfter = 10 * time.Second
	// restartInterval is the minimum time between two restarts of all watches because of a request without an answer.
	restartInterval = silence.Limit
)

// limited bounds the waits of requests to one API server.
//
// A watch is silent while nothing changes. HTTP/2's pings end a dead connection. A proxy may answer the pings by itself;
// then a request without an answer is the sign that the watches are dead as well, and all watches begin again from where
// they were.
type limited struct {
	next    http.RoundTripper // with the limits to the silence
	limits  Limits
	watches *openWatches
}

// openWatches are the watches of one API server, of all of syncer's clients.
type openWatches struct {
	mu        sync.Mutex
	bodies    map[*watchBody]bool
	restarted time.Time
}

func newLimited(next http.RoundTripper, limits Limits, watches *openWatches) *limited {
	l := &limited{limits: limits, watches: watches}
	l.next = &silence.Transport{Next: next, Limit: l.limit}
	return l
}

// limit returns how long the answer to a request, and a part of its body, may take.
func (l *limited) limit(req *http.Request) (answer, part time.Duration) {
	switch {
	case isWatch(req):
		return l.limits.Read, 0
	case req.Method == http.MethodGet:
		return l.limits.Read, l.limits.Read
	}
	return l.limits.Write, l.limits.Read
}

func isWatch(req *http.Request) bool { return req.URL.Query().Get("watch") == "true" }

// RoundTrip implements http.RoundTripper.
func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if isWatch(req) {
		return l.watch(req)
	}
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		if isTimeout(err) {
			l.watches.restart(l.limits.Read)
		}
		return nil, err
	}
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && wait > int(longestRetryAfter/time.Second) {
		resp.Header.Set("Retry-After", strconv.Itoa(int(longestRetryAfter/time.Second)))
	}
	return resp, nil
}

// watch begins a watch. It hides two facts from client-go: how long to wait after a refusal, and that no answer came in
// time. client-go would wait, or try ten times, without a message. The caller gets the error, and has a back-off of its
// own.
func (l *limited) watch(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		if isTimeout(err) && req.Context().Err() == nil {
			err = errors.New(err.Error())
		}
		return nil, err
	}
	resp.Header.Del("Retry-After")
	body := &watchBody{ReadCloser: resp.Body, watches: l.watches, ctx: ctx, cancel: cancel}
	l.watches.mu.Lock()
	l.watches.bodies[body] = true
	l.watches.mu.Unlock()
	resp.Body = body
	return resp, nil
}

// restart ends every watch, since the API server, or a proxy in between, does not answer. The clients begin the watches
// again.
func (o *openWatches) restart(after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.restarted.IsZero() && time.Since(o.restarted) < restartInterval {
		return
	}
	o.restarted = time.Now()
	for body := range o.bodies {
		body.cancel(&silence.Error{Limit: after})
	}
}

// watchBody is the stream of an open watch.
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
	if _, restarted := errors.AsType[*silence.Error](context.Cause(b.ctx)); restarted {
		err = io.ErrUnexpectedEOF // a watch with this error begins again
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

// WrappedRoundTripper gives client-go the inner transport.
func (l *limited) WrappedRoundTripper() http.RoundTripper { return l.next }
