package watch

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// feed takes in the events of one watch.
type feed struct {
	watches *Watches
	stream  stream
}

func (f *feed) Add(obj any) error    { return f.event(obj) }
func (f *feed) Update(obj any) error { return f.event(obj) }
func (f *feed) Resync() error        { return nil }

func (f *feed) event(obj any) error {
	return f.guarded(func() {
		if live := objectOf(obj); live != nil {
			f.saw(live)
		}
	})
}

func (f *feed) Delete(obj any) error {
	return f.guarded(func() {
		if live := objectOf(obj); live != nil {
			f.watches.lost(f.stream.key(live), live.GetResourceVersion())
		}
	})
}

// Replace starts again with a list: at the start, and after a watch that could not be resumed.
func (f *feed) Replace(list []any, _ string) error {
	return f.guarded(func() { f.replace(list) })
}

// objectOf returns the object of an event; of some kinds only its metadata. It returns nil for any other value.
func objectOf(event any) *unstructured.Unstructured {
	switch obj := event.(type) {
	case *unstructured.Unstructured:
		return obj
	case *metav1.PartialObjectMetadata:
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return nil // an object that came as JSON converts
		}
		return &unstructured.Unstructured{Object: fields}
	}
	return nil
}

// guarded processes an event of a watch. After a panic the kind counts as not watched, so that the polls read its
// objects; client-go would end the process.
func (f *feed) guarded(do func()) error {
	caught := panics.Catch(do)
	if caught == nil {
		return nil
	}
	w := f.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams.running[f.stream]; running != nil {
		running.listed, running.synced = false, false
	}
	go w.failed(f.stream.kind.String(), caught) // it may ask for the lock
	return nil
}

func (f *feed) replace(list []any) {
	w, there := f.watches, map[manifest.Key]bool{}
	for _, event := range list {
		if live := objectOf(event); live != nil {
			there[f.stream.key(live)] = true
			f.saw(live)
		}
	}
	for _, key := range f.listed(there) {
		w.lost(key, "")
	}
}

// listed notes that a stream has listed its objects. It returns the known objects that are not among them.
func (f *feed) listed(there map[manifest.Key]bool) (gone []manifest.Key) {
	w, s := f.watches, f.stream
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, known := range w.members {
		if s.has(key) && !there[key] && (known.there || known.known) {
			gone = append(gone, key)
		}
	}
	for key := range w.index.objects {
		if s.has(key) && !there[key] && w.members[key] == nil {
			gone = append(gone, key)
		}
	}
	if running := w.streams.running[s]; running != nil {
		running.listed, running.synced, running.indexed = true, true, s.keepsContent()
		w.streams.announce()
	}
	return gone
}

// saw notes the newest state of an object.
func (f *feed) saw(obj *unstructured.Unstructured) {
	w, s := f.watches, f.stream
	set, now := obj.GetLabels()[v1alpha1.LabelParent], recordState(obj.GetAnnotations())
	taken := func(*watched) bool { return true } // whether an unknown object needs judgement
	if !s.isRecord() {
		set, now = obj.GetLabels()[v1alpha1.LabelMember], state(obj)
		taken = func(t *watched) bool {
			return manifest.OwnedFields(obj, manifest.FieldManager) != "" || inventory.IsStray(obj, t.namespaces)
		}
	}
	key := s.key(obj)
	if s.keepsContent() {
		w.mu.Lock()
		w.index.put(key, obj)
		w.mu.Unlock()
	}
	t, differs, same := w.take(key, set, now, obj.GetResourceVersion(), taken)
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
		m = &member{}
		w.addMember(t, key, m)
	}
	same = m.version == version
	m.state, m.version, m.there = now, version, true
	return w.reports(m), m.differs(), same
}

// reports returns the target of a member if its changes are reported; nil: they are not.
func (w *Watches) reports(m *member) *watched {
	if t := w.targets[m.set]; t != nil && t.judged {
		return t
	}
	return nil
}

// lost notes that an object is gone, or that it lost its label, since a version; empty: it is not known since when.
func (w *Watches) lost(key manifest.Key, version string) {
	if t, differs := w.leave(key, version); t != nil && differs {
		w.notice(Notice{Target: t.target})
	}
}

// leave notes that no watch shows an object any more. It returns the object's target, and whether that is news.
func (w *Watches) leave(key manifest.Key, version string) (t *watched, differs bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if version != "" {
		w.index.end(key, version)
	} else {
		w.index.drop(key)
	}
	m := w.members[key]
	if m == nil {
		return nil, false
	}
	m.there, m.state = false, 0
	if !m.known {
		w.dropMember(key, m)
	}
	return w.reports(m), m.differs()
}
