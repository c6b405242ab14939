package pacing

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// hostScript answers by host and counts the requests that got through.
type hostScript struct {
	mu       sync.Mutex
	answers  map[string]answered
	requests map[string]int
}

func (s *hostScript) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if s.requests == nil {
		s.requests = map[string]int{}
	}
	s.requests[req.URL.Host]++
	next := s.answers[req.URL.Host]
	if next.err != nil {
		return nil, next.err
	}
	return &http.Response{StatusCode: next.status, Header: http.Header{"Retry-After": {next.after}}, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func (s *hostScript) set(host string, next answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[host] = next
}

func ask(t *testing.T, ctx context.Context, l http.RoundTripper, host string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+host+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func TestHostThatFailsIsLeftAloneForAWhile(t *testing.T) {
	for name, failure := range map[string]answered{
		"500": {status: 500}, "503": {status: 503}, "refused": {err: syscall.ECONNREFUSED}, "reset": {err: syscall.ECONNRESET}, "hangs": {err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := &hostScript{answers: map[string]answered{"bad.example.com": failure, "good.example.com": {status: 200}}}
				limits := NewHosts(hosts, 6000)
				for i := range FailuresToOpen {
					if status, err := ask(t, t.Context(), limits, "bad.example.com"); status != failure.status || !errors.Is(err, failure.err) {
						t.Fatalf("%d: %d, %v", i, status, err)
					}
				}
				for range 3 {
					if _, err := ask(t, t.Context(), limits, "bad.example.com"); !errors.Is(err, ErrRests) {
						t.Errorf("got %v", err)
					}
				}
				if n := hosts.requests["bad.example.com"]; n != FailuresToOpen {
					t.Errorf("%d requests, want %d", n, FailuresToOpen)
				}
				if status, err := ask(t, t.Context(), limits, "good.example.com"); status != 200 || err != nil {
					t.Errorf("another host: %d, %v", status, err)
				}

				time.Sleep(restFor + time.Millisecond)
				if _, err := ask(t, t.Context(), limits, "bad.example.com"); errors.Is(err, ErrRests) {
					t.Error("it was not asked again")
				}
				if _, err := ask(t, t.Context(), limits, "bad.example.com"); !errors.Is(err, ErrRests) {
					t.Errorf("it failed again and does not rest: %v", err)
				}

				time.Sleep(restFor + time.Millisecond)
				hosts.set("bad.example.com", answered{status: 200})
				for i := range 3 {
					if status, err := ask(t, t.Context(), limits, "bad.example.com"); status != 200 || err != nil {
						t.Errorf("it recovered; %d: %d, %v", i, status, err)
					}
				}
			})
		})
	}
}

// These answers say that the host is well, or nothing about it.
func TestAnswersThatDoNotOpenTheBreaker(t *testing.T) {
	for name, c := range map[string]answered{
		"404": {status: 404}, "401": {status: 401}, "403": {status: 403}, "429": {status: 429},
		"untrusted certificate": {err: x509.UnknownAuthorityError{}}, "caller went away": {err: context.Canceled},
	} {
		hosts := &hostScript{answers: map[string]answered{"a.example.com": c}}
		limits := NewHosts(hosts, 6000)
		for range 5 * FailuresToOpen {
			if status, err := ask(t, t.Context(), limits, "a.example.com"); status != c.status || !errors.Is(err, c.err) {
				t.Fatalf("%s: %d, %v", name, status, err)
			}
		}
	}
}

// Whoever asks first after the rest may go away before the answer: the next one finds out instead.
func TestProbeThatIsCancelledSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := &hostScript{answers: map[string]answered{"a.example.com": {status: 502}}}
		limits := NewHosts(hosts, 6000)
		for range FailuresToOpen {
			_, _ = ask(t, t.Context(), limits, "a.example.com")
		}
		time.Sleep(restFor + time.Millisecond)
		hosts.set("a.example.com", answered{err: context.Canceled})
		for range 3 {
			if _, err := ask(t, t.Context(), limits, "a.example.com"); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		hosts.set("a.example.com", answered{status: 200})
		for range 3 {
			if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 200 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		}
	})
}

