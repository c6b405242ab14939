package standin

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// Object is the JSON form of an object. A stored one is not changed.
type Object = map[string]any

// resource is one kind of objects of a server.
type resource struct{ group, version, name string }

// place is what a path names.
type place struct {
	resource
	namespace, object, subresource string
}

// parse reads a path such as apis/batch/v1/namespaces/etl/cronjobs/ingest/status.
func parse(path string) (place, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var p place
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		p.version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		p.group, p.version, parts = parts[1], parts[2], parts[3:]
	default:
		return p, false
	}
	if len(parts) >= 3 && parts[0] == "namespaces" {
		p.namespace, parts = parts[1], parts[2:]
	}
	p.name = parts[0]
	if len(parts) > 1 {
		p.object = parts[1]
	}
	if len(parts) > 2 {
		p.subresource = parts[2]
	}
	return p, len(parts) <= 3
}

// server holds the objects of one API server.
type server struct {
	wrote func(Object)

	mu      sync.Mutex
	version uint64
	kinds   map[resource]*kind
}

// kind holds the objects of one resource, and follows them.
type kind struct {
	objects  map[string]Object // by namespace and name
	history  []event           // the last ones
	watchers map[*watcher]bool
}

// event is one change of an object.
type event struct {
	kind    string // ADDED, MODIFIED, DELETED
	object  Object
	version uint64
}

// remembered is how many events of a kind a server keeps for watches that begin again.
const remembered = 1000

func newServer(wrote func(Object)) *server {
	return &server{wrote: wrote, version: 1000, kinds: map[resource]*kind{}}
}

// of returns the objects of a resource. The caller holds the lock.
func (s *server) of(r resource) *kind {
	k := s.kinds[r]
	if k == nil {
		k = &kind{objects: map[string]Object{}, watchers: map[*watcher]bool{}}
		s.kinds[r] = k
	}
	return k
}

func (p place) key() string { return p.namespace + "/" + p.object }

// get returns an object; nil: it is not there.
func (s *server) get(p place) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(p.resource).objects[p.key()]
}

// change replaces an object by what a function makes of it. The function does not keep or change the old one. A function
// that returns the old one changes nothing.
func (s *server) change(p place, make func(before Object) (Object, *status), dryRun bool) (Object, *status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(p.resource)
	before := k.objects[p.key()]
	after, failed := make(before)
	if failed != nil || isSame(before, after) {
		return after, failed
	}
	meta := metadata(after)
	if before == nil {
		meta["uid"], meta["creationTimestamp"], meta["generation"] = string(uuid.NewUUID()), now(), int64(1)
	}
	if dryRun {
		return after, nil
	}
	s.version++
	meta["resourceVersion"] = strconv.FormatUint(s.version, 10)
	k.objects[p.key()] = after
	what := "MODIFIED"
	if before == nil {
		what = "ADDED"
	}
	k.tell(event{what, after, s.version})
	s.wrote(after)
	return after, nil
}

// delete removes an object.
func (s *server) delete(p place) (Object, *status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(p.resource)
	before := k.objects[p.key()]
	if before == nil {
		return nil, failure(http.StatusNotFound, "NotFound", p.name+" "+p.object+" is not there").about(p)
	}
	delete(k.objects, p.key())
	s.version++
	last := clone(before)
	metadata(last)["resourceVersion"] = strconv.FormatUint(s.version, 10)
	k.tell(event{"DELETED", last, s.version})
	return last, nil
}

// tell passes an event to the watchers. The caller holds the lock of the server.
func (k *kind) tell(e event) {
	if k.history = append(k.history, e); len(k.history) > 2*remembered {
		k.history = append([]event(nil), k.history[remembered:]...)
	}
	for w := range k.watchers {
		w.add(e)
	}
}

// list returns the objects that a selection has, and the version of the list.
func (s *server) list(of selection) ([]Object, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(of.resource).selected(of), s.version
}

// selected lists objects. The caller holds the lock of the server.
func (k *kind) selected(of selection) []Object {
	out := []Object{}
	for _, o := range k.objects {
		if of.has(o) {
			out = append(out, o)
		}
	}
	return out
}

// selection is what a list or a watch asks for.
type selection struct {
	place
	labels labels.Selector
}

func (s selection) has(o Object) bool {
	meta := metadata(o)
	if s.namespace != "" && meta["namespace"] != s.namespace || s.object != "" && meta["name"] != s.object {
		return false
	}
	return s.labels.Empty() || s.labels.Matches(labelsOf(meta))
}

func labelsOf(meta Object) labels.Set {
	out := labels.Set{}
	all, _ := meta["labels"].(Object)
	for name, value := range all {
		out[name], _ = value.(string)
	}
	return out
}

// metadata is that of an object, which has one.
func metadata(o Object) Object {
	meta, ok := o["metadata"].(Object)
	if !ok {
		meta = Object{}
		o["metadata"] = meta
	}
	return meta
}

// clone copies an object down to its metadata.
func clone(o Object) Object {
	out := Object{}
	for name, value := range o {
		out[name] = value
	}
	meta := Object{}
	for name, value := range metadata(o) {
		meta[name] = value
	}
	out["metadata"] = meta
	return out
}
