// Package watch follows the members of targets, and the objects that held changes wait for, by watches of the API
// server. It reports changes and decides nothing.
package watch

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Notice says that something happened to a member of a target's ApplySet, or to its record.
type Notice struct {
	Target v1alpha1.Target
	// Status says that only the object's status changed, or an object that is quiet by design.
	Status bool
}

// Watches follow the members of ApplySets in one cluster by their metadata: one watch for each kind, or one for each
// namespace of the kind where syncer may not watch the whole cluster. While nothing changes, they send no request. They
// resume by themselves and then report the changes in between.
//
// For each object they keep two hashes, of the last judged state and of the present state: about 300 bytes
// (BenchmarkWatchedObject).
type Watches struct {
	ctx    context.Context // of the watches; they begin when a target is first judged
	server *cluster.Cluster
	notice func(Notice) // called by many goroutines; must not block
	failed func(kind string, err error)

	mu      sync.Mutex
	targets map[string]*watched // by the ID of their ApplySet
	streams map[stream]*streaming
	refused map[schema.GroupKind]bool // kinds that may not be watched in the whole cluster
	members map[manifest.Key]*member
	running sync.WaitGroup
}

// watched is a target whose members are followed.
type watched struct {
	set        string // the ID of its ApplySet
	target     v1alpha1.Target
	cluster    *cluster.Cluster
	scopes     []scope
	unserved   []schema.GroupKind
	namespaces []string
}

// scope is a kind, and whether its objects are in namespaces.
type scope struct {
	kind       schema.GroupKind
	namespaced bool
}

// stream is one watch; an empty account is syncer's own, and an empty namespace the whole cluster.
type stream struct {
	account, namespace string
	kind               schema.GroupKind
}

type streaming struct {
	cancel  context.CancelFunc
	listed  bool      // all objects were listed at least once
	synced  bool      // an open watch misses nothing from then on
	open    bool      // the API server has begun to answer the watch
	closed  time.Time // when it last closed
	failing bool
	ended   bool // it could not begin; the next follow starts it again
}

// reopening is the time in which a watch that ended opens again; after it, the kind counts as not watched. The API
// server ends each watch within an hour or two, and the watch is open again in milliseconds, from where it was.
const reopening = 5 * time.Second

// follows reports whether a change is noticed.
func (s *streaming) follows() bool {
	return s != nil && s.synced && (s.open || time.Since(s.closed) < reopening)
}

// unwatched reports whether changes go unnoticed for longer than a watch takes to begin.
func (s *streaming) unwatched() bool {
	return !s.follows() && (s == nil || s.failing || time.Since(s.closed) > reopening)
}

// member is an object with a target's label.
type member struct {
	set           string
	version       string // of the newest state, or of the one that was judged
	state, judged uint64
	there         bool // in the cluster, by a watch
	known         bool // judged
}

// NewWatches prepares to follow the members of targets in a cluster until the context ends. It calls failed when a watch
// begins to fail.
func NewWatches(ctx context.Context, c *cluster.Cluster, notice func(Notice), failed func(kind string, err error)) *Watches {
	return &Watches{
		ctx: ctx, server: c.Server(), notice: notice, failed: failed, targets: map[string]*watched{}, streams: map[stream]*streaming{},
		refused: map[schema.GroupKind]bool{}, members: map[manifest.Key]*member{},
	}
}

