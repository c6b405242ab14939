package cluster

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Event is something that happened to a target. `kubectl describe` of its record shows it.
type Event struct {
	Warning bool
	Reason  string // one word
	Action  string // the action of syncer
	Note    string // a sentence; a long one is cut
}

// longestNote is the API server's limit in bytes (events.k8s.io/v1).
const longestNote = 1024

// WriteEvent writes an event about a record.
func (r *Records) WriteEvent(ctx context.Context, record *v1alpha1.PipelineSync, event Event) error {
	resource, _, err := r.cluster.scoped(manifest.ID{APIVersion: "events.k8s.io/v1", Kind: "Event", Namespace: r.namespace()})
	if err != nil {
		return fmt.Errorf("writing an event about the record %s: %w", record.Name, err)
	}
	kind := "Normal"
	if event.Warning {
		kind = "Warning"
	}
	note := event.Note
	if len(note) > longestNote {
		note = strings.ToValidUTF8(note[:longestNote-3], "") + "..."
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"metadata": map[string]any{"generateName": record.Name + "-", "namespace": r.namespace()},
		"type":     kind, "reason": event.Reason, "action": event.Action, "note": note,
		"eventTime":           r.cluster.Now().UTC().Format(metav1.RFC3339Micro),
		"reportingController": v1alpha1.Group + "/" + manifest.FieldManager, "reportingInstance": manifest.FieldManager,
		"regarding": map[string]any{
			"apiVersion": v1alpha1.RecordKind.GroupVersion().String(), "kind": v1alpha1.RecordKind.Kind,
			"namespace": record.Namespace, "name": record.Name, "uid": string(record.UID), "resourceVersion": record.ResourceVersion,
		},
	}}
	_, err = request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: manifest.FieldManager})
	})
	if err != nil {
		return fmt.Errorf("writing an event about the record %s: %w", record.Name, answer.AdviseRight(err))
	}
	return nil
}
