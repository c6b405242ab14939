package watch

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// memberStore stores the events of one watch.
type memberStore struct {
	watches *Watches
	stream  stream
}

func (m *memberStore) Add(obj any) error { return m.guarded(func() { m.watches.saw(m.stream, obj) }) }
func (m *memberStore) Update(obj any) error {
	return m.guarded(func() { m.watches.saw(m.stream, obj) })
}
func (m *memberStore) Resync() error { return nil }

func (m *memberStore) Delete(obj any) error {
	return m.guarded(func() {
		if meta, ok := obj.(*metav1.PartialObjectMetadata); ok {
			m.watches.lost(m.stream.key(meta))
		}
	})
}

// Replace starts again with a list: at the start, and after a watch that could not be resumed.
func (m *memberStore) Replace(list []any, _ string) error {
	return m.guarded(func() { m.replace(list) })
}

// guarded processes an event of a watch. After a panic the kind counts as not watched, so that the polls read its
// objects; client-go would end the process.
func (m *memberStore) guarded(do func()) error {
	caught := panics.Catch(do)
	if caught == nil {
		return nil
	}
	w := m.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams[m.stream]; running != nil {
		running.listed, running.synced = false, false
	}
	go w.failed(m.stream.kind.String(), caught) // it may ask for the lock
	return nil
}

func (m *memberStore) replace(list []any) {
	there := map[manifest.Key]bool{}
	for _, obj := range list {
		if meta, ok := obj.(*metav1.PartialObjectMetadata); ok {
			there[m.stream.key(meta)] = true
			m.watches.saw(m.stream, obj)
		}
	}
	m.watches.mu.Lock()
	var gone []manifest.Key
	for key, known := range m.watches.members {
		inStream := key.Group == m.stream.kind.Group && key.Kind == m.stream.kind.Kind && (m.stream.namespace == "" || m.stream.namespace == key.Namespace)
		if inStream && !there[key] && (known.there || known.known) {
			gone = append(gone, key)
		}
	}
	if running := m.watches.streams[m.stream]; running != nil {
		running.listed, running.synced = true, true
	}
	m.watches.mu.Unlock()
	for _, key := range gone {
		m.watches.lost(key)
	}
}

func (s stream) key(meta *metav1.PartialObjectMetadata) manifest.Key {
	return manifest.Key{Group: s.kind.Group, Kind: s.kind.Kind, Namespace: meta.Namespace, Name: meta.Name}
}

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

func (s stream) isRecord() bool { return s.kind == v1alpha1.RecordKind.GroupKind() }

// saw notes the newest state of an object.
func (w *Watches) saw(s stream, obj any) {
	meta, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	set, now := meta.Labels[v1alpha1.LabelParent], recordState(meta.Annotations)
	taken := func(t *watched) bool { return true } // whether an unknown object needs judgement
	if !s.isRecord() {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(meta)
		if err != nil {
			return // an object that came as JSON converts
		}
		obj := &unstructured.Unstructured{Object: fields}
		set, now = meta.Labels[v1alpha1.LabelMember], state(obj)
		taken = func(t *watched) bool {
			return manifest.OwnedFields(obj, manifest.FieldManager) != "" || inventory.IsStray(obj, t.namespaces)
		}
	}
	t, differs, same := w.take(s.key(meta), set, now, meta.ResourceVersion, taken)
	if t != nil && (differs || !same && !s.isRecord()) {
		w.notice(Notice{Target: t.target, Status: !differs})
	}
}

// take notes the newest state of an object. It returns the object's target, whether the state differs from the judged
// one, and whether it is exactly the known version.
func (w *Watches) take(key manifest.Key, set string, now uint64, version string, taken func(*watched) bool) (t *watched, differs, same bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[key]
	if m == nil {
		t = w.targets[set]
		if t == nil || !taken(t) {
			return nil, false, true // an object of another tool or syncer, or a controller's copy with the label
		}
		m = &member{set: t.set}
		w.members[key] = m
	}
	same = m.version == version
	m.state, m.version, m.there = now, version, true
	return w.targets[m.set], m.differs(), same
}

// lost notes that an object is gone, or that it lost its label.
func (w *Watches) lost(key manifest.Key) {
	w.mu.Lock()
	m := w.members[key]
	if m == nil {
		w.mu.Unlock()
		return
	}
	m.there, m.state = false, 0
	t, differs := w.targets[m.set], m.differs()
	if !m.known {
		delete(w.members, key)
	}
	w.mu.Unlock()
	if t != nil && differs {
		w.notice(Notice{Target: t.target})
	}
}
