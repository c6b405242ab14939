package pipeline

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// deployedAgo is a deployment of web:1, some minutes ago, and healthy since some minutes; below 0: it never was.
func deployedAgo(outcome, digest string, deployed, healthy int) v1alpha1.Deployment {
	ago := func(minutes int) metav1.Time { return metav1.NewTime(now.Add(-time.Duration(minutes) * time.Minute)) }
	d := v1alpha1.Deployment{Outcome: outcome, Time: ago(deployed), Images: []v1alpha1.DeployedImage{{Reference: "web:1", Digest: digest}}}
	if healthy >= 0 {
		at := ago(healthy)
		d.HealthyAt = &at
	}
	return d
}

// handEdited is a Deployment with the fields of one container that each manager owns, and its inventory entry from before somebody
// edited it.
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

// What runs well in the place of a deployment says nothing of the deployment.
func TestHotfixIsNoHealthOfTheDeploymentBelowIt(t *testing.T) {
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
			got := target.Swapped(t.Context(), nil, inventory, live, nil, nil)
			if c.swapped != (len(got) == 1 && got[0] == "Deployment/shop/web") || !c.swapped && len(got) > 0 {
				t.Fatalf("changed by hand: %v", got)
			}
			deployed := deployedAgo(record.Applied, "a", 60, -1)
			cr := &carrier{Runner: &Runner{now: func() time.Time { return now }}}
			status := cr.status(&target.Desired{Environment: &v1alpha1.Environment{}, Record: &v1alpha1.PipelineSync{}},
				v1alpha1.PipelineSyncStatus{LastAppliedCommit: "A", History: []v1alpha1.Deployment{deployed}},
				outcome{health: target.Health{Status: health.Healthy}, swapped: got})
			if healthy := status.History[0].HealthyAt != nil; healthy == c.swapped {
				t.Errorf("healthy: %t", healthy)
			}
		})
	}
}
