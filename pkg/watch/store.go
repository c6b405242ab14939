package watch

import (
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// memberStore stores the events of one watch.
type memberStore struct {
	watches *Watches
	stream  stream
}

func (m *memberStore) Add(obj any) error    { return m.saw(obj) }
func (m *memberStore) Update(obj any) error { return m.saw(obj) }
func (m *memberStore) Resync() error        { return nil }

func (m *memberStore) saw(obj any) error {
	return m.guarded(func() {
		if live := objectOf(obj); live != nil {
			m.watches.saw(m.stream, live)
		}
	})
}

func (m *memberStore) Delete(obj any) error {
	return m.guarded(func() {
		if live := objectOf(obj); live != nil {
			m.watches.lost(m.stream.key(live), live.GetResourceVersion())
		}
	})
}

// Replace starts again with a list: at the start, and after a watch that could not be resumed.
func (m *memberStore) Replace(list []any, _ string) error {
	return m.guarded(func() { m.replace(list) })
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
	w, there := m.watches, map[manifest.Key]bool{}
	for _, event := range list {
		if live := objectOf(event); live != nil {
			there[m.stream.key(live)] = true
			w.saw(m.stream, live)
		}
	}
	for _, key := range w.listed(m.stream, there) {
		w.lost(key, "")
	}
}

// listed notes that a stream has listed its objects. It returns the known objects that are not among them.
func (w *Watches) listed(s stream, there map[manifest.Key]bool) (gone []manifest.Key) {
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
	if running := w.streams[s]; running != nil {
		running.listed, running.synced, running.indexed = true, true, s.keepsContent()
		w.announce()
	}
	return gone
}
