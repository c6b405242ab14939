package server

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// stream notifies open pages of a newer view, by server-sent events (https://html.spec.whatwg.org/#server-sent-events).
// It sends only the notice: a page fetches itself again, so that its content is made in one place.
type stream struct {
	daemon Daemon

	mu      sync.Mutex
	clients int
	endings map[*http.Server]chan struct{}
}

const (
	// mostClients is how many pages are kept fresh at once; the others look by themselves now and then.
	mostClients = 256
	// heartbeat is how often a comment is sent, so that neither side nor a proxy between takes the silence for an end.
	heartbeat = 20 * time.Second
	// between is the least time from one event to the next: a pass over many targets publishes many views.
	between = 250 * time.Millisecond
	// writing bounds the time in which a client reads a message.
	writing = 10 * time.Second
	// longest is how long a stream lasts. Its page opens another one, for which access is judged again.
	longest = time.Hour
)

func newStream(daemon Daemon) *stream {
	return &stream{daemon: daemon, endings: map[*http.Server]chan struct{}{}}
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "enough pages are kept fresh; this one has to look by itself", http.StatusServiceUnavailable)
		return
	}
	defer s.leave()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events until there are many
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), longest-rand.N(longest/4)) // not all of them at once
	defer cancel()
	c := client{w: w, control: http.NewResponseController(w)}
	c.follow(ctx, s.daemon, r.URL.Query().Get("seen"), s.ending(r))
}

// enter counts a client in, if there is room for one more.
func (s *stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients >= mostClients {
		return false
	}
	s.clients++
	return true
}

func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients--
}

// ending is closed when the server of a request begins to shut down. Shutdown waits for requests, and a stream has no
// end of its own.
func (s *stream) ending(r *http.Request) <-chan struct{} {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return nil // never
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endings[server] == nil {
		ending := make(chan struct{})
		s.endings[server] = ending
		server.RegisterOnShutdown(sync.OnceFunc(func() { close(ending) }))
	}
	return s.endings[server]
}

// client is one open page.
type client struct {
	w       io.Writer
	control *http.ResponseController
}

// follow sends an event for each newer view than the one that a client has seen, until the context or the server ends,
// or the client is gone.
func (c client) follow(ctx context.Context, daemon Daemon, seen string, ending <-chan struct{}) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	// Another answer on this connection has a deadline of its own, or none.
	defer func() { _ = c.control.SetWriteDeadline(time.Time{}) }()
	// With the first bytes the browser takes the stream for open.
	if c.send(": syncer\n\n") != nil {
		return
	}
	for {
		changed := daemon.Changed() // before the view, so that none in between is missed
		if now := version(daemon.View()); now != seen {
			seen = now
			if c.send(fmt.Sprintf("event: changed\nid: %s\ndata: %s\n\n", now, now)) != nil || !rests(ctx, ending) {
				return
			}
		}
		select {
		case <-changed:
		case <-beat.C:
			if c.send(": still here\n\n") != nil {
				return
			}
		case <-ending:
			return
		case <-ctx.Done():
			return
		}
	}
}

// rests waits until the next event may be sent; false: there is none to come.
func rests(ctx context.Context, ending <-chan struct{}) bool {
	timer := time.NewTimer(between)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ending:
	case <-ctx.Done():
	}
	return false
}

// send writes a part of the stream with a deadline of its own: the server's deadline is for whole answers.
func (c client) send(text string) error {
	// Only a test has a writer without deadlines; it does not block.
	_ = c.control.SetWriteDeadline(time.Now().Add(writing))
	if _, err := io.WriteString(c.w, text); err != nil {
		return err
	}
	return c.control.Flush()
}
