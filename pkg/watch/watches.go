// Package watch follows the members of targets, and the objects that held changes wait for, by watches of the API server. It
// shows the live objects without a request, reports changes, and decides nothing.
package watch

import (
	"context"
	"maps"
	"slices"
	"sync"

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

// Watches follow the members of ApplySets in one cluster: one watch for each kind, or one for each namespace of the kind
// where syncer may not watch the whole cluster. While nothing changes, they send no request. They resume by themselves and
// then report the changes in between.
//
// For each object they keep two hashes, of the last judged state and of the present state (BenchmarkWatchedObject), and the
// object as JSON.
type Watches struct {
	ctx    context.Context // of the watches
	server *cluster.Cluster
	notice func(Notice) // called by many goroutines; must not block
	failed func(kind string, err error)

	mu      sync.Mutex
	targets map[string]*watched // by the ID of their ApplySet
	members map[manifest.Key]*member
	streams streams
	index   index
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
	streams    []stream // that it uses
	judged     bool     // its changes are reported
	members    map[manifest.Key]*member
}

// scope is a kind, and whether its objects are in namespaces.
type scope struct {
	kind       schema.GroupKind
	namespaced bool
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
		ctx: ctx, server: c.Server(), notice: notice, failed: failed, targets: map[string]*watched{},
		members: map[manifest.Key]*member{}, streams: newStreams(), index: newIndex(),
	}
}

// Follow begins to follow a target with the kinds and namespaces of its record and its set, before it is first judged. What
// happens to it is not reported before that.
func (w *Watches) Follow(c *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, set []manifest.ID) {
	t := newWatched(c, target, record, set)
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.targets[t.set]; last == nil || last.cluster != c || !last.covers(t) {
		w.follow(t)
	}
}

// covers reports whether a target has the kinds and namespaces of another one.
func (t *watched) covers(other *watched) bool {
	has := func(s scope) bool { return slices.Contains(t.scopes, s) }
	return !slices.ContainsFunc(other.scopes, func(s scope) bool { return !has(s) }) &&
		!slices.ContainsFunc(other.namespaces, func(name string) bool { return !slices.Contains(t.namespaces, name) })
}

// Judged notes the live objects of a target as the last pass judged them, and its record: Watches report only later
// changes. It follows the target's kinds from now on.
func (w *Watches) Judged(cluster *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, live inventory.Members) {
	objects := make([]manifest.ID, 0, len(live))
	for _, obj := range live {
		objects = append(objects, manifest.IDOf(obj))
	}
	t := newWatched(cluster, target, record, objects) // before the lock
	live = maps.Clone(live)
	maps.DeleteFunc(live, func(_ manifest.Key, obj *unstructured.Unstructured) bool {
		return obj.GetLabels()[v1alpha1.LabelMember] != t.set // the watches do not see it
	})
	w.mu.Lock()
	w.follow(t)
	missed := !t.judged
	t.judged = true
	note(w, t, record, live)
	missed = missed && w.streams.showChange(t)
	w.mu.Unlock()
	if missed {
		w.notice(Notice{Target: target})
	}
}

// showChange reports whether a member differs from its judged state, by a watch that has listed it. Before the first judgement,
// differences are not reported.
func (s *streams) showChange(t *watched) bool {
	for key, m := range t.members {
		if m.differs() && s.haveListed(t, key, false) {
			return true
		}
	}
	return false
}

// note notes the judged state of a target.
func note(w *Watches, t *watched, record *v1alpha1.PipelineSync, live inventory.Members) {
	own := manifest.Key{Group: v1alpha1.RecordKind.Group, Kind: v1alpha1.RecordKind.Kind, Namespace: w.server.Namespace(), Name: t.target.RecordName()}
	for key, m := range t.members {
		if m.known && live[key] == nil && key != own {
			m.known = false
			if !m.there {
				w.dropMember(key, m)
			}
		}
	}
	for key, obj := range live {
		judge(w, t, key, state(obj), obj.GetResourceVersion())
		if w.streams.haveListed(t, key, true) {
			w.index.put(key, obj) // the watch may be behind the own write
		}
	}
	if record != nil {
		judge(w, t, own, recordState(record.Annotations), "")
	}
}

