package plan_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// valves is a kind with two versions. Only objects of the old version need conversion.
const valves = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: valves.$NS.example.com}
spec:
  group: $NS.example.com
  scope: Namespaced
  names: {kind: Valve, listKind: ValveList, plural: valves, singular: valve}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func defineValves(b *bench.Bench) {
	b.T.Helper()
	definition := b.Create(bench.CRDs, valves)
	b.Eventually("valves are served", func() bool {
		return (*health.Judge)(nil).Health(b.Get(bench.CRDs, "", definition.GetName())).Status == health.Healthy
	})
	b.Restart() // with the new kind
	b.Eventually("valves can be listed", func() bool { return listValves(b, "v1beta1") == nil && listValves(b, "v1") == nil })
}

func listValves(b *bench.Bench, version string) error {
	_, err := b.Admin.Resource(schema.GroupVersionResource{Group: b.Group(), Version: version, Resource: "valves"}).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{})
	return err
}

func valveDefinition(b *bench.Bench) string { return "valves." + b.Group() }

// uncompared are ways in which the API server fails to answer for an object that git did not change.
var uncompared = map[string]struct {
	doc     string
	prepare func(*bench.Bench)
	spoil   func(*bench.Bench)
	says    string
	// The known facts about the object: that it can be read, and the field that another manager took.
	readable bool
	field    string
	missing  bool
	from, to string // a later change of doc in git that the API server refuses or cannot try
}{
	"a claim that was grown by hand": {
		doc: "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: it, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], storageClassName: $NS, resources: {requests: {storage: 1Gi}}}\n",
		prepare: func(b *bench.Bench) {
			b.Create(schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"},
				"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: $NS}\nprovisioner: example.com/disk\nallowVolumeExpansion: true\n")
		},
		spoil: func(b *bench.Bench) {
			b.Eventually("the claim is bound", func() bool {
				phase, _, _ := unstructured.NestedString(b.Get(bench.Claims, b.Namespace, "it").Object, "status", "phase")
				return phase == "Bound"
			})
			b.Edit(bench.Claims, "it", `{"spec":{"resources":{"requests":{"storage":"5Gi"}}}}`)
		},
		says: "field can not be less than", readable: true, field: "spec.resources.requests.storage", from: "1Gi", to: "512Mi",
	},
	"a conversion webhook that is down": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: defineValves,
		spoil: func(b *bench.Bench) {
			patchJSON(b, bench.CRDs, valveDefinition(b), `[{"op":"replace","path":"/spec/conversion","value":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://127.0.0.1:1/convert"}}}}]`)
			b.Eventually("valves cannot be converted", func() bool { return listValves(b, "v1beta1") != nil })
		},
		says: "conversion webhook for", from: "spec: {a: b", to: "spec: {a: c",
	},
	"a version that is not served any more": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: defineValves,
		spoil: func(b *bench.Bench) {
			patchJSON(b, bench.CRDs, valveDefinition(b), `[{"op":"replace","path":"/spec/versions/1/served","value":false}]`)
			b.Eventually("v1beta1 is not served", func() bool { return listValves(b, "v1beta1") != nil })
			b.Restart()
		},
		says: "the cluster serves no kind Valve in", readable: true, from: "spec: {a: b", to: "spec: {a: c",
	},
	"a kind that is gone": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: defineValves,
		spoil: func(b *bench.Bench) {
			b.Delete(bench.CRDs, "", valveDefinition(b))
			b.Eventually("valves are gone", func() bool { return listValves(b, "v1") != nil && b.Get(bench.CRDs, "", valveDefinition(b)) == nil })
			b.Restart()
		},
		says: "the cluster serves no kind Valve in", missing: true, from: "spec: {a: b", to: "spec: {a: c",
	},
	"an admission webhook that is down": {
		doc: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: it, namespace: $NS, labels: {a: b}}\n",
		spoil: func(b *bench.Bench) {
			b.Create(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: $NS}
webhooks:
- name: closed.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  clientConfig: {url: "https://127.0.0.1:1/admit"}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [serviceaccounts]}]
`)
			b.Eventually("service accounts are refused", func() bool {
				_, err := b.Admin.Resource(bench.ServiceAccounts).Namespace(b.Namespace).Create(b.Ctx, b.Object("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: probe, namespace: $NS}\n"), metav1.CreateOptions{DryRun: []string{"All"}})
				return err != nil
			})
		},
		says: "failed calling webhook", readable: true, from: "labels: {a: b", to: "labels: {a: c",
	},
	"a namespace that is gone": {
		doc:     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS-more}\ndata: {a: b}\n",
		prepare: func(b *bench.Bench) { b.CreateNamespace(b.Namespace + "-more") },
		spoil: func(b *bench.Bench) {
			b.Delete(bench.Namespaces, "", b.Namespace+"-more")
			b.Eventually("the namespace is gone", func() bool { return b.Get(bench.Namespaces, "", b.Namespace+"-more") == nil })
		},
		says: "is not there; add a Namespace object", missing: true, from: "data: {a: b", to: "data: {a: c",
	},
}

// An object that git did not change and that cannot be compared delays neither the report about the others nor git's changes
// of them.
func TestWhatCannotBeComparedStopsOnlyItself(t *testing.T) {
	for name, c := range uncompared {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			if c.prepare != nil {
				c.prepare(b)
			}
			beside := "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside, namespace: $NS}\ndata: {a: VALUE}\n" +
				"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: leaves, namespace: $NS}\ndata: {a: b}\n"
			both := func(doc, value string) manifest.Set { return b.Set(doc + strings.ReplaceAll(beside, "VALUE", value)) }
			pass.Sync(b, both(c.doc, "one"))
			c.spoil(b)

			// A report has the rest.
			b.Edit(bench.ConfigMaps, "beside", `{"data":{"a":"by hand"}}`)
			planned := pass.Plan(b, both(c.doc, "one"), pass.Full, func(req *plan.Request) { req.ReadOnly = true })
			if got := planned.Pending(); len(got) != 1 || got[0].ID.Name != "beside" || !got[0].Drifted || len(got[0].Fields) != 1 {
				t.Errorf("beside it: %s", bench.Actions(got))
			}
			all := planned.Uncompared()
			if len(all) != 1 || all[0].Change.ID.Name != "it" {
				t.Fatalf("not compared: %+v", all)
			}
			got := all[0]
			if !strings.Contains(got.Err.Error(), c.says) {
				t.Errorf("the reason is %v", got.Err)
			}
			if readable := got.Change.Live != nil; readable != c.readable || got.Unread != (!c.readable && !c.missing) {
				t.Errorf("read: %t, unread: %t", readable, got.Unread)
			}
			if len(got.Change.Fields) != 0 && (c.field == "" || got.Change.Fields[0].Path != c.field) || c.field != "" && len(got.Change.Fields) != 1 {
				t.Errorf("fields: %+v", got.Change.Fields)
			}

			// A commit that does not change it is applied, including prunes.
			var less manifest.Set
			for _, obj := range both(c.doc, "two") {
				if obj.GetName() != "leaves" {
					less = append(less, obj)
				}
			}
			before := entryOf(b, "it")
			pass.Sync(b, less)
			if text := b.Get(bench.ConfigMaps, b.Namespace, "beside").Object["data"]; text.(map[string]any)["a"] != "two" {
				t.Errorf("beside it: %v", text)
			}
			if b.Get(bench.ConfigMaps, b.Namespace, "leaves") != nil {
				t.Error("what left git stays")
			}
			if after := entryOf(b, "it"); after.Hash != before.Hash || after.Fields != before.Fields || after.UID != before.UID {
				t.Errorf("its entry changed from %+v to %+v", before, after)
			}

			// A commit that changes it writes nothing: all changes of git are tried first.
			if !strings.Contains(c.doc, c.from) {
				t.Fatal("the case changes nothing")
			}
			_, err := pass.TrySync(b, both(strings.Replace(c.doc, c.from, c.to, 1), "three"))
			bench.WantError(t, err, "it", c.says)
			if text := b.Get(bench.ConfigMaps, b.Namespace, "beside").Object["data"]; text.(map[string]any)["a"] != "two" {
				t.Errorf("beside it, by a refused commit: %v", text)
			}
		})
	}
}

// An object that left git and cannot be read keeps its entry. It is looked up again, and the target is not forgotten before.
func TestWhatCannotBeReadIsNotForgotten(t *testing.T) {
	b := bench.New(t)
	defineValves(b)
	const beside = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside, namespace: $NS}\ndata: {a: b}\n"
	pass.Sync(b, b.Set("apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\n---\n"+beside))
	uncompared["a conversion webhook that is down"].spoil(b)
	planned := pass.Plan(b, b.Set(beside))
	if all := planned.Uncompared(); len(all) != 1 || !all[0].Unread || all[0].Change.ID.Name != "it" {
		t.Errorf("not compared: %+v", all)
	}
	pass.Sync(b, b.Set(beside))
	if entryOf(b, "it").Name == "" {
		t.Error("its entry is gone")
	}
	if _, err := inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record()); err == nil {
		t.Error("whoever asks for all objects gets some")
	}
	patchJSON(b, bench.CRDs, valveDefinition(b), `[{"op":"replace","path":"/spec/conversion","value":{"strategy":"None"}}]`)
	b.Eventually("valves can be converted", func() bool { return listValves(b, "v1beta1") == nil })
	pass.Sync(b, b.Set(beside))
	if got := b.Get(schema.GroupVersionResource{Group: b.Group(), Version: "v1", Resource: "valves"}, b.Namespace, "it"); got != nil {
		t.Error("it is not pruned")
	}
}

func entryOf(b *bench.Bench, name string) v1alpha1.InventoryEntry {
	b.T.Helper()
	for _, entry := range b.Record().Status.Inventory {
		if entry.Name == name {
			return entry
		}
	}
	return v1alpha1.InventoryEntry{}
}

func patchJSON(b *bench.Bench, resource schema.GroupVersionResource, name, patch string) {
	b.T.Helper()
	if _, err := b.Admin.Resource(resource).Patch(b.Ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		b.T.Fatal(err)
	}
}
