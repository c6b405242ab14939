package watch_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// recreate does the same as `kubectl get -o yaml` and `kubectl replace --force -f`.
func recreate(b *bench.Bench, name string, change func(*unstructured.Unstructured)) {
	b.T.Helper()
	obj := b.Get(bench.ConfigMaps, b.Namespace, name)
	for _, field := range []string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	change(obj)
	b.Delete(bench.ConfigMaps, b.Namespace, name)
	text, err := manifest.Set{obj}.YAML()
	if err != nil {
		b.T.Fatal(err)
	}
	b.Create(bench.ConfigMaps, string(text))
}

// syncer may lose its fields without a change of a value.
func TestWatchNoticesALostObject(t *testing.T) {
	for how, lose := range map[string]func(*bench.Bench){
		"deleted and created again": func(b *bench.Bench) { recreate(b, "a", func(*unstructured.Unstructured) {}) },
		"deleted and created again without its label": func(b *bench.Bench) {
			recreate(b, "a", func(obj *unstructured.Unstructured) { obj.SetLabels(nil) })
		},
		"managed fields cleared": func(b *bench.Bench) { b.Edit(bench.ConfigMaps, "a", `{"metadata":{"managedFields":[{}]}}`) },
	} {
		t.Run(how, func(t *testing.T) {
			b := bench.New(t)
			b.Deploy(b.Set(bench.Settings("a", "1")))
			w := follow(b)
			w.judged()
			lose(b)
			w.noticed(how)
		})
	}
}

// A process that applies an older state under syncer's own name is noticed, also where it adds or takes away a field.
func TestWatchNoticesAWriteUnderTheOwnName(t *testing.T) {
	for name, older := range map[string]string{"another value": `{"key":"old"}`, "a key less": `{}`, "a key more": `{"key":"new","more":"x"}`} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			b.Deploy(b.Set(bench.Settings("a", "new")))
			w := follow(b)
			w.judged()
			body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"` + v1alpha1.LabelMember + `":"` + v1alpha1.ApplySetID(b.Records, b.Target) + `"}},"data":` + older + `}`
			force := true
			// The API server dates writes to the second, and a person is slower than that.
			written := b.Record().Status.Inventory[0].Written
			b.Eventually("the write has another date", func() bool { return time.Now().Unix() > written.Unix() })
			_, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Patch(b.Ctx, "a", types.ApplyPatchType, []byte(body),
				metav1.PatchOptions{FieldManager: manifest.FieldManager, Force: &force})
			if err != nil {
				t.Fatal(err)
			}
			w.noticed(name)
		})
	}
}

// An object that a person made with the label of a target is noticed. One that a controller made is not.
func TestWatchNoticesAnObjectWithTheLabelOfATarget(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	w := follow(b)
	w.judged()
	labelled := func(name, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: $NS, labels: {" + v1alpha1.LabelMember + ": " + v1alpha1.ApplySetID(b.Records, b.Target) + "}" + more + "}\n"
	}
	if _, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Create(b.Ctx, b.Object(labelled("mirrored", "")), metav1.CreateOptions{FieldManager: "kube-controller-manager"}); err != nil {
		t.Fatal(err)
	}
	owner := b.Get(bench.ConfigMaps, b.Namespace, "a").GetUID()
	b.Create(bench.ConfigMaps, labelled("owned", ", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: "+string(owner)+"}]"))
	b.Create(bench.ConfigMaps, labelled("copied", ""))
	w.noticed("a copy")
	if fields, _ := w.told(); fields != 1 {
		t.Errorf("%d notices of one copy, and of what controllers made", fields)
	}
	found, err := inventory.Look(b.Ctx, b.Cluster, nil, b.Target, b.Record(), nil)
	if err != nil {
		t.Fatal(err)
	}
	live := found.Members
	for key, stray := range found.Strays {
		live[key] = stray
	}
	w.watches.Judged(b.Cluster, b.Target, b.Record(), live)
	if w.watches.Differs(b.Target) {
		t.Error("what was judged is news")
	}
}

// A kind that the API server does not serve is not watched, and is named; the others are.
func TestKindThatIsNotServedIsNotWatched(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	record := b.Record()
	record.Status.Inventory = append(record.Status.Inventory, v1alpha1.InventoryEntry{APIVersion: "example.com/v1", Kind: "Widget", Namespace: b.Namespace, Name: "it"})
	live, err := inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record())
	if err != nil {
		t.Fatal(err)
	}
	w := follow(b)
	w.watches.Judged(b.Cluster, b.Target, record, live)
	w.Eventually("the others are watched", func() bool {
		unwatched := w.watches.Unwatched(b.Target)
		return len(unwatched) == 1 && unwatched[0] == "Widget.example.com"
	})
	if w.watches.Follows(b.Target) || w.watches.UnwatchedKinds() != 1 {
		t.Errorf("%d kinds are not watched", w.watches.UnwatchedKinds())
	}
	if w.watches.Unwatched(v1alpha1.Target{Pipeline: "other", Environment: "prod"}) != nil {
		t.Error("a target that nobody follows has kinds that are not watched")
	}
}
