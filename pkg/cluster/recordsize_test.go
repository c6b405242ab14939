package cluster_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

// The API server accepts the largest record that syncer writes: the record of a target with the maximum number of pins and
// objects, while it changes from one half of its objects to the other.
func TestLargestRecordIsTaken(t *testing.T) {
	b := bench.New(t)
	at := metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	status := v1alpha1.PipelineSyncStatus{Drift: &v1alpha1.DriftSummary{Total: 50}}
	spec := b.Spec()
	for i := range 300 {
		reference := fmt.Sprintf("registry.example.com/%s:%d", strings.Repeat("r", 200), i)
		digest := "sha256:" + strings.Repeat("ab", 32)
		spec.Images = append(spec.Images, v1alpha1.PinnedImage{
			Reference: reference, Digest: digest, Seen: digest, ResolvedAt: at, Commit: strings.Repeat("c", 40), LastDeployment: 100, PromotedFrom: "staging", Tag: "1.2.3",
		})
	}
	for n := range 100 {
		d := v1alpha1.Deployment{Number: int64(100 - n), Subject: strings.Repeat("é", 1000), Outcome: "Applied", Time: at}
		for _, pin := range spec.Images {
			d.Images = append(d.Images, v1alpha1.DeployedImage{Reference: pin.Reference, Tag: pin.Tag, Digest: pin.Digest})
		}
		status.History = append(status.History, d)
	}
	var half, other []manifest.ID
	demand := func() record.Demand {
		before := v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: entries(half)}}
		return record.Demand{Before: before, Set: other, Pins: spec.Images, Images: status.History[0].Images}
	}
	for fits := true; fits; {
		for range 50 {
			id := manifest.ID{APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: fmt.Sprintf("%s-%d", strings.Repeat("n", 150), len(half))}
			half = append(half, id)
			id.Kind = "ConfigMap"
			other = append(other, id)
		}
		_, err := demand().Fit()
		fits = err == nil
	}
	half, other = half[50:], other[50:]
	status.Inventory = entries(append(half, other...))
	for range 50 {
		finding := v1alpha1.Finding{Kind: "Modified", Severity: "warning", Path: strings.Repeat("p", 500), Message: strings.Repeat("m", 500)}
		status.Drift.Findings = append(status.Drift.Findings, finding)
		status.Drift.Past = append(status.Drift.Past, v1alpha1.PastFinding{Finding: finding, EndedAt: at, Ending: "Gone"})
		status.Held = append(status.Held, v1alpha1.HeldChange{Action: "Create", Reason: "Running", Message: strings.Repeat("h", 500), Since: at})
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionDrifted} {
		message := strings.Repeat("m", record.MostMessage)
		status.Conditions = append(status.Conditions, metav1.Condition{Type: kind, Status: "False", Reason: "Failed", Message: message, LastTransitionTime: at})
	}
	if _, err := b.Cluster.Records().Create(b.Ctx, b.Target, spec); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, record.Trim(spec.Images, status), ""); err != nil {
		t.Fatalf("a record with %d objects and %d images: %v", len(status.Inventory), len(spec.Images), err)
	}
	// The spec is written again with the largest status.
	before := b.Record()
	if doc, err := json.Marshal(before); err != nil || len(doc) < 1100<<10 {
		t.Errorf("the record has %d KiB, which shows nothing (%v)", len(doc)>>10, err)
	} else {
		t.Logf("the record has %d KiB", len(doc)>>10)
	}
	spec.Source.Commit = "beef"
	promises := cluster.Promises{Writes: []string{"ConfigMap/" + b.Namespace + "/a"}}
	if _, err := b.Cluster.Records().SaveSpec(b.Ctx, b.Target, before, spec, promises); err != nil {
		t.Fatalf("writing the spec beside %d objects: %v", len(before.Status.Inventory), err)
	}
}

// entries is the inventory of applied objects.
func entries(ids []manifest.ID) []v1alpha1.InventoryEntry {
	var out []v1alpha1.InventoryEntry
	for _, id := range ids {
		entry := v1alpha1.InventoryEntry{
			APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
			Hash: "sha256:" + strings.Repeat("a", 64), Fields: strings.Repeat("b", 32),
		}
		if id.Kind == "Job" {
			entry.Spec, entry.UID, entry.Completed, entry.Ephemeral = entry.Hash, "6dc5e9c4-8d8e-4a86-8d8c-0a9fd2c5cb0d", true, true
		}
		out = append(out, entry)
	}
	return out
}
