package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

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

func (b *bench) defineValves() {
	b.t.Helper()
	definition := b.create(crds, valves)
	b.eventually("valves are served", func() bool {
		return (*health.Judge)(nil).Health(b.get(crds, "", definition.GetName())).Status == health.Healthy
	})
	b.restart() // with the new kind
	b.eventually("valves can be listed", func() bool { return b.listValves("v1beta1") == nil && b.listValves("v1") == nil })
}

func (b *bench) listValves(version string) error {
	_, err := b.admin.Resource(schema.GroupVersionResource{Group: b.group(), Version: version, Resource: "valves"}).Namespace(b.namespace).List(b.ctx, metav1.ListOptions{})
	return err
}

func (b *bench) valveDefinition() string { return "valves." + b.group() }

// uncompared are ways in which the API server fails to answer for an object that git did not change.
var uncompared = map[string]struct {
	doc     string
	prepare func(*bench)
	spoil   func(*bench)
	says    string
	// The known facts about the object: that it can be read, and the field that another manager took.
	readable bool
	field    string
	missing  bool
	from, to string // a later change of doc in git that the API server refuses or cannot try
}{
	"a claim that was grown by hand": {
		doc: "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: it, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], storageClassName: $NS, resources: {requests: {storage: 1Gi}}}\n",
		prepare: func(b *bench) {
			b.create(schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"},
				"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: $NS}\nprovisioner: example.com/disk\nallowVolumeExpansion: true\n")
		},
		spoil: func(b *bench) {
			b.eventually("the claim is bound", func() bool {
				phase, _, _ := unstructured.NestedString(b.get(claims, b.namespace, "it").Object, "status", "phase")
				return phase == "Bound"
			})
			b.edit(claims, "it", `{"spec":{"resources":{"requests":{"storage":"5Gi"}}}}`)
		},
		says: "field can not be less than", readable: true, field: "spec.resources.requests.storage", from: "1Gi", to: "512Mi",
	},
	"a conversion webhook that is down": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: (*bench).defineValves,
		spoil: func(b *bench) {
			b.patchJSON(crds, b.valveDefinition(), `[{"op":"replace","path":"/spec/conversion","value":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://127.0.0.1:1/convert"}}}}]`)
			b.eventually("valves cannot be converted", func() bool { return b.listValves("v1beta1") != nil })
		},
		says: "conversion webhook for", from: "spec: {a: b", to: "spec: {a: c",
	},
	"a version that is not served any more": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: (*bench).defineValves,
		spoil: func(b *bench) {
			b.patchJSON(crds, b.valveDefinition(), `[{"op":"replace","path":"/spec/versions/1/served","value":false}]`)
			b.eventually("v1beta1 is not served", func() bool { return b.listValves("v1beta1") != nil })
			b.restart()
		},
		says: "the cluster serves no kind Valve in", readable: true, from: "spec: {a: b", to: "spec: {a: c",
	},
	"a kind that is gone": {
		doc: "apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\nspec: {a: b}\n", prepare: (*bench).defineValves,
		spoil: func(b *bench) {
			b.delete(crds, "", b.valveDefinition())
			b.eventually("valves are gone", func() bool { return b.listValves("v1") != nil && b.get(crds, "", b.valveDefinition()) == nil })
			b.restart()
		},
		says: "the cluster serves no kind Valve in", missing: true, from: "spec: {a: b", to: "spec: {a: c",
	},
	"an admission webhook that is down": {
		doc: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: it, namespace: $NS, labels: {a: b}}\n",
		spoil: func(b *bench) {
			b.create(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}, `
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
			b.eventually("service accounts are refused", func() bool {
				_, err := b.admin.Resource(serviceAccounts).Namespace(b.namespace).Create(b.ctx, b.object("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: probe, namespace: $NS}\n"), metav1.CreateOptions{DryRun: []string{"All"}})
				return err != nil
			})
		},
		says: "failed calling webhook", readable: true, from: "labels: {a: b", to: "labels: {a: c",
	},
	"a namespace that is gone": {
		doc:     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS-more}\ndata: {a: b}\n",
		prepare: func(b *bench) { b.createNamespace(b.namespace + "-more") },
		spoil: func(b *bench) {
			b.delete(namespaces, "", b.namespace+"-more")
			b.eventually("the namespace is gone", func() bool { return b.get(namespaces, "", b.namespace+"-more") == nil })
		},
		says: "is not there; add a Namespace object", missing: true, from: "data: {a: b", to: "data: {a: c",
	},
}

// An object that git did not change and that cannot be compared delays neither the report about the others nor git's changes
// of them.
func TestWhatCannotBeComparedStopsOnlyItself(t *testing.T) {
	for name, c := range uncompared {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if c.prepare != nil {
				c.prepare(b)
			}
			beside := "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside, namespace: $NS}\ndata: {a: VALUE}\n" +
				"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: leaves, namespace: $NS}\ndata: {a: b}\n"
			both := func(doc, value string) manifest.Set { return b.set(doc + strings.ReplaceAll(beside, "VALUE", value)) }
			b.sync(both(c.doc, "one"))
			c.spoil(b)

			// A report has the rest.
			b.edit(configMaps, "beside", `{"data":{"a":"by hand"}}`)
			planned := b.plan(both(c.doc, "one"), full, func(req *plan.Request) { req.ReadOnly = true })
			if got := planned.Pending(); len(got) != 1 || got[0].ID.Name != "beside" || !got[0].Drifted || len(got[0].Fields) != 1 {
				t.Errorf("beside it: %s", actions(got))
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
			b.sync(less)
			if text := b.get(configMaps, b.namespace, "beside").Object["data"]; text.(map[string]any)["a"] != "two" {
				t.Errorf("beside it: %v", text)
			}
			if b.get(configMaps, b.namespace, "leaves") != nil {
				t.Error("what left git stays")
			}
			if after := entryOf(b, "it"); after.Hash != before.Hash || after.Fields != before.Fields || after.UID != before.UID {
				t.Errorf("its entry changed from %+v to %+v", before, after)
			}

			// A commit that changes it writes nothing: all changes of git are tried first.
			if !strings.Contains(c.doc, c.from) {
				t.Fatal("the case changes nothing")
			}
			_, err := b.trySync(both(strings.Replace(c.doc, c.from, c.to, 1), "three"))
			wantError(t, err, "it", c.says)
			if text := b.get(configMaps, b.namespace, "beside").Object["data"]; text.(map[string]any)["a"] != "two" {
				t.Errorf("beside it, by a refused commit: %v", text)
			}
		})
	}
}

// An object that left git and cannot be read keeps its entry. It is looked up again, and the target is not forgotten before.
func TestWhatCannotBeReadIsNotForgotten(t *testing.T) {
	b := newBench(t)
	b.defineValves()
	const beside = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside, namespace: $NS}\ndata: {a: b}\n"
	b.sync(b.set("apiVersion: $NS.example.com/v1beta1\nkind: Valve\nmetadata: {name: it, namespace: $NS}\n---\n" + beside))
	uncompared["a conversion webhook that is down"].spoil(b)
	planned := b.plan(b.set(beside))
	if all := planned.Uncompared(); len(all) != 1 || !all[0].Unread || all[0].Change.ID.Name != "it" {
		t.Errorf("not compared: %+v", all)
	}
	b.sync(b.set(beside))
	if entryOf(b, "it").Name == "" {
		t.Error("its entry is gone")
	}
	if _, err := inventory.Find(b.ctx, b.cluster, b.target, b.record()); err == nil {
		t.Error("whoever asks for all objects gets some")
	}
	b.patchJSON(crds, b.valveDefinition(), `[{"op":"replace","path":"/spec/conversion","value":{"strategy":"None"}}]`)
	b.eventually("valves can be converted", func() bool { return b.listValves("v1beta1") == nil })
	b.sync(b.set(beside))
	if got := b.get(schema.GroupVersionResource{Group: b.group(), Version: "v1", Resource: "valves"}, b.namespace, "it"); got != nil {
		t.Error("it is not pruned")
	}
}

func entryOf(b *bench, name string) v1alpha1.InventoryEntry {
	b.t.Helper()
	for _, entry := range b.record().Status.Inventory {
		if entry.Name == name {
			return entry
		}
	}
	return v1alpha1.InventoryEntry{}
}

func (b *bench) patchJSON(resource schema.GroupVersionResource, name, patch string) {
	b.t.Helper()
	if _, err := b.admin.Resource(resource).Patch(b.ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		b.t.Fatal(err)
	}
}
