package inventory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// applied is when syncer wrote the objects of these tests.
var applied = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

// object returns a live ConfigMap whose field data.rows syncer owns.
func object(edit ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "limits", "namespace": "data-dev", "uid": "first"},
		"data":     map[string]any{"rows": "100"},
	}}
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{managed(manifest.FieldManager, metav1.ManagedFieldsOperationApply, applied)})
	for _, e := range edit {
		e(obj)
	}
	return obj
}

func managed(by string, operation metav1.ManagedFieldsOperationType, at time.Time) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: by, Operation: operation, APIVersion: "v1", Time: &metav1.Time{Time: at}, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:rows":{}}}`),
	}
}

// entryOf returns the entry that the apply of an object left in the inventory.
func entryOf(obj *unstructured.Unstructured) v1alpha1.InventoryEntry {
	return v1alpha1.InventoryEntry{
		APIVersion: "v1", Kind: "ConfigMap", Namespace: "data-dev", Name: "limits", UID: obj.GetUID(),
		Fields: manifest.OwnedState(obj, manifest.FieldManager, nil), Written: &metav1.Time{Time: applied},
	}
}

// TestUntouchedComparesValues: an object is at rest only while each field that syncer applied has the value that it applied.
func TestUntouchedComparesValues(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(*unstructured.Unstructured)
		entry func(*v1alpha1.InventoryEntry)
		want  bool
	}{
		{name: "as it was applied", want: true},
		{name: "a field of somebody else", want: true, edit: func(o *unstructured.Unstructured) {
			o.SetLabels(map[string]string{"team": "sales"})
		}},
		{name: "another value, still owned", edit: func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, "200", "data", "rows")
		}},
		{name: "the field is gone", edit: func(o *unstructured.Unstructured) {
			unstructured.RemoveNestedField(o.Object, "data", "rows")
		}},
		{name: "somebody else took the field over", edit: func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{managed("kubectl-edit", metav1.ManagedFieldsOperationUpdate, applied)})
		}},
		{name: "another write under syncer's name, of the same values", edit: func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{managed(manifest.FieldManager, metav1.ManagedFieldsOperationApply, applied.Add(time.Second))})
		}},
		{name: "the outcome of the write was not saved", entry: func(e *v1alpha1.InventoryEntry) { e.Unconfirmed = true }},
		{name: "the fields were never recorded", entry: func(e *v1alpha1.InventoryEntry) { e.Fields = "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live := object()
			entry := entryOf(live)
			if tt.edit != nil {
				tt.edit(live)
			}
			if tt.entry != nil {
				tt.entry(&entry)
			}
			if got := inventory.Untouched(live, entry, nil); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
	if inventory.Untouched(nil, entryOf(object()), nil) {
		t.Error("an object that is gone is not untouched")
	}
}

// TestLossTellsDisownedFromRecreated: an object that syncer applied and owns no field of was either taken from it, or deleted
// and created again.
func TestLossTellsDisownedFromRecreated(t *testing.T) {
	other := func(o *unstructured.Unstructured) {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{managed("helm", metav1.ManagedFieldsOperationUpdate, applied.Add(time.Hour))})
	}
	for _, tt := range []struct {
		name string
		live *unstructured.Unstructured
		want *manifest.Loss
	}{
		{"owned", object(), nil},
		{"gone", nil, nil},
		{"disowned", object(other), &manifest.Loss{Kind: manifest.Disowned}},
		{"recreated", object(other, func(o *unstructured.Unstructured) { o.SetUID(types.UID("second")) }), &manifest.Loss{
			Kind: manifest.Recreated, By: manifest.Manager{Name: "helm", Operation: "Update", Time: applied.Add(time.Hour)},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, inventory.LossOf(tt.live, entryOf(object()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestStraysAreMadeByPeople: an object that carries a target's label is a stray only in a place of the target, and only where
// no controller made it.
func TestStraysAreMadeByPeople(t *testing.T) {
	by := func(manager string) func(*unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{managed(manager, metav1.ManagedFieldsOperationUpdate, applied)})
		}
	}
	for _, tt := range []struct {
		name string
		obj  *unstructured.Unstructured
		want bool
	}{
		{"copied by hand", object(by("kubectl-create")), true},
		{"nobody is known", object(func(o *unstructured.Unstructured) { o.SetManagedFields(nil) }), true},
		{"without a namespace", object(by("kubectl-create"), func(o *unstructured.Unstructured) { o.SetNamespace("") }), true},
		{"elsewhere", object(by("kubectl-create"), func(o *unstructured.Unstructured) { o.SetNamespace("other") }), false},
		{"with an owner", object(by("kubectl-create"), func(o *unstructured.Unstructured) {
			o.SetOwnerReferences([]metav1.OwnerReference{{Kind: "CronJob", Name: "nightly"}})
		}), false},
		{"by a controller of Kubernetes", object(by(manifest.QuietManagers[0])), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := inventory.IsStray(tt.obj, []string{"data-dev"}); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// TestPlacesOfATarget: members are looked for where git, the inventory and an interrupted apply say that they are.
func TestPlacesOfATarget(t *testing.T) {
	record := &v1alpha1.PipelineSync{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			v1alpha1.AnnotationNamespaces: "promised,data-dev", v1alpha1.AnnotationKinds: "CronJob.batch,Secret",
		}},
		Status: v1alpha1.PipelineSyncStatus{Inventory: []v1alpha1.InventoryEntry{
			{APIVersion: "batch/v1beta1", Kind: "CronJob", Namespace: "inventoried", Name: "nightly"},
			{APIVersion: "v1", Kind: "Namespace", Name: "data-dev"},
		}},
	}
	set := manifest.Set{
		object(func(o *unstructured.Unstructured) { o.SetNamespace("") }),
		{Object: map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": map[string]any{"name": "nightly", "namespace": "data-dev"}}},
	}
	if diff := cmp.Diff([]string{"data-dev", manifest.DefaultNamespace, "inventoried", "promised"}, inventory.Namespaces("data-syncer", record, set.IDs())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"data-syncer"}, inventory.Namespaces("data-syncer", nil, nil)); diff != "" {
		t.Errorf("a target without objects: %s", diff)
	}
	kinds := []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Namespace"}, {Kind: "Secret"}, {Group: "batch", Version: "v1", Kind: "CronJob"},
	}
	if diff := cmp.Diff(kinds, inventory.Kinds(record, set.IDs())); diff != "" {
		t.Error(diff)
	}
}

// TestCutOffNeedsAllEvents: that a run was cut off is told by its events, which have to be all of them.
func TestCutOffNeedsAllEvents(t *testing.T) {
	for _, tt := range []struct {
		name string
		fate inventory.Fate
		want bool
	}{
		{"no end among its events", inventory.Fate{Traces: true, Count: 3}, true},
		{"no events", inventory.Fate{}, false},
		{"an end", inventory.Fate{Traces: true, Completed: true, Count: 3}, false},
		{"so many that the last ones may be missing", inventory.Fate{Traces: true, Count: 21}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.fate.CutOff(); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