// A host that fails now and then is not left alone; what says nothing of a host does not make it well.
func TestFailuresAreCountedInARow(t *testing.T) {
	fail := func(l http.RoundTripper, hosts *hostScript, n int) {
		hosts.set("a.example.com", answered{status: 502})
		for range n {
			_, _ = ask(t, t.Context(), l, "a.example.com")
		}
	}
	hosts := &hostScript{answers: map[string]answered{}}
	limits := NewHosts(hosts, 6000)
	for range 3 {
		fail(limits, hosts, FailuresToOpen-1)
		hosts.set("a.example.com", answered{status: 404})
		if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 404 || err != nil {
			t.Fatalf("%d, %v", status, err)
		}
	}
	fail(limits, hosts, FailuresToOpen-1)
	hosts.set("a.example.com", answered{err: context.Canceled})
	_, _ = ask(t, t.Context(), limits, "a.example.com")
	fail(limits, hosts, 1)
	if _, err := ask(t, t.Context(), limits, "a.example.com"); !errors.Is(err, ErrRests) {
		t.Errorf("got %v", err)
	}
}

func TestRequestsPerHostAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var under atomic.Int64
		limits := NewHosts(roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.example.com" {
				under.Add(1)
				<-release
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), 6000)
		var all sync.WaitGroup
		for range 5 * requestsPerHost {
			all.Go(func() {
				if status, err := ask(t, t.Context(), limits, "slow.example.com"); status != 200 || err != nil {
					t.Errorf("%d, %v", status, err)
				}
			})
		}
		synctest.Wait()
		if n := under.Load(); n != requestsPerHost {
			t.Errorf("%d requests at once, want %d", n, requestsPerHost)
		}
		if status, err := ask(t, t.Context(), limits, "other.example.com"); status != 200 || err != nil {
			t.Errorf("another host: %d, %v", status, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ask(t, ctx, limits, "slow.example.com"); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for a turn: %v", err)
		}
		close(release)
		all.Wait()
		if n := under.Load(); n != 5*requestsPerHost {
			t.Errorf("%d requests in all", n)
		}
	})
}

// What one answer asks for holds for all requests to the host: each look-up would else ask again by itself.
func TestRetryAfterIsForTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := &hostScript{answers: map[string]answered{"a.example.com": {status: 429, after: "20"}, "b.example.com": {status: 200}}}
		limits := NewHosts(hosts, 6000)
		start := time.Now()
		if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 429 || err != nil {
			t.Fatalf("%d, %v", status, err)
		}
		hosts.set("a.example.com", answered{status: 200})
		if status, err := ask(t, t.Context(), limits, "b.example.com"); status != 200 || err != nil || time.Since(start) != 0 {
			t.Errorf("another host: %d, %v after %s", status, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ask(t, ctx, limits, "a.example.com"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 200 || err != nil || time.Since(start) != 20*time.Second {
			t.Errorf("%d, %v after %s", status, err, time.Since(start))
		}

		// An hour is too long for a look-up, and the host is not asked for a while.
		hosts.set("a.example.com", answered{status: 503, after: "3600"})
		_, _ = ask(t, t.Context(), limits, "a.example.com")
		asked := hosts.requests["a.example.com"]
		hosts.set("a.example.com", answered{status: 200})
		for range 3 {
			if _, err := ask(t, t.Context(), limits, "a.example.com"); err == nil || err.Error() != "it wants to be asked again at 2000-01-01T00:01:00Z" {
				t.Errorf("got %v", err)
			}
		}
		if n := hosts.requests["a.example.com"]; n != asked {
			t.Errorf("%d requests after it asked for none", n-asked)
		}
		time.Sleep(longestRest)
		if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 200 || err != nil {
			t.Errorf("when it is well long before the hour is over: %d, %v", status, err)
		}

		// 404 with the header is an answer, and a clock that is far off is not believed.
		hosts.set("a.example.com", answered{status: 404, after: "3600"})
		for range 2 {
			if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 404 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		}
		hosts.set("a.example.com", answered{status: 429, after: "Fri, 01 Jan 2100 00:00:00 GMT"})
		_, _ = ask(t, t.Context(), limits, "a.example.com")
		time.Sleep(longestRest)
		if status, err := ask(t, t.Context(), limits, "a.example.com"); status != 429 || err != nil {
			t.Errorf("after the longest rest: %d, %v", status, err)
		}
	})
}

// Hosts are forgotten when a registry redirects to ever new ones.
func TestHostsAreForgotten(t *testing.T) {
	limits := NewHosts(nil, 60)
	for i := range 3 * mostHosts {
		limits.of(fmt.Sprintf("http://h%d.example.com", i))
	}
	if n := len(limits.hosts); n > mostHosts {
		t.Errorf("%d hosts are known", n)
	}
}
