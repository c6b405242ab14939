package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/view"
)

// restartable is a server that stops and starts at one address, as a daemon that is updated does.
type restartable struct {
	handler http.Handler
	address string
	host    string
	server  *http.Server
	done    chan error
}

func newRestartable(t *testing.T, handler http.Handler) *restartable {
	t.Helper()
	host, err := lab.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	r := &restartable{handler: handler, host: host}
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *restartable) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", r.host)
	if err != nil {
		t.Fatal(err)
	}
	r.address = "http://" + r.host
	r.server, r.done = &http.Server{Handler: r.handler}, make(chan error, 1)
	go func() { r.done <- r.server.Serve(listener) }()
}

// stop shuts the server down, as a daemon does, and fails where that has to wait.
func (r *restartable) stop(t *testing.T) {
	t.Helper()
	if r.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // a stream lasts longer
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("shutting down: %v", err)
	}
	if err := <-r.done; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serving: %v", err)
	}
	r.server = nil
}

// follow opens a stream and gives its lines.
func follow(t *testing.T, address, seen string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/stream?seen="+seen, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // it may be closed
	return answer, bufio.NewScanner(answer.Body)
}

// next is the next line of a stream that is not empty; empty: the stream has ended.
func next(lines *bufio.Scanner) string {
	for lines.Scan() {
		if lines.Text() != "" {
			return lines.Text()
		}
	}
	return ""
}

func TestStreamTellsOfNewerViews(t *testing.T) {
	daemon := publish(fixture(morning))
	address := servePages(t, daemon)
	answer, lines := follow(t, address, version(daemon.View()))
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("it is %s", got)
	}
	if got := next(lines); got != ": syncer" {
		t.Errorf("it begins with %q", got)
	}
	daemon.Publish(fixture(morning.Add(time.Minute)))
	if got := next(lines); got != "event: changed" {
		t.Errorf("a newer view is told by %q", got)
	}
	// A page that is older than the view hears it at once.
	_, lines = follow(t, address, "older")
	if first, second := next(lines), next(lines); first != ": syncer" || second != "event: changed" {
		t.Errorf("an old page hears %q, %q", first, second)
	}
}

func TestStreamEndsWithItsServer(t *testing.T) {
	daemon := publish(fixture(morning))
	server := newRestartable(t, New(daemon))
	_, lines := follow(t, server.address, version(daemon.View()))
	next(lines)
	server.stop(t) // which waits for no stream
	if got := next(lines); got != "" {
		t.Errorf("it goes on with %q", got)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	daemon := publish(fixture(morning))
	s, left := newStream(daemon), make(chan struct{}, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		left <- struct{}{}
	}))
	t.Cleanup(server.Close)
	s.clients = mostClients - 1
	answer, lines := follow(t, server.URL, version(daemon.View()))
	next(lines)
	refused, _ := follow(t, server.URL, "")
	<-left
	if answer.StatusCode != http.StatusOK || refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
		t.Errorf("the last one gets %s, one more gets %s", answer.Status, refused.Status)
	}
	// A client that leaves makes room.
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	<-left
	if again, _ := follow(t, server.URL, ""); again.StatusCode != http.StatusOK {
		t.Errorf("the next one gets %s", again.Status)
	}
}

// recorder keeps what a stream writes, under synctest.
type recorder struct {
	*httptest.ResponseRecorder
	fail error
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.fail != nil {
		return 0, r.fail
	}
	return r.ResponseRecorder.Write(p)
}

func (r *recorder) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// streamed runs a stream for some time, in which something may happen, and gives what it wrote. A goroutine that is left
// fails the bubble.
func streamed(t *testing.T, daemon *publisher, lasts time.Duration, happens func()) string {
	t.Helper()
	out := &recorder{ResponseRecorder: httptest.NewRecorder()}
	synctest.Test(t, func(t *testing.T) {
		daemon.changed = make(chan struct{}) // of the bubble
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/stream?seen="+version(daemon.View()), nil)
		done := make(chan struct{})
		go func() {
			newStream(daemon).ServeHTTP(out, request)
			close(done)
		}()
		synctest.Wait()
		happens()
		<-done
	})
	return out.Body.String()
}

func TestStreamBeatsWhileNothingHappens(t *testing.T) {
	daemon := publish(fixture(morning))
	got := streamed(t, daemon, 3*heartbeat+time.Second, func() {})
	if want := ": syncer\n\n" + strings.Repeat(": still here\n\n", 3); got != want {
		t.Errorf("it writes %q", got)
	}
}

func TestStreamEndsByItself(t *testing.T) {
	daemon := publish(fixture(morning))
	got := streamed(t, daemon, 10*longest, func() {})
	if n := strings.Count(got, "still here"); n < int(longest/heartbeat*3/4)-1 || n > int(longest/heartbeat) {
		t.Errorf("it lasted for %d beats", n)
	}
}

// A pass over many targets publishes many views; a page needs only the last one.
func TestStreamGathersWhatComesAtOnce(t *testing.T) {
	daemon := publish(fixture(morning))
	got := streamed(t, daemon, heartbeat-time.Second, func() {
		for i := range 100 {
			daemon.Publish(&view.View{At: morning.Add(time.Duration(i+1) * time.Second)})
			synctest.Wait()
		}
	})
	if n := strings.Count(got, "event: changed"); n != 2 {
		t.Errorf("100 views are %d events", n)
	}
	if last := version(daemon.View()); !strings.Contains(got, "data: "+last+"\n") {
		t.Errorf("the last view, %s, is not told: %q", last, got)
	}
}

// A client that is gone, or reads nothing, ends its stream at the next word.
func TestStreamEndsWithItsClient(t *testing.T) {
	out := &recorder{ResponseRecorder: httptest.NewRecorder(), fail: errors.New("broken pipe")}
	newStream(publish(fixture(morning))).ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/stream", nil))
	if out.Body.Len() > 0 {
		t.Errorf("it writes %q", out.Body)
	}
}
