package watch_test

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var configMapKind = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// shown returns the value of a ConfigMap as the watches show it.
func (w *watching) shown(name string) (value string, ok bool) {
	w.T.Helper()
	objects, ok := w.watches.Members(w.Cluster, w.Target, configMapKind, w.Namespace)
	for i := range objects {
		if objects[i].GetName() == name {
			value, _ = bench.Value(&objects[i], "data", "key").(string)
		}
	}
	return value, ok
}

// The live objects of a target cost no request once their kinds are watched.
func TestWatchesShowTheObjectsOfATarget(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"), bench.Settings("b", "1"))
	b.Deploy(set)
	w := follow(b)
	if _, ok := w.shown("a"); ok {
		t.Error("a kind that is not watched is shown")
	}
	w.watches.Follow(b.Cluster, b.Target, b.Record(), set.IDs())
	w.watches.Shown(b.Ctx, b.Target)
	if value, ok := w.shown("a"); !ok || value != "1" {
		t.Errorf("the first state: %q, %t", value, ok)
	}
	if fields, statuses := w.told(); fields+statuses > 0 {
		t.Errorf("%d notices before the target was judged", fields+statuses)
	}
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	w.Eventually("the change is shown", func() bool { value, _ := w.shown("a"); return value == "2" })
	b.Delete(bench.ConfigMaps, b.Namespace, "b")
	w.Eventually("the deletion is shown", func() bool { value, ok := w.shown("b"); return ok && value == "" })
	requests := b.Requests(func() {
		if _, err := inventory.Look(b.Ctx, b.Cluster, w.watches, b.Target, nil, set); err != nil {
			t.Error(err)
		}
	})
	if len(requests) > 0 {
		t.Errorf("requests: %s", bench.Shortly(requests))
	}
	other := configMapKind
	other.Version = "v2"
	if _, ok := w.watches.Members(b.Cluster, b.Target, other, b.Namespace); ok {
		t.Error("objects are shown in a version in which they were not read")
	}
	w.watches.Forget(b.Target)
	if _, ok := w.shown("a"); ok {
		t.Error("a kind that no target needs is shown")
	}
}

// The answer to an own write counts at once, also before the watch shows it.
func TestWatchesShowAnOwnWriteAtOnce(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	w := follow(b)
	w.judged()
	b.Deploy(b.Set(bench.Settings("a", "2"), bench.Settings("new", "1")))
	live, err := inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record())
	if err != nil {
		t.Fatal(err)
	}
	w.watches.Judged(b.Cluster, b.Target, b.Record(), live)
	if value, ok := w.shown("a"); !ok || value != "2" {
		t.Errorf("the changed object: %q, %t", value, ok)
	}
	if value, _ := w.shown("new"); value != "1" {
		t.Errorf("the new object: %q", value)
	}
}

// Values of Secrets are not kept: the API server is asked for them.
func TestWatchesKeepNoSecrets(t *testing.T) {
	b := bench.New(t)
	set := b.Set("apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\nstringData: {password: hunter2}\n")
	b.Deploy(set)
	w := follow(b)
	w.watches.Follow(b.Cluster, b.Target, b.Record(), set.IDs())
	w.watches.Shown(b.Ctx, b.Target)
	if !w.watches.Follows(b.Target) {
		t.Error("Secrets are not watched")
	}
	if _, ok := w.watches.Members(b.Cluster, b.Target, schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, b.Namespace); ok {
		t.Error("a Secret is shown")
	}
}

// A wait for an object that the watches show needs no watch of its own.
func TestAWaitForAShownObjectSendsNoRequest(t *testing.T) {
	b := bench.New(t)
	set := b.Set(nightly)
	b.Deploy(set)
	b.Status(bench.Jobs, "it", runs)
	w := follow(b)
	w.judged()
	id := manifest.IDOf(set[0])
	change := manifest.Change{ID: id, Held: &manifest.Held{Reason: manifest.HeldRunning, For: []manifest.ID{id}}}
	w.Eventually("the run is shown", func() bool {
		objects, ok := w.watches.Members(b.Cluster, b.Target, schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, b.Namespace)
		return ok && len(objects) == 1 && bench.Value(&objects[0], "status", "active") != nil
	})
	ended := make(chan error, 1)
	requests := b.Requests(func() {
		go func() { ended <- w.watches.Await(b.Ctx, b.Cluster, []manifest.Change{change}) }()
		select {
		case err := <-ended:
			t.Fatalf("the wait ended too early: %v", err)
		case <-time.After(300 * time.Millisecond): // a change is noticed in some milliseconds
		}
		b.Delete(bench.Jobs, b.Namespace, "it")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if len(requests) > 0 {
		t.Errorf("requests: %s", bench.Shortly(requests))
	}
}

// Of several objects, the first that no longer holds a change ends the wait; an object that no watch shows is watched.
func TestAWaitForShownAndOtherObjects(t *testing.T) {
	b := bench.New(t)
	set := b.Set(nightly)
	b.Deploy(set)
	b.Status(bench.Jobs, "it", runs)
	b.Create(bench.Pods, batchPod)
	w := follow(b)
	w.judged()
	job, pod := manifest.IDOf(set[0]), manifest.IDOf(b.Object(batchPod))
	change := manifest.Change{ID: job, Held: &manifest.Held{Reason: manifest.HeldRunning, For: []manifest.ID{job, pod}}}
	ended := make(chan error, 1)
	go func() { ended <- w.watches.Await(b.Ctx, b.Cluster, []manifest.Change{change}) }()
	b.Status(bench.Pods, "it", `{"status":{"phase":"Succeeded"}}`)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(b.Ctx, 200*time.Millisecond)
	defer cancel()
	change.Held.For = []manifest.ID{job}
	if err := w.watches.Await(ctx, b.Cluster, []manifest.Change{change}); err == nil {
		t.Error("the wait for a running job ended")
	}
}
