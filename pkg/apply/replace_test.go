package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

// The pods of a StatefulSet hold its data: a new StatefulSet adopts them.
func TestStatefulSetIsReplacedAroundItsPods(t *testing.T) {
	b := bench.New(t)
	doc := "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: it, namespace: $NS, " + "annotations: {syncer.dev/force: enabled}" + "}\nspec:\n  serviceName: it\n  selector: {matchLabels: {app: it}}\n  template:\n    metadata: {labels: {app: it}}\n    spec: {containers: [{name: main, image: \"db:1\"}]}\n"
	pass.Sync(b, b.Set(doc))
	b.Eventually("it has a pod", func() bool { return b.Get(bench.Pods, b.Namespace, "it-0") != nil })
	pod := b.Get(bench.Pods, b.Namespace, "it-0").GetUID()
	pass.Sync(b, b.Set(strings.Replace(doc, "serviceName: it", "serviceName: other", 1)))
	if after := b.Get(bench.Pods, b.Namespace, "it-0"); after == nil || after.GetUID() != pod {
		t.Error("the pod did not survive")
	}
}

// An object that another controller's finalizer keeps causes a wait, without an error and without another deletion.
func TestReplacementWaitsForFinalizers(t *testing.T) {
	b := bench.New(t)
	doc := bench.Backfill("once", 1)
	pass.Sync(b, b.Set(doc))
	b.AwaitRun(bench.Jobs, "once", "Ended")
	b.Edit(bench.Jobs, "once", `{"metadata": {"finalizers": ["example.com/hold"]}}`)
	changed := b.Set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	applied := pass.Sync(b, changed)
	if len(applied.Held) != 1 || applied.Held[0].Held.Reason != manifest.HeldTerminating || !strings.Contains(applied.Held[0].Held.Message, "waits for its finalizers example.com/hold") {
		t.Fatalf("held: %+v", applied.Held)
	}
	if applied.Pending {
		t.Error("a change that waits is still pending")
	}
	patch := []byte(`[{"op": "remove", "path": "/metadata/finalizers/0"}]`)
	for _, finalizer := range b.Get(bench.Jobs, b.Namespace, "once").GetFinalizers() {
		if finalizer == "example.com/hold" {
			break
		}
		patch = []byte(`[{"op": "remove", "path": "/metadata/finalizers/1"}]`)
	}
	if _, err := b.Admin.Resource(bench.Jobs).Namespace(b.Namespace).Patch(b.Ctx, "once", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	pass.Sync(b, changed)
	if got := bench.Images(b.Get(bench.Jobs, b.Namespace, "once")); got != "backfill:2" {
		t.Errorf("it runs %s", got)
	}
}