// Judged notes the live objects of a target as the last pass judged them, and its record: Watches report only later
// changes. It follows the target's kinds from now on.
func (w *Watches) Judged(cluster *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, live inventory.Members) {
	t := w.scoped(cluster, target, record, live) // before the lock: it may ask the API server for its kinds
	live = maps.Clone(live)
	maps.DeleteFunc(live, func(_ manifest.Key, obj *unstructured.Unstructured) bool {
		return obj.GetLabels()[v1alpha1.LabelMember] != t.set // the watches do not see it
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	own := manifest.Key{Group: v1alpha1.RecordKind.Group, Kind: v1alpha1.RecordKind.Kind, Namespace: w.server.Namespace(), Name: target.RecordName()}
	for key, m := range w.members {
		if m.set == t.set && m.known && live[key] == nil && key != own {
			m.known = false
			if !m.there {
				delete(w.members, key)
			}
		}
	}
	for key, obj := range live {
		w.judge(key, t.set, state(obj), obj.GetResourceVersion())
	}
	if record != nil {
		w.judge(own, t.set, recordState(record.Annotations), "")
	}
	w.targets[t.set] = t
	w.follow()
}

func (w *Watches) scoped(cluster *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, live inventory.Members) *watched {
	objects := make(manifest.Set, 0, len(live))
	for _, obj := range live {
		objects = append(objects, obj)
	}
	t := &watched{
		set: v1alpha1.ApplySetID(w.server.Namespace(), target), target: target, cluster: cluster,
		namespaces: inventory.Namespaces(w.server.Namespace(), record, objects),
	}
	for _, kind := range inventory.Kinds(record, objects) {
		namespaced, err := inventory.IsNamespaced(w.server, kind)
		if err != nil {
			t.unserved = append(t.unserved, kind.GroupKind()) // the poll of the target reads its objects
			continue
		}
		t.scopes = append(t.scopes, scope{kind.GroupKind(), namespaced})
	}
	return t
}

func (w *Watches) judge(key manifest.Key, set string, state uint64, version string) {
	m := w.members[key]
	if m == nil {
		m = &member{}
		w.members[key] = m
	}
	m.set, m.known, m.judged = set, true, state
	if !m.there || m.state == state {
		m.version = version
	}
}

// Forget stops following a target.
func (w *Watches) Forget(target v1alpha1.Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set := v1alpha1.ApplySetID(w.server.Namespace(), target)
	delete(w.targets, set)
	maps.DeleteFunc(w.members, func(_ manifest.Key, m *member) bool { return m.set == set })
	w.follow()
}

// Differs reports whether a member of a target is not as it was last judged.
func (w *Watches) Differs(target v1alpha1.Target) bool {
	set := v1alpha1.ApplySetID(w.server.Namespace(), target)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if m.set == set && m.differs() {
			return true
		}
	}
	return false
}

func (m *member) differs() bool { return m.there != m.known || m.there && m.state != m.judged }

// Follows reports whether every kind of a target is watched without a fault.
func (w *Watches) Follows(target v1alpha1.Target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)]
	if !ok {
		return false
	}
	return len(t.unserved) == 0 && !slices.ContainsFunc(w.streamsOf(t), func(s stream) bool { return !w.streams[s].follows() })
}

// Unwatched lists the kinds of a target whose objects are not watched now, sorted: their watch is refused or does not
// answer, or the API server does not serve them.
func (w *Watches) Unwatched(target v1alpha1.Target) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)]
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(w.unwatched(t)))
}

// UnwatchedKinds counts the kinds of all targets that are not watched now.
func (w *Watches) UnwatchedKinds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	kinds := map[string]bool{}
	for _, t := range w.targets {
		maps.Copy(kinds, w.unwatched(t))
	}
	return len(kinds)
}

// unwatched are the names of a target's kinds that are not watched. The caller holds the lock.
func (w *Watches) unwatched(t *watched) map[string]bool {
	kinds := map[string]bool{}
	for _, kind := range t.unserved {
		kinds[kind.String()] = true
	}
	for _, s := range w.streamsOf(t) {
		if w.streams[s].unwatched() {
			kinds[s.kind.String()] = true
		}
	}
	return kinds
}

// Wait returns when every watch has ended, after the end of their context.
func (w *Watches) Wait() { w.running.Wait() }

// streamsOf lists the watches that a target needs.
func (w *Watches) streamsOf(t *watched) []stream {
	streams := []stream{{namespace: w.server.Namespace(), kind: v1alpha1.RecordKind.GroupKind()}}
	for _, s := range t.scopes {
		at := stream{account: t.cluster.Account(), kind: s.kind}
		if !s.namespaced || at.account == "" && !w.refused[at.kind] {
			streams = append(streams, at)
			continue
		}
		for _, namespace := range t.namespaces {
			at.namespace = namespace
			streams = append(streams, at)
		}
	}
	return streams
}

// follow starts the watches that are missing and ends the unneeded ones. The caller holds the lock.
func (w *Watches) follow() {
	wanted := map[stream]*cluster.Cluster{}
	for _, t := range w.targets {
		for _, s := range w.streamsOf(t) {
			wanted[s] = t.cluster
			if s.account == "" {
				wanted[s] = w.server
			}
		}
	}
	for s, running := range w.streams {
		if wanted[s] == nil {
			running.cancel()
			delete(w.streams, s)
		}
	}
	for s, cluster := range wanted {
		last := w.streams[s]
		if last != nil && !last.ended {
			continue
		}
		ctx, cancel := context.WithCancel(w.ctx)
		w.streams[s] = &streaming{cancel: cancel, closed: time.Now(), failing: last != nil && last.failing}
		w.running.Go(func() { w.stream(ctx, cluster, s) })
	}
}
