package record

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// setDrift writes the result of a comparison. Without a comparison, a target is not known to be in sync; a target that
// had drifted keeps its drift, because nothing else is known.
func (p *pass) setDrift(status *v1alpha1.PipelineSyncStatus) {
	switch {
	case p.Drift == nil:
	case p.Drift.Unknown == "":
		keepImages := !p.Drift.Images && (p.Apply == nil || len(p.Apply.Changes) == 0)
		status.Drift = summary(p.Drift.Found, p.Drift.Corrected, p.before.Drift, keepImages, p.now)
		setDrifted(status)
		setUnwatched(status, p.Drift.Unwatched)
	case !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionDrifted):
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionUnknown, Reason: "NotCompared",
			Message: manifest.Shorten([]string{"what was applied last could not be compared: " + p.Drift.Unknown}),
		})
	}
}

// WithDrift returns the status with findings that syncer is about to correct.
func WithDrift(before v1alpha1.PipelineSync, found []drift.Finding, now time.Time) v1alpha1.PipelineSyncStatus {
	status := before.Status
	status.Conditions = slices.Clone(status.Conditions)
	status.Drift = summary(found, nil, before.Status.Drift, true, now)
	setDrifted(&status)
	return finished(before, nil, status, now)
}

// summary is the record's part of findings. keepImages keeps the findings about images as they are: a pass that asks no
// registry says nothing about them.
func summary(found, corrected []drift.Finding, before *v1alpha1.DriftSummary, keepImages bool, now time.Time) *v1alpha1.DriftSummary {
	if !keepImages {
		return drift.Summary(found, corrected, before, now)
	}
	return withImages(drift.Summary(found, corrected, withoutImages(before), now), before)
}

// withImages adds the findings about images that a record has.
func withImages(summary, before *v1alpha1.DriftSummary) *v1alpha1.DriftSummary {
	if before == nil {
		return summary
	}
	for _, f := range before.Findings {
		if IsImageFinding(f) {
			if summary == nil {
				summary = &v1alpha1.DriftSummary{}
			}
			summary.Findings = append(summary.Findings, f)
			summary.Total++
		}
	}
	return summary
}

// withoutImages leaves out the findings about images.
func withoutImages(summary *v1alpha1.DriftSummary) *v1alpha1.DriftSummary {
	if summary == nil {
		return nil
	}
	out := *summary
	out.Findings = slices.DeleteFunc(slices.Clone(summary.Findings), IsImageFinding)
	return &out
}

// IsImageFinding reports whether a finding comes from a registry.
func IsImageFinding(f v1alpha1.Finding) bool {
	return f.Kind == string(drift.TagMoved) || f.Kind == string(drift.ImageMissing)
}
