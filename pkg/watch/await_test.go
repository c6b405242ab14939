package watch_test

import (
	"context"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// nightly is a Job whose controller is the test.
	nightly = `
apiVersion: batch/v1
kind: Job
metadata: {name: it, namespace: $NS}
spec:
  managedBy: example.com/test
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}
`
	runs = `{"status":{"startTime":"2026-01-01T00:00:00Z","active":1}}`

	batchPod = `
apiVersion: v1
kind: Pod
metadata: {name: it, namespace: $NS}
spec: {restartPolicy: Never, containers: [{name: main, image: x, envFrom: [{configMapRef: {name: used}}]}]}
`
)

// A wait ends with the state of the object that holds the change, and not before.
func TestAwaitChangeEndsWithTheStateThatHolds(t *testing.T) {
	for name, c := range map[string]struct {
		reason  manifest.HoldReason
		rollout bool
		hash    string
		object  string               // "": it does not exist yet
		begin   func(b *bench.Bench) // makes the state that holds
		other   func(b *bench.Bench) // a change that does not end it
		end     func(b *bench.Bench, id manifest.ID)
	}{
		"a run ends": {
			reason: manifest.HeldRunning, object: batchPod,
			other: func(b *bench.Bench) { b.Status(bench.Pods, "it", `{"status":{"phase":"Running"}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Status(bench.Pods, "it", `{"status":{"phase":"Succeeded"}}`) },
		},
		"a running object is deleted": {
			reason: manifest.HeldRunning, object: nightly,
			begin: func(b *bench.Bench) { b.Status(bench.Jobs, "it", runs) },
			other: func(b *bench.Bench) { b.Edit(bench.Jobs, "it", `{"metadata":{"annotations":{"a":"b"}}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Delete(bench.Jobs, b.Namespace, "it") },
		},
		"a pod uses the object no more": {
			reason: manifest.HeldInUse, rollout: true, object: batchPod,
			other: func(b *bench.Bench) { b.Status(bench.Pods, "it", `{"status":{"phase":"Running"}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Status(bench.Pods, "it", `{"status":{"phase":"Failed"}}`) },
		},
		"an object becomes healthy": {
			reason: manifest.HeldHealth, object: nightly,
			other: func(b *bench.Bench) { b.Edit(bench.Jobs, "it", `{"metadata":{"annotations":{"a":"b"}}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Status(bench.Jobs, "it", runs) },
		},
		"an object runs again": {
			reason: manifest.HeldRerun, hash: "2026-01-01T00:00:00Z", object: nightly,
			begin: func(b *bench.Bench) { b.Status(bench.Jobs, "it", runs) },
			other: func(b *bench.Bench) { b.Edit(bench.Jobs, "it", `{"metadata":{"annotations":{"a":"b"}}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Delete(bench.Jobs, b.Namespace, "it") },
		},
		"a deleted object is gone": {
			reason: manifest.HeldTerminating, object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, finalizers: [example.com/slow]}\n",
			begin: func(b *bench.Bench) { b.Delete(bench.ConfigMaps, b.Namespace, "it") },
			other: func(b *bench.Bench) { b.Edit(bench.ConfigMaps, "it", `{"metadata":{"annotations":{"a":"b"}}}`) },
			end: func(b *bench.Bench, _ manifest.ID) {
				b.Edit(bench.ConfigMaps, "it", `{"metadata":{"finalizers":null}}`)
			},
		},
		"a dependency comes": {
			reason: manifest.HeldDependency,
			other:  func(b *bench.Bench) { b.Create(bench.ConfigMaps, bench.Settings("other", "1")) },
			end:    func(b *bench.Bench, _ manifest.ID) { b.Create(bench.ConfigMaps, bench.Settings("it", "1")) },
		},
		"a dependency is gone": {
			reason: manifest.HeldDependency, object: nightly,
			begin: func(b *bench.Bench) { b.Status(bench.Jobs, "it", runs) },
			other: func(b *bench.Bench) { b.Edit(bench.Jobs, "it", `{"metadata":{"annotations":{"a":"b"}}}`) },
			end:   func(b *bench.Bench, _ manifest.ID) { b.Delete(bench.Jobs, b.Namespace, "it") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			id := manifest.IDOf(b.Object(bench.Settings("it", "1")))
			if c.object != "" {
				obj := b.Object(c.object)
				id = manifest.IDOf(obj)
				b.Create(resources[id.Kind], c.object)
			}
			if c.begin != nil {
				c.begin(b)
			}
			change := manifest.Change{
				ID:   manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.Namespace, Name: "used"},
				Held: &manifest.Held{Reason: c.reason, Rollout: c.rollout, Hash: c.hash, For: []manifest.ID{id}},
			}
			ended := make(chan error, 1)
			go func() { ended <- watch.AwaitChange(b.Ctx, b.Cluster, []manifest.Change{change, change}) }()
			c.other(b)
			select {
			case err := <-ended:
				t.Fatalf("the wait ended too early: %v", err)
			case <-time.After(500 * time.Millisecond): // a change is noticed in some milliseconds
			}
			c.end(b, id)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// resources are the resources of the objects of these tests, by kind.
var resources = map[string]schema.GroupVersionResource{"Pod": bench.Pods, "Job": bench.Jobs, "ConfigMap": bench.ConfigMaps}

// One change may wait for the end of an object's run, and another change of the same object may wait for something else.
func TestAwaitChangeNoticesEachReason(t *testing.T) {
	b := bench.New(t)
	id := manifest.IDOf(b.Create(bench.Jobs, nightly))
	b.Status(bench.Jobs, "it", runs)
	waits := func(reason manifest.HoldReason) manifest.Change {
		return manifest.Change{Held: &manifest.Held{Reason: reason, For: []manifest.ID{id}}}
	}
	if err := watch.AwaitChange(b.Ctx, b.Cluster, []manifest.Change{waits(manifest.HeldRunning), waits(manifest.HeldHealth)}); err != nil {
		t.Errorf("a healthy object is waited for: %v", err)
	}
}

// A wait that no object can end lasts until its context ends.
func TestAwaitChangeLastsUntilItsContextEnds(t *testing.T) {
	b := bench.New(t)
	id := manifest.IDOf(b.Create(bench.Jobs, nightly))
	b.Status(bench.Jobs, "it", runs)
	for name, held := range map[string][]manifest.Change{
		"no object": nil, "a running object": {{Held: &manifest.Held{Reason: manifest.HeldRunning, For: []manifest.ID{id}}}},
	} {
		ctx, cancel := context.WithTimeout(b.Ctx, 300*time.Millisecond)
		if err := watch.AwaitChange(ctx, b.Cluster, held); ctx.Err() == nil || err == nil {
			t.Errorf("%s: the wait ended: %v", name, err)
		}
		cancel()
	}
	unknown := manifest.ID{APIVersion: "example.com/v1", Kind: "Widget", Namespace: b.Namespace, Name: "it"}
	err := watch.AwaitChange(b.Ctx, b.Cluster, []manifest.Change{{Held: &manifest.Held{Reason: manifest.HeldRunning, For: []manifest.ID{unknown}}}})
	bench.WantError(t, err, `no matches for kind "Widget"`)
}
