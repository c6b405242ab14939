// Package pacing decides how often a host is asked over HTTP: how many requests are under way and sent in a minute, when a
// request is sent again, and when a host that fails is left alone. It opens no connection itself.
package pacing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/syncerdev/syncer/pkg/clock"
)

const (
	// requestsPerHost bounds the requests to one host that are under way. Registries throttle long before that.
	requestsPerHost = 8
	// FailuresToOpen in a row, and a host is left alone for a while: a registry that is down would else cost every
	// target its own retries.
	FailuresToOpen = 8
	restFor        = 15 * time.Second
)

// Hosts gives each host its own limit and circuit breaker, so that a slow registry does not delay the others.
type Hosts struct {
	next      http.RoundTripper
	perMinute int

	mu    sync.Mutex
	hosts map[string]*hostLimit
}

type hostLimit struct {
	slots   chan struct{}
	rate    *rate.Limiter
	breaker *gobreaker.CircuitBreaker[*http.Response]

	mu    sync.Mutex
	until time.Time // when the host wants to be asked again
}

// NewHosts bounds the requests that go on to a transport.
func NewHosts(next http.RoundTripper, perMinute int) *Hosts {
	return &Hosts{next: next, perMinute: perMinute, hosts: map[string]*hostLimit{}}
}

// ErrRests says that a host was not asked, because it failed too often just now.
var ErrRests = fmt.Errorf("it failed %d times in a row and is asked again in %s", FailuresToOpen, restFor)

// errFailing makes an answer count as a failure for the breaker. It never leaves RoundTrip.
var errFailing = errors.New("the registry fails")

// RateError says that a host is asked so often that a request would wait longer than its caller does.
type RateError struct{ PerMinute int }

// Error implements error.
func (e *RateError) Error() string {
	return fmt.Sprintf("syncer sends more than %d requests a minute to the host", e.PerMinute)
}

// RoundTrip implements http.RoundTripper.
func (l *Hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	limit := l.of(req.URL.Scheme + "://" + req.URL.Host)
	if limit.rate.Wait(req.Context()) != nil {
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		return nil, &RateError{l.perMinute}
	}
	select {
	case limit.slots <- struct{}{}:
		defer func() { <-limit.slots }()
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if err := limit.rest(req.Context()); err != nil {
		return nil, err
	}
	var answer *http.Response
	_, err := limit.breaker.Execute(func() (*http.Response, error) {
		var err error
		answer, err = l.next.RoundTrip(req)
		if err == nil {
			limit.note(answer)
		}
		if err == nil && answer.StatusCode >= http.StatusInternalServerError {
			return nil, errFailing
		}
		return nil, err
	})
	switch {
	case errors.Is(err, errFailing):
		return answer, nil
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, ErrRests
	case err != nil:
		return nil, err
	}
	return answer, nil
}

// longestRest bounds the wait of a Retry-After. A registry may recover long before the time it gave, or its clock may be
// wrong, and every commit would wait. A registry that is still limited gets about two requests a minute. It is longer than
// longestAsked, so that a request right after the answer is refused and does not wait.
const longestRest = 40 * time.Second

// note applies the wait of one answer to every request to the host.
func (h *hostLimit) note(answer *http.Response) {
	if !slices.Contains(transient, answer.StatusCode) {
		return
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := now.Add(min(retryAfter(answer, now), longestRest)); until.After(h.until) {
		h.until = until
	}
}

// rest waits until a host may be asked again, or refuses if that takes too long for this pass.
func (h *hostLimit) rest(ctx context.Context) error {
	h.mu.Lock()
	until := h.until
	h.mu.Unlock()
	wait := time.Until(until)
	if wait <= 0 {
		return nil
	}
	if wait > longestAsked {
		return fmt.Errorf("it wants to be asked again at %s", until.UTC().Format(time.RFC3339))
	}
	return clock.Sleep(ctx, wait)
}

func (l *Hosts) of(host string) *hostLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.hosts[host]
	if !ok {
		l.forget()
		limit = &hostLimit{
			slots: make(chan struct{}, requestsPerHost),
			rate:  rate.NewLimiter(rate.Limit(l.perMinute)/60, max(1, l.perMinute/3)),
			breaker: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
				Name:        host,
				Timeout:     restFor,
				ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= FailuresToOpen },
				// A cancelled call and a wrong certificate do not count against the host's health.
				IsExcluded: func(err error) bool { return err != nil && !errors.Is(err, errFailing) && !passing(err) },
			}),
		}
		l.hosts[host] = limit
	}
	return limit
}

// mostHosts is how many hosts are known at a time. A registry may redirect to any number of them.
const mostHosts = 1000

// forget makes room for another host.
func (l *Hosts) forget() {
	if len(l.hosts) < mostHosts {
		return
	}
	for host, limit := range l.hosts {
		if len(limit.slots) == 0 {
			delete(l.hosts, host)
		}
	}
}
