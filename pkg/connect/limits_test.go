package connect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/connect"
)

// quiet is the silence after which the requests of these tests end.
const quiet = 300 * time.Millisecond

// opened is a connection to a server with short limits, and the requests that it counted.
type opened struct {
	*connect.Server

	mu      sync.Mutex
	counted []string
}

func openWith(t *testing.T, s *apiServer, options connect.Options) *opened {
	t.Helper()
	o := &opened{}
	options.Requested = func(verb string, code int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.counted = append(o.counted, fmt.Sprintf("%s %d", verb, code))
	}
	server, err := connect.With(&rest.Config{
		Host: s.URL, BearerToken: "first", TLSClientConfig: rest.TLSClientConfig{CAFile: s.ca},
	}, connect.Limits{Read: quiet, Write: quiet}, options)
	if err != nil {
		t.Fatal(err)
	}
	o.Server = server
	return o
}

// hang answers a request when the client has given up.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// hangInBody answers a request without an end.
func hangInBody(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, "{")
	w.(http.Flusher).Flush()
	return hang(w, r)
}

// A request without an answer ends within the limit, for reads and writes, before the header or in the body.
func TestRequestThatIsNotAnsweredEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		answer func(http.ResponseWriter, *http.Request) bool
	}{
		"a read": {http.MethodGet, hang}, "a write": {http.MethodPatch, hang},
		"the body of a read": {http.MethodGet, hangInBody}, "the body of a write": {http.MethodPost, hangInBody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "first")
			s.answer = c.answer
			o := openWith(t, s, connect.Options{})
			_, err := ask(t, o.Config, c.method, "/api")
			wantError(t, err, "the server sent nothing for 300ms")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is no timeout", err)
			}
		})
	}
}

// A request does not wait as long as an API server, or a proxy before it, asks for. A watch is not told to wait at all.
func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t, "first")
	asked := "900"
	s.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", asked)
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	o := openWith(t, s, connect.Options{})
	for _, c := range []struct{ asked, path, want string }{
		{"900", "/api", "10"}, {"3", "/api", "3"}, {"900", "/api?watch=true", ""}, {"tomorrow", "/api", "tomorrow"},
	} {
		asked = c.asked
		resp, err := o.request(t, c.path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Retry-After"); got != c.want {
			t.Errorf("%s is told %q for %s, want %q", c.path, got, c.asked, c.want)
		}
	}
}

// request sends a request by the transport, as the clients of client-go do.
func (o *opened) request(t *testing.T, path string) (*http.Response, error) {
	t.Helper()
	client, err := rest.HTTPClientFor(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = 0
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.Config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client.Do(req)
}

// A silent watch stays open. A request without an answer is the sign that it may be dead: then it ends in a way that the
// clients begin it again. A watch whose beginning is not answered fails without the signs of a timeout.
func TestWatchEndsWhenTheServerIsSilentToOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t, "first")
	var mu sync.Mutex
	silent := false
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		isSilent := silent
		mu.Unlock()
		if !isSilent && r.URL.Query().Get("watch") == "true" {
			_, _ = io.WriteString(w, "{}\n")
			w.(http.Flusher).Flush()
		} else if !isSilent {
			return false
		}
		return hang(w, r)
	}
	o := openWith(t, s, connect.Options{})
	watch, err := o.request(t, "/api?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, watch.Body)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("a silent watch ended: %v", err)
	case <-time.After(2 * quiet):
	}
	mu.Lock()
	silent = true
	mu.Unlock()
	if _, err := ask(t, o.Config, http.MethodGet, "/api"); err == nil {
		t.Error("a silent server answers")
	}
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the watch ended with %v", err)
	}
	_, err = o.request(t, "/api?watch=true")
	if wantError(t, err, "the server sent nothing for 300ms"); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a client would try again by itself: %v", err)
	}
}

func TestRequestsAreCountedAndActAsAUser(t *testing.T) {
	t.Parallel()
	s := newServer(t, "first")
	o := openWith(t, s, connect.Options{As: "system:serviceaccount:etl:deployer"})
	if _, known := o.Dates.Now(); known {
		t.Error("a date is known without an answer")
	}
	if _, err := ask(t, o.Config, http.MethodGet, "/api/v1/namespaces/etl/pods"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := ask(t, o.Config, http.MethodDelete, "/api/v1/namespaces/etl/pods/a"); err == nil {
		t.Error("a closed server answers")
	}
	if !slices.Equal(o.counted, []string{"list 200", "delete 0"}) {
		t.Errorf("counted: %q", o.counted)
	}
	if !slices.Equal(s.users, []string{"system:serviceaccount:etl:deployer"}) {
		t.Errorf("the requests act as %q", s.users)
	}
	if date, known := o.Dates.Now(); !known || time.Since(date).Abs() > time.Minute {
		t.Errorf("the date is %s, known %t", date, known)
	}
}
