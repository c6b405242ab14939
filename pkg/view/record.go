package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

// Reported returns what a record says of its target, as a report has it. behind is the number of newer commits; -1: not
// known.
func Reported(of *v1alpha1.PipelineSync, behind int) drift.Target {
	status := of.Status
	out := drift.Target{
		Pipeline: of.Spec.Pipeline, Environment: of.Spec.Environment,
		Commit: status.LastAppliedCommit, Behind: behind, Images: []drift.Image{},
		Unpinned: UnpinnedOf(suspectsOf(status.Unpinned)), Deployments: drift.DeploymentsOf(status.History),
	}
	out.State, out.Message = StateOf(status)
	if len(status.History) > 0 {
		runs := record.Running(status.History)
		at := runs.Time.UTC()
		carried := record.DeploymentOf(status.History, out.Commit)
		out.DeployedAt, out.Author, out.Subject = &at, carried.Author, carried.Subject
		out.Images = drift.ImagesOf(runs.Images)
	}
	return out
}

// StateOf returns the state of a target by the conditions of its record, and the message of that state.
func StateOf(status v1alpha1.PipelineSyncStatus) (drift.State, string) {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	held := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionHeld)
	trusted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionTrusted)
	switch {
	case ready == nil:
		return drift.Unknown, "syncer has not said yet how it is"
	case held != nil && held.Status == "True":
		return drift.Waiting, held.Message
	case ready.Status == "True" && trusted != nil && trusted.Status == "False":
		return drift.Waiting, trusted.Message
	case ready.Status == "True":
		return drift.Ready, ready.Message
	case meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling):
		return drift.Progressing, ready.Message
	}
	return drift.Failed, ready.Message
}

// OfRecord returns what a record says of its target. Its settings are not in the record.
func OfRecord(of *v1alpha1.PipelineSync, behind int) Target {
	status := of.Status
	t := Target{
		Target:   Reported(of, behind),
		Findings: append([]drift.Finding{}, drift.Recorded(of.Spec.Pipeline, of.Spec.Environment, status.Drift)...),
		Past:     append([]drift.Past{}, drift.PastOf(of.Spec.Pipeline, of.Spec.Environment, status.Drift)...),
		Held:     append([]v1alpha1.HeldChange{}, status.Held...), Conditions: slices.Clone(status.Conditions),
		Pins: append([]v1alpha1.PinnedImage{}, of.Spec.Images...), Objects: []manifest.ID{},
	}
	if status.Drift != nil {
		t.Total = status.Drift.Total
	}
	for _, entry := range status.Inventory {
		t.Objects = append(t.Objects, entry.ID())
	}
	return t
}

// UnpinnedOf returns the values that look like images and are not pinned, for a report.
func UnpinnedOf(suspects []image.Suspect) []drift.Unpinned {
	out := make([]drift.Unpinned, len(suspects))
	for i, s := range suspects {
		out[i] = drift.Unpinned{Object: s.Object, Path: s.Path, Reference: s.Value, Message: s.Advice()}
	}
	return out
}

// suspectsOf returns the values that look like images, by the record.
func suspectsOf(recorded []v1alpha1.UnpinnedValue) []image.Suspect {
	out := make([]image.Suspect, len(recorded))
	for i, u := range recorded {
		out[i] = image.Suspect{Object: u.Object.ID(), Path: u.Path, Value: u.Reference, Nameable: u.Nameable}
	}
	return out
}
