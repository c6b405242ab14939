package apply_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

var (
	claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	pods   = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

const forced = "annotations: {syncer.dev/force: enabled}"

// immutableKinds are objects with a field that no update may change, and a change of that field.
var immutableKinds = map[string]struct {
	doc, from, to string
	resource      schema.GroupVersionResource
}{
	"Deployment": {
		doc:  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web, more: x}}\n    spec: {containers: [{name: main, image: \"web:1\"}]}\n",
		from: "matchLabels: {app: web}", to: "matchLabels: {more: x}", resource: deployments,
	},
	"ConfigMap": {
		doc:  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, annotations: {}}\nimmutable: true\ndata: {key: one}\n",
		from: "key: one", to: "key: two", resource: configMaps,
	},
	"Service": {
		doc:  "apiVersion: v1\nkind: Service\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec:\n  type: LoadBalancer\n  loadBalancerClass: example.com/one\n  ports: [{port: 80}]\n",
		from: "example.com/one", to: "example.com/two", resource: services,
	},
}

func TestImmutableFieldNeedsLeave(t *testing.T) {
	for kind, c := range immutableKinds {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			b.sync(b.set(c.doc))
			before := b.get(c.resource, b.namespace, "it")

			changed := strings.Replace(c.doc, c.from, c.to, 1)
			_, err := b.tryPlan(b.set(changed))
			wantError(t, err, kind+"/"+b.namespace+"/it: ", "annotate it with syncer.dev/force: enabled to have it deleted and created again")

			allowed := b.set(strings.Replace(changed, "annotations: {}", forced, 1))
			planned := b.plan(allowed)
			if got := actions(planned.Changes()); got != "Replace "+kind+"/it" || len(planned.Changes()[0].Fields) == 0 {
				t.Errorf("the plan: %s, fields %v", got, planned.Changes()[0].Fields)
			}
			b.sync(allowed)
			if after := b.get(c.resource, b.namespace, "it"); after == nil || after.GetUID() == before.GetUID() {
				t.Error("it is not another object")
			}
			b.sync(allowed)
			b.nothingToDo(allowed)
		})
	}
}

// The pods of a StatefulSet hold its data: a new StatefulSet adopts them.
func TestStatefulSetIsReplacedAroundItsPods(t *testing.T) {
	b := newBench(t)
	doc := "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: it, namespace: $NS, " + forced + "}\nspec:\n  serviceName: it\n  selector: {matchLabels: {app: it}}\n  template:\n    metadata: {labels: {app: it}}\n    spec: {containers: [{name: main, image: \"db:1\"}]}\n"
	b.sync(b.set(doc))
	b.eventually("it has a pod", func() bool { return b.get(pods, b.namespace, "it-0") != nil })
	pod := b.get(pods, b.namespace, "it-0").GetUID()
	b.sync(b.set(strings.Replace(doc, "serviceName: it", "serviceName: other", 1)))
	if after := b.get(pods, b.namespace, "it-0"); after == nil || after.GetUID() != pod {
		t.Error("the pod did not survive")
	}
}

func TestVolumeClaimIsNeverReplaced(t *testing.T) {
	b := newBench(t)
	doc := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: it, namespace: $NS, " + forced + "}\nspec:\n  storageClassName: none\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n"
	b.sync(b.set(doc))
	before := b.get(claims, b.namespace, "it").GetUID()
	_, err := b.tryPlan(b.set(strings.Replace(doc, "storageClassName: none", "storageClassName: other", 1)))
	wantError(t, err, "PersistentVolumeClaim/"+b.namespace+"/it: ", "syncer never deletes a PersistentVolumeClaim")
	if after := b.get(claims, b.namespace, "it"); after == nil || after.GetUID() != before {
		t.Error("the claim is not the same")
	}
}

// An object that would be refused anyway must not be deleted because of its immutable field.
func TestPlainInvalidNeverDeletes(t *testing.T) {
	b := newBench(t)
	doc := strings.Replace(immutableKinds["Deployment"].doc, "annotations: {}", forced, 1)
	b.sync(b.set(doc))
	before := b.get(deployments, b.namespace, "it").GetUID()
	wrong := strings.NewReplacer("matchLabels: {app: web}", "matchLabels: {more: x}", "name: main,", "name: Not_A_Name,").Replace(doc)
	_, err := b.tryPlan(b.set(wrong))
	wantError(t, err, "Deployment/"+b.namespace+"/it: ", "spec.template.spec.containers[0].name")
	if after := b.get(deployments, b.namespace, "it"); after == nil || after.GetUID() != before {
		t.Error("it was deleted")
	}
}

// An object that another controller's finalizer keeps causes a wait, without an error and without another deletion.
func TestReplacementWaitsForFinalizers(t *testing.T) {
	b := newBench(t)
	doc := backfill("once", 1)
	b.sync(b.set(doc))
	b.awaitRun(jobs, "once", "Ended")
	b.edit(jobs, "once", `{"metadata": {"finalizers": ["example.com/hold"]}}`)
	changed := b.set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	applied := b.sync(changed)
	if len(applied.Held) != 1 || applied.Held[0].Held.Reason != manifest.HeldTerminating || !strings.Contains(applied.Held[0].Held.Message, "waits for its finalizers example.com/hold") {
		t.Fatalf("held: %+v", applied.Held)
	}
	patch := []byte(`[{"op": "remove", "path": "/metadata/finalizers/0"}]`)
	for _, finalizer := range b.get(jobs, b.namespace, "once").GetFinalizers() {
		if finalizer == "example.com/hold" {
			break
		}
		patch = []byte(`[{"op": "remove", "path": "/metadata/finalizers/1"}]`)
	}
	if _, err := b.admin.Resource(jobs).Namespace(b.namespace).Patch(b.ctx, "once", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	b.sync(changed)
	if got := images(b.get(jobs, b.namespace, "once")); got != "backfill:2" {
		t.Errorf("it runs %s", got)
	}
}

func TestObjectsOfAnEndingNamespaceWait(t *testing.T) {
	b := newBench(t)
	name := b.namespace + "-ending"
	b.createNamespace(name)
	held := b.create(configMaps, strings.ReplaceAll("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: holds, namespace: $NS-ending, finalizers: [example.com/hold]}\n", "$NS-ending", name))
	b.delete(namespaces, "", name)
	b.eventually("the namespace ends", func() bool {
		return b.get(namespaces, "", name).Object["status"].(map[string]any)["phase"] == string(corev1.NamespaceTerminating)
	})
	_, err := b.tryPlan(b.set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late, namespace: " + name + "}\n"))
	wantError(t, err, "ConfigMap/"+name+"/late: namespace "+name+" is being deleted; syncer tries again when it is gone")
	if _, err := b.admin.Resource(configMaps).Namespace(name).Patch(b.ctx, held.GetName(), types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
