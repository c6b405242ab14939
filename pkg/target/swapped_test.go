package target

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// handEdited is a Deployment with the fields of one container that each manager owns, and its inventory entry from before it was
// edited.
func handEdited(syncers, others string) ([]v1alpha1.InventoryEntry, inventory.Members) {
	managed := func(fields string) map[string]any {
		var out map[string]any
		if err := json.Unmarshal([]byte(`{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":`+fields+`}}}}}`), &out); err != nil {
			panic(err)
		}
		return out
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "managedFields": []any{
			map[string]any{"manager": manifest.FieldManager, "operation": "Apply", "fieldsV1": managed(syncers)},
			map[string]any{"manager": "kubectl-set", "operation": "Update", "fieldsV1": managed(others)},
		}},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
			map[string]any{"name": "web", "image": "web:1"},
			map[string]any{"name": "sidecar", "image": "proxy:1"},
		}}}},
	}}
	id := manifest.IDOf(obj)
	entry := v1alpha1.InventoryEntry{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", Fields: "before"}
	return []v1alpha1.InventoryEntry{entry}, inventory.Members{id.Key(): obj}
}

// An object whose image was changed by hand runs another image than the deployed one.
func TestSwapped(t *testing.T) {
	for name, c := range map[string]struct {
		syncers, others string
		swapped         bool
	}{
		"an image":         {`{".":{},"f:name":{}}`, `{"f:image":{}}`, true},
		"a pull policy":    {`{".":{},"f:name":{},"f:image":{}}`, `{"f:imagePullPolicy":{}}`, false},
		"nothing but ours": {`{".":{},"f:name":{},"f:image":{}}`, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			inventory, live := handEdited(c.syncers, c.others)
			got := Swapped(t.Context(), nil, inventory, live, nil, nil)
			if c.swapped != (len(got) == 1 && got[0] == "Deployment/shop/web") || !c.swapped && len(got) > 0 {
				t.Fatalf("changed by hand: %v", got)
			}
		})
	}
}
