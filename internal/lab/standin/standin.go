// Package standin serves many API servers from memory, in one process and on one address: each has a path of its own, such
// as https://127.0.0.1:6443/cluster-17. It is for measurements of clients that work with hundreds of clusters.
//
// A stand-in speaks the API server's protocol: discovery, reads, lists, watches with initial events and bookmarks,
// server-side applies with dry runs, creates, updates and deletes, each with resource versions and conflicts. It answers in
// JSON only. It does not validate, default, convert, admit or authorize anything, it does not merge the fields of several
// managers, it does not page lists, and it has no controllers.
package standin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

// Options say what to serve. All but Wrote are required.
type Options struct {
	Names     []string // of the servers, which are their paths
	CAFile    string   // is written: the PEM file of the authority that clients must trust
	Documents Documents
	// Wrote receives each new state of an object, in the order of one server's writes. It must not block. Optional.
	Wrote func(server string, object Object)
}

// Servers are many API servers on one address.
type Servers struct {
	Address string // https://127.0.0.1:PORT

	options  Options
	http     *http.Server
	byName   map[string]*server
	counted  counter
	watches  atomic.Int64
	sockets  atomic.Int64
	silenced sync.Map // by name: a channel that is closed when the server answers again
}

// maxStreams is how many requests of one connection are under way at once, as with kube-apiserver.
const maxStreams = 100

// Start serves on a free port.
func Start(options Options) (*Servers, error) {
	config, err := lab.ServerTLS(options.CAFile)
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return nil, err
	}
	s := &Servers{Address: "https://" + listener.Addr().String(), options: options, byName: map[string]*server{}}
	for _, name := range options.Names {
		s.byName[name] = newServer(func(o Object) {
			if options.Wrote != nil {
				options.Wrote(name, o)
			}
		})
	}
	s.http = &http.Server{
		Handler: s, TLSConfig: config, ConnState: s.connected, ReadHeaderTimeout: time.Minute,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
	go func() { _ = s.http.Serve(listener) }() // until Stop
	return s, nil
}

// Stop ends every request and closes every connection.
func (s *Servers) Stop() error {
	err := s.http.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Servers) connected(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.sockets.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.sockets.Add(-1)
	}
}

// Connections counts those that are open now.
func (s *Servers) Connections() int { return int(s.sockets.Load()) }

// Watches counts those that are open now.
func (s *Servers) Watches() int { return int(s.watches.Load()) }

// Requests counts the requests since the last call, such as "patch configmaps (dry run)". Those that no stand-in knows an
// answer to begin with "unknown".
func (s *Servers) Requests() map[string]int { return s.counted.taken() }

// Silence has a server take requests and answer none, until the returned function is called. Its watches stay open and show
// nothing.
func (s *Servers) Silence(name string) (end func()) {
	over := make(chan struct{})
	s.silenced.Store(name, over)
	return sync.OnceFunc(func() {
		s.silenced.Delete(name)
		close(over)
	})
}

// Patch changes an object by a merge patch, as a controller of a server does. The path is that of the object below its server's.
func (s *Servers) Patch(name, path string, patch Object) error {
	at, ok := parse(path)
	if !ok || s.byName[name] == nil {
		return fmt.Errorf("there is no %s in %s", path, name)
	}
	_, failed := s.byName[name].change(at, func(before Object) (Object, *status) { return merged(at, before, patch) }, false)
	if failed != nil {
		return errors.New(failed.message)
	}
	return nil
}

// silent waits while a server is silent. It returns an error when the client has gone meanwhile.
func (s *Servers) silent(ctx context.Context, name string) error {
	over, ok := s.silenced.Load(name)
	if !ok {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over.(chan struct{}):
		return nil
	}
}

// ServeHTTP implements http.Handler.
func (s *Servers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	of := s.byName[name]
	if of == nil {
		http.Error(w, "there is no server "+name, http.StatusNotFound)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+Token(name) {
		answer(w, failure(http.StatusUnauthorized, "Unauthorized", "the token is not that of "+name))
		return
	}
	if s.silent(r.Context(), name) != nil {
		return
	}
	if text, ok := s.options.Documents["/"+path]; ok {
		s.counted.add("get /" + path)
		w.Header().Set("Content-Type", text.ContentType)
		_, _ = w.Write(text.Content)
		return
	}
	at, ok := parse(path)
	if !ok {
		s.counted.add("unknown " + r.Method + " /" + path)
		answer(w, failure(http.StatusNotFound, "NotFound", "the stand-in does not know /"+path))
		return
	}
	h := handler{servers: s, name: name, server: of, at: at, w: w, r: r}
	h.handle()
}

// Token is the credentials for a server.
func Token(name string) string { return "token-of-" + name }

// counter counts requests.
type counter struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[what]++
}

func (c *counter) taken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := maps.Clone(c.counts)
	c.counts = nil
	if out == nil {
		out = map[string]int{}
	}
	return out
}
