package watch

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// index has the objects of the followed kinds as their watches show them, by the member label. It keeps each object as JSON,
// which needs a fifth of the memory of its decoded form. It keeps no values of Secrets. The lock of its Watches guards it.
type index struct {
	objects map[manifest.Key]indexed
	sets    map[string]map[manifest.Key]bool // by the value of the label
	gone    map[manifest.Key]tombstone
	waiters map[manifest.Key][]*waiter // woken when an object changes
}

// tombstone is an object that a watch showed to be gone. The answer to an earlier write may come after that.
type tombstone struct {
	version string
	at      time.Time
}

// tombstoneAge is the time after which no answer to a write from before the end of an object is expected.
const tombstoneAge = 2 * time.Minute

// indexed is one object.
type indexed struct {
	set     string // the value of the member label
	version string // the resource version
	content []byte
}

func newIndex() index {
	return index{objects: map[manifest.Key]indexed{}, sets: map[string]map[manifest.Key]bool{}, gone: map[manifest.Key]tombstone{}, waiters: map[manifest.Key][]*waiter{}}
}

// put notes the newest state of an object, unless the index has a newer one.
func (x *index) put(key manifest.Key, obj *unstructured.Unstructured) {
	version := obj.GetResourceVersion()
	if last, ok := x.objects[key]; ok && !isNewer(version, last.version) {
		return
	}
	if end, ok := x.gone[key]; ok && !isNewer(version, end.version) {
		return
	}
	delete(x.gone, key)
	content, err := obj.MarshalJSON()
	if err != nil {
		x.drop(key) // an object that came as JSON has a JSON form
		return
	}
	x.drop(key)
	set := obj.GetLabels()[v1alpha1.LabelMember]
	x.objects[key] = indexed{set: set, version: version, content: content}
	if x.sets[set] == nil {
		x.sets[set] = map[manifest.Key]bool{}
	}
	x.sets[set][key] = true
	x.wake(key)
}

// isNewer compares resource versions: Kubernetes orders those of one resource (KEP-5504). A version that cannot be compared
// counts as newer.
func isNewer(version, last string) bool {
	order, err := resourceversion.CompareResourceVersion(version, last)
	return err != nil || order > 0
}

// end notes that a watch does not show an object any more, since a version.
func (x *index) end(key manifest.Key, version string) {
	x.drop(key)
	now := time.Now()
	maps.DeleteFunc(x.gone, func(_ manifest.Key, end tombstone) bool { return now.Sub(end.at) > tombstoneAge })
	x.gone[key] = tombstone{version, now}
}

func (x *index) drop(key manifest.Key) {
	last, ok := x.objects[key]
	if !ok {
		return
	}
	delete(x.objects, key)
	if delete(x.sets[last.set], key); len(x.sets[last.set]) == 0 {
		delete(x.sets, last.set)
	}
	x.wake(key)
}

// dropStream drops the objects of a watch that ended, and that no other watch shows.
func (x *index) dropStream(s stream, others map[stream]*streaming) {
	var dropped []manifest.Key
	for key := range x.objects {
		if s.has(key) && !shownBy(key, others) {
			dropped = append(dropped, key)
		}
	}
	for _, key := range dropped {
		x.drop(key)
	}
}

func shownBy(key manifest.Key, streams map[stream]*streaming) bool {
	for s := range streams {
		if s.has(key) {
			return true
		}
	}
	return false
}

// of returns the content of the objects of a set, of one kind and namespace; an empty namespace stands for all.
func (x *index) of(set string, kind schema.GroupKind, namespace string) [][]byte {
	var out [][]byte
	for key := range x.sets[set] {
		if key.Group == kind.Group && key.Kind == kind.Kind && (namespace == "" || namespace == key.Namespace) {
			out = append(out, x.objects[key].content)
		}
	}
	return out
}

// get decodes an object; nil: the index does not have it.
func (x *index) get(key manifest.Key) *unstructured.Unstructured {
	last, ok := x.objects[key]
	if !ok {
		return nil
	}
	return decoded(last.content)
}

// decoded returns an object of the index. The caller owns it.
func decoded(content []byte) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(content); err != nil {
		return nil // MarshalJSON made the content
	}
	return obj
}

// Members returns the live objects of a kind with the label of a target, as the watches show them; an empty namespace stands
// for all. It sends no request. It reports false if the watches do not show them: the kind is not watched there now, or in
// another version, or its values are not kept. Then the caller has to ask the API server.
func (w *Watches) Members(c *cluster.Cluster, target v1alpha1.Target, kind schema.GroupVersionKind, namespace string) ([]unstructured.Unstructured, bool) {
	contents, ok := contentsOf(w, c.Account(), v1alpha1.ApplySetID(w.server.Namespace(), target), kind, namespace)
	if !ok {
		return nil, false
	}
	out := make([]unstructured.Unstructured, 0, len(contents))
	for _, content := range contents {
		obj := decoded(content)
		if obj == nil {
			return nil, false
		}
		out = append(out, *obj)
	}
	return out, true
}

// contentsOf returns the objects of a set that one watch shows.
func contentsOf(w *Watches, account, set string, kind schema.GroupVersionKind, namespace string) ([][]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	running := w.streams.running[stream{account: account, kind: kind.GroupKind()}]
	if running == nil && namespace != "" {
		running = w.streams.running[stream{account: account, namespace: namespace, kind: kind.GroupKind()}]
	}
	if !running.follows() || !running.indexed || kind.Version != "" && kind.Version != running.version {
		return nil, false
	}
	return w.index.of(set, kind.GroupKind(), namespace), true
}
