package standin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// watcher is an open watch.
type watcher struct {
	of selection

	mu     sync.Mutex
	events []event
	shown  map[string]bool // the objects that the client knows
	more   chan struct{}
}

// add passes an event on.
func (w *watcher) add(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// take returns what happened since the last call, as the client is to see it.
func (w *watcher) take() []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []event
	for _, e := range w.events {
		key := keyOf(e.object)
		switch is := e.kind != "DELETED" && w.of.has(e.object); {
		case is && w.shown[key]:
			e.kind = "MODIFIED"
		case is:
			e.kind, w.shown[key] = "ADDED", true
		case w.shown[key]:
			e.kind = "DELETED"
			delete(w.shown, key)
		default:
			continue
		}
		out = append(out, e)
	}
	w.events = nil
	return out
}

func keyOf(o Object) string {
	namespace, _ := metadata(o)["namespace"].(string)
	name, _ := metadata(o)["name"].(string)
	return namespace + "/" + name
}

// follow opens a watch from a version; 0: from all objects that are there, which it returns. It fails where the version is
// too old.
func (s *server) follow(of selection, from uint64) (*watcher, []Object, uint64, *status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(of.resource)
	w := &watcher{of: of, shown: map[string]bool{}, more: make(chan struct{}, 1)}
	first := k.selected(of)
	for _, o := range first {
		w.shown[keyOf(o)] = true
	}
	if from > 0 {
		first = nil
		if len(k.history) > remembered && k.history[0].version > from+1 {
			return nil, nil, 0, failure(http.StatusGone, "Expired", "too old resource version")
		}
		for _, e := range k.history {
			if e.version > from {
				w.add(e)
			}
		}
	}
	k.watchers[w] = true
	return w, first, s.version, nil
}

func (s *server) unfollow(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of(w.of.resource).watchers, w)
}

// bookmarkInterval is about how often the API server tells a watch the newest version.
const bookmarkInterval = time.Minute

// watch answers until the client goes, or its time is over.
func (h *handler) watch() {
	query := h.r.URL.Query()
	of, err := h.selection()
	if err != nil {
		answer(h.w, failure(http.StatusBadRequest, "BadRequest", err.Error()))
		return
	}
	from, _ := strconv.ParseUint(query.Get("resourceVersion"), 10, 64) // empty: from the begin
	initial := query.Get("sendInitialEvents") == "true"
	if initial {
		from = 0
	}
	w, first, version, failed := h.server.follow(of, from)
	if failed != nil {
		answer(h.w, failed)
		return
	}
	h.servers.watches.Add(1)
	defer h.servers.watches.Add(-1)
	defer h.server.unfollow(w)
	ctx := h.r.Context()
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
	}
	h.w.Header().Set("Content-Type", "application/json")
	h.w.WriteHeader(http.StatusOK)
	out := &stream{handler: h, encoder: json.NewEncoder(h.w)}
	for _, o := range first {
		out.send("ADDED", h.shown(o))
	}
	if initial {
		out.bookmark(version, Object{"k8s.io/initial-events-end": "true"})
	}
	out.run(ctx, w)
}

// stream writes the events of one watch.
type stream struct {
	handler *handler
	encoder *json.Encoder
	failed  error
}

func (s *stream) send(kind string, o Object) {
	if s.failed == nil {
		s.failed = s.encoder.Encode(Object{"type": kind, "object": o})
	}
}

func (s *stream) bookmark(version uint64, annotations Object) {
	at := s.handler.at
	apiVersion, kind := at.version, kindOf[at.name]
	if at.group != "" {
		apiVersion = at.group + "/" + at.version
	}
	meta := Object{"resourceVersion": strconv.FormatUint(version, 10)}
	if annotations != nil {
		meta["annotations"] = annotations
	}
	s.send("BOOKMARK", s.handler.shown(Object{"kind": kind, "apiVersion": apiVersion, "metadata": meta}))
}

// kindOf names the kinds of the resources that clients watch. A bookmark has no other way to its kind.
var kindOf = map[string]string{
	"configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount", "cronjobs": "CronJob", "sparkapplications": "SparkApplication",
	"pipelinesyncs": "PipelineSync", "secrets": "Secret",
}

// run passes events on until the context ends.
func (s *stream) run(ctx context.Context, w *watcher) {
	tick := time.NewTicker(bookmarkInterval)
	defer tick.Stop()
	for {
		for _, e := range w.take() {
			s.send(e.kind, s.handler.shown(e.object))
		}
		if s.failed != nil || http.NewResponseController(s.handler.w).Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.more:
		case <-tick.C:
			s.bookmark(s.handler.server.now(), nil)
		}
		if s.handler.servers.silent(ctx, s.handler.name) != nil {
			return
		}
	}
}

// now is the version of the last write.
func (s *server) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}
