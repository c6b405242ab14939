package watch

import (
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

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
	synctest.Test(t, func(t *testing.T) {
		var failed error
		s := stream{kind: schema.GroupKind{Kind: "Pod"}}
		w := &Watches{
			ctx: t.Context(), failed: func(_ string, err error) { failed = err }, notice: func(Notice) {},
			streams: map[stream]*streaming{s: {cancel: func() {}, listed: true, synced: true}}, members: map[manifest.Key]*member{},
		}
		store := &memberStore{watches: w, stream: s}
		var none *metav1.PartialObjectMetadata
		for name, take := range map[string]func() error{
			"added": func() error { return store.Add(none) }, "updated": func() error { return store.Update(none) },
			"deleted": func() error { return store.Delete(none) }, "listed": func() error { return store.Replace([]any{none}, "1") },
		} {
			failed, w.streams[s].synced = nil, true
			if err := take(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			if panics.In(failed) == nil || w.streams[s].synced {
				t.Errorf("%s: told %v, watched %t", name, failed, w.streams[s].synced)
			}
		}
	})
}
