package pacing

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// script answers one request after the other; the last answer stays.
type script struct {
	answers []answered
	times   []time.Time
}

type answered struct {
	status int
	after  string // Retry-After
	err    error
}

func (s *script) RoundTrip(*http.Request) (*http.Response, error) {
	next := s.answers[min(len(s.times), len(s.answers)-1)]
	s.times = append(s.times, time.Now())
	if next.err != nil {
		return nil, next.err
	}
	return &http.Response{StatusCode: next.status, Status: http.StatusText(next.status), Header: http.Header{"Retry-After": {next.after}}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func TestRetries(t *testing.T) {
	at := func(d time.Duration) string { // in a bubble of synctest, time starts here
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	ok := answered{status: 200}
	for name, c := range map[string]struct {
		answers []answered
		tries   int
		status  int           // 0: an error
		waited  time.Duration // at least, and at most twice
	}{
		"fine":                        {[]answered{ok}, 1, 200, 0},
		"503, then fine":              {[]answered{{status: 503}, ok}, 2, 200, 160 * time.Millisecond},
		"Retry-After in seconds":      {[]answered{{status: 429, after: "7"}, ok}, 2, 200, 7 * time.Second},
		"Retry-After as a date":       {[]answered{{status: 503, after: at(9 * time.Second)}, ok}, 2, 200, 9 * time.Second},
		"Retry-After in the past":     {[]answered{{status: 503, after: at(-time.Hour)}, ok}, 2, 200, 160 * time.Millisecond},
		"Retry-After that is nothing": {[]answered{{status: 503, after: "soon"}, ok}, 2, 200, 160 * time.Millisecond},
		"Retry-After below zero":      {[]answered{{status: 503, after: "-5"}, ok}, 2, 200, 160 * time.Millisecond},
		"Retry-After of a minute":     {[]answered{{status: 429, after: "60"}, ok}, 1, 429, 0},
		"Retry-After of ages":         {[]answered{{status: 429, after: "99999999999999"}, ok}, 1, 429, 0},
		"Retry-After on a far date":   {[]answered{{status: 429, after: at(24 * time.Hour)}, ok}, 1, 429, 0},
		"always 503":                  {[]answered{{status: 503}}, 5, 503, 2 * time.Second},
		"401":                         {[]answered{{status: 401}, ok}, 1, 401, 0},
		"403":                         {[]answered{{status: 403}, ok}, 1, 403, 0},
		"404":                         {[]answered{{status: 404}, ok}, 1, 404, 0},
		"refused, then fine":          {[]answered{{err: syscall.ECONNREFUSED}, ok}, 2, 200, 160 * time.Millisecond},
		"reset, then fine":            {[]answered{{err: syscall.ECONNRESET}, {err: io.EOF}, ok}, 3, 200, 480 * time.Millisecond},
		"always reset":                {[]answered{{err: syscall.ECONNRESET}}, 5, 0, 2 * time.Second},
		"503, then reset for ever":    {[]answered{{status: 503}, {err: syscall.ECONNRESET}}, 5, 503, 2 * time.Second},
		"no name for a moment":        {[]answered{{err: &net.DNSError{IsTemporary: true}}, ok}, 2, 200, 160 * time.Millisecond},
		"no such name":                {[]answered{{err: &net.DNSError{IsNotFound: true}}, ok}, 1, 0, 0},
		"no route, then fine":         {[]answered{{err: syscall.EHOSTUNREACH}, ok}, 2, 200, 160 * time.Millisecond},
		"untrusted certificate":       {[]answered{{err: x509.UnknownAuthorityError{}}, ok}, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				start := time.Now()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://registry.example.com/v2/", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&Retries{Next: s, First: FirstDelay}).RoundTrip(req)
				switch {
				case c.status == 0 && err == nil:
					t.Errorf("got %d", resp.StatusCode)
				case c.status != 0 && (err != nil || resp.StatusCode != c.status):
					t.Errorf("%v, %v", resp, err)
				}
				if resp != nil {
					if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "{}" {
						t.Errorf("the body is %q, %v", body, err)
					}
				}
				if len(s.times) != c.tries {
					t.Errorf("%d tries, want %d", len(s.times), c.tries)
				}
				if waited := time.Since(start); waited < c.waited || waited > 2*c.waited {
					t.Errorf("waited %s, want about %s", waited, c.waited)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://registry.example.com/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &script{answers: []answered{{status: 503, after: "20"}}}
		start := time.Now()
		if _, err := (&Retries{Next: s, First: FirstDelay}).RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestBodyIsSentWithEachTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodies []string
		next := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			bodies = append(bodies, string(body))
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, err
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://registry.example.com/token", strings.NewReader("grant"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&Retries{Next: next, First: FirstDelay}).RoundTrip(req); err != nil {
			t.Error(err)
		}
		if got := strings.Join(bodies, " "); got != "grant grant grant grant grant" {
			t.Errorf("got %q", got)
		}
	})
}
