package watch

import (
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// A wait for an object runs in a goroutine of its own: a panic there ends the wait.
func TestAPanicEndsAWait(t *testing.T) {
	held := manifest.Change{ID: manifest.ID{APIVersion: "v1", Kind: "Pod", Namespace: "data", Name: "a"}, Action: manifest.Update}
	held.Hold(manifest.HeldRunning, "it runs", held.ID)
	unconnected := &cluster.Cluster{} // it has no kinds to look up
	if err := AwaitChange(t.Context(), unconnected, []manifest.Change{held}); panics.In(err) == nil {
		t.Errorf("got %v", err)
	}
}

// A watch goes on after an object that cannot be taken in. Its kind counts as one that is not watched.
func TestAPanicLeavesTheWatch(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
		"name": "a", "namespace": "data", "labels": map[string]any{v1alpha1.LabelMember: "set"},
	}}}
	for name, event := range map[string]func(*feed) error{
		"added": func(f *feed) error { return f.Add(obj) }, "updated": func(f *feed) error { return f.Update(obj) },
		"deleted": func(f *feed) error { return f.Delete(obj) }, "listed": func(f *feed) error { return f.Replace([]any{obj}, "1") },
	} {
		synctest.Test(t, func(t *testing.T) {
			var failed error
			s := stream{kind: schema.GroupKind{Kind: "Pod"}}
			known := &member{set: "set", known: true, there: true}
			w := NewWatches(t.Context(), &cluster.Cluster{}, func(Notice) { panic("a fault") }, func(_ string, err error) { failed = err })
			w.streams.running[s] = &streaming{cancel: func() {}, listed: true, synced: true}
			w.targets["set"] = &watched{set: "set", judged: true, members: map[manifest.Key]*member{s.key(obj): known}}
			w.members[s.key(obj)] = known
			if err := event(&feed{watches: w, stream: s}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			if panics.In(failed) == nil || w.streams.running[s].synced {
				t.Errorf("%s: told %v, watched %t", name, failed, w.streams.running[s].synced)
			}
		})
	}
}