// newWatched returns a target with the scopes of its kinds. It may ask the API server for its kinds.
func newWatched(cluster *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, objects []manifest.ID) *watched {
	t := &watched{
		set: v1alpha1.ApplySetID(cluster.Namespace(), target), target: target, cluster: cluster,
		namespaces: inventory.Namespaces(cluster.Namespace(), record, objects),
	}
	for _, kind := range inventory.Kinds(record, objects) {
		namespaced, err := inventory.IsNamespaced(cluster.Server(), kind)
		if err != nil {
			t.unserved = append(t.unserved, kind.GroupKind()) // the poll of the target reads its objects
			continue
		}
		t.scopes = append(t.scopes, scope{kind.GroupKind(), namespaced})
	}
	return t
}

func judge(w *Watches, t *watched, key manifest.Key, state uint64, version string) {
	m := w.members[key]
	if m == nil {
		m = &member{}
	}
	w.addMember(t, key, m)
	m.known, m.judged = true, state
	if !m.there || m.state == state {
		m.version = version
	}
}

// addMember notes that an object belongs to a target.
func (w *Watches) addMember(t *watched, key manifest.Key, m *member) {
	if last := w.targets[m.set]; last != nil && last != t {
		delete(last.members, key)
	}
	m.set = t.set
	w.members[key], t.members[key] = m, m
}

func (w *Watches) dropMember(key manifest.Key, m *member) {
	delete(w.members, key)
	if t := w.targets[m.set]; t != nil {
		delete(t.members, key)
	}
}

// follow replaces a target, and starts the watches that are missing. The caller holds the lock.
func (w *Watches) follow(t *watched) {
	t.members = map[manifest.Key]*member{}
	last := w.targets[t.set]
	if last != nil {
		t.members, t.judged = last.members, last.judged
	}
	w.targets[t.set] = t
	w.use(t)
	w.release(last)
}

// use starts the watches that a target needs.
func (w *Watches) use(t *watched) {
	t.streams = w.streams.of(t, w.server.Namespace())
	for _, s := range t.streams {
		c := t.cluster
		if s.account == "" {
			c = w.server
		}
		w.begin(s, c)
		w.streams.running[s].users++
	}
}

// release ends the watches that no target needs any more; nil: nothing was used.
func (w *Watches) release(t *watched) {
	if t == nil {
		return
	}
	for _, s := range t.streams {
		running := w.streams.running[s]
		if running.users--; running.users > 0 {
			continue
		}
		running.cancel()
		delete(w.streams.running, s)
		w.index.dropStream(s, w.streams.running)
	}
}

// followAll chooses the watches of every target again.
func (w *Watches) followAll() {
	for _, t := range w.targets {
		last := watched{streams: t.streams}
		w.use(t)
		w.release(&last)
	}
}

// Forget stops following a target.
func (w *Watches) Forget(target v1alpha1.Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)]
	if t == nil {
		return
	}
	for key := range t.members {
		delete(w.members, key)
	}
	delete(w.targets, t.set)
	w.release(t)
}

// Differs reports whether a member of a target is not as it was last judged.
func (w *Watches) Differs(target v1alpha1.Target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)]
	return t != nil && t.differs()
}

func (t *watched) differs() bool {
	for _, m := range t.members {
		if m.differs() {
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
	return w.streams.follow(w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)])
}

// Shown waits until the watches of a target show its objects, a kind cannot be watched, or the context ends.
func (w *Watches) Shown(ctx context.Context, target v1alpha1.Target) {
	for {
		w.mu.Lock()
		t, changed := w.targets[v1alpha1.ApplySetID(w.server.Namespace(), target)], w.streams.changed
		waits := t != nil && w.streams.areBeginning(t)
		w.mu.Unlock()
		if !waits {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
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
	return slices.Sorted(maps.Keys(w.streams.unwatched(t)))
}

// UnwatchedKinds counts the kinds of all targets that are not watched now.
func (w *Watches) UnwatchedKinds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	kinds := map[string]bool{}
	for _, t := range w.targets {
		maps.Copy(kinds, w.streams.unwatched(t))
	}
	return len(kinds)
}

// Wait returns when every watch has ended, after the end of their context.
func (w *Watches) Wait() { w.running.Wait() }

// state of a live object, without the writes of Kubernetes' own controllers: if they take a field from syncer, syncer's
// own entry shows it.
func state(obj *unstructured.Unstructured) uint64 {
	return manifest.State(obj, manifest.QuietManagers)
}

// recordState is the part of a record that a person may change: whether syncer leaves its target alone.
func recordState(annotations map[string]string) uint64 {
	if annotations[v1alpha1.AnnotationReconcile] == v1alpha1.Disabled {
		return 1
	}
	return 0
}
