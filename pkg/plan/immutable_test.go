package plan_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
)

const forced = "annotations: {syncer.dev/force: enabled}"

// immutableKinds are objects with a field that no update may change, and a change of that field.
var immutableKinds = map[string]struct {
	doc, from, to string
	resource      schema.GroupVersionResource
}{
	"Deployment": {
		doc:  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web, more: x}}\n    spec: {containers: [{name: main, image: \"web:1\"}]}\n",
		from: "matchLabels: {app: web}", to: "matchLabels: {more: x}", resource: bench.Deployments,
	},
	"ConfigMap": {
		doc:  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, annotations: {}}\nimmutable: true\ndata: {key: one}\n",
		from: "key: one", to: "key: two", resource: bench.ConfigMaps,
	},
	"Service": {
		doc:  "apiVersion: v1\nkind: Service\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec:\n  type: LoadBalancer\n  loadBalancerClass: example.com/one\n  ports: [{port: 80}]\n",
		from: "example.com/one", to: "example.com/two", resource: bench.Services,
	},
}

func TestImmutableFieldNeedsLeave(t *testing.T) {
	for kind, c := range immutableKinds {
		t.Run(kind, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(c.doc))
			before := b.Get(c.resource, b.Namespace, "it")

			changed := strings.Replace(c.doc, c.from, c.to, 1)
			_, err := pass.TryPlan(b, b.Set(changed))
			bench.WantError(t, err, kind+"/"+b.Namespace+"/it: ", "annotate it with syncer.dev/force: enabled to have it deleted and created again")

			allowed := b.Set(strings.Replace(changed, "annotations: {}", forced, 1))
			planned := pass.Plan(b, allowed)
			if got := bench.Actions(planned.Changes()); got != "Replace "+kind+"/it" || len(planned.Changes()[0].Fields) == 0 {
				t.Errorf("the plan: %s, fields %v", got, planned.Changes()[0].Fields)
			}
			pass.Sync(b, allowed)
			if after := b.Get(c.resource, b.Namespace, "it"); after == nil || after.GetUID() == before.GetUID() {
				t.Error("it is not another object")
			}
			pass.Sync(b, allowed)
			pass.NothingToDo(b, allowed)
		})
	}
}

func TestVolumeClaimIsNeverReplaced(t *testing.T) {
	b := bench.New(t)
	doc := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: it, namespace: $NS, " + forced + "}\nspec:\n  storageClassName: none\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n"
	pass.Sync(b, b.Set(doc))
	before := b.Get(bench.Claims, b.Namespace, "it").GetUID()
	_, err := pass.TryPlan(b, b.Set(strings.Replace(doc, "storageClassName: none", "storageClassName: other", 1)))
	bench.WantError(t, err, "PersistentVolumeClaim/"+b.Namespace+"/it: ", "syncer never deletes a PersistentVolumeClaim")
	if after := b.Get(bench.Claims, b.Namespace, "it"); after == nil || after.GetUID() != before {
		t.Error("the claim is not the same")
	}
}

// An object that would be refused anyway must not be deleted because of its immutable field.
func TestPlainInvalidNeverDeletes(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(immutableKinds["Deployment"].doc, "annotations: {}", forced, 1)
	pass.Sync(b, b.Set(doc))
	before := b.Get(bench.Deployments, b.Namespace, "it").GetUID()
	wrong := strings.NewReplacer("matchLabels: {app: web}", "matchLabels: {more: x}", "name: main,", "name: Not_A_Name,").Replace(doc)
	_, err := pass.TryPlan(b, b.Set(wrong))
	bench.WantError(t, err, "Deployment/"+b.Namespace+"/it: ", "spec.template.spec.containers[0].name")
	if after := b.Get(bench.Deployments, b.Namespace, "it"); after == nil || after.GetUID() != before {
		t.Error("it was deleted")
	}
}

func TestObjectsOfAnEndingNamespaceWait(t *testing.T) {
	b := bench.New(t)
	name := b.Namespace + "-ending"
	b.CreateNamespace(name)
	held := b.Create(bench.ConfigMaps, strings.ReplaceAll("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: holds, namespace: $NS-ending, finalizers: [example.com/hold]}\n", "$NS-ending", name))
	b.Delete(bench.Namespaces, "", name)
	b.Eventually("the namespace ends", func() bool {
		return b.Get(bench.Namespaces, "", name).Object["status"].(map[string]any)["phase"] == string(corev1.NamespaceTerminating)
	})
	_, err := pass.TryPlan(b, b.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late, namespace: "+name+"}\n"))
	bench.WantError(t, err, "ConfigMap/"+name+"/late: namespace "+name+" is being deleted; syncer tries again when it is gone")
	if _, err := b.Admin.Resource(bench.ConfigMaps).Namespace(name).Patch(b.Ctx, held.GetName(), types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
