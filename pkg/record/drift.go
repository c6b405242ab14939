package record

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

// keepImageFindings takes over what a daemon heard from registries, which a pass that did not ask cannot say.
func KeepImageFindings(summary, before *v1alpha1.DriftSummary) *v1alpha1.DriftSummary {
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

// withoutImages leaves out the findings that a pass says nothing of.
func WithoutImages(summary *v1alpha1.DriftSummary, unchecked bool) *v1alpha1.DriftSummary {
	if summary == nil || !unchecked {
		return summary
	}
	out := *summary
	out.Findings = slices.DeleteFunc(slices.Clone(summary.Findings), IsImageFinding)
	return &out
}

func IsImageFinding(f v1alpha1.Finding) bool {
	return f.Kind == string(drift.TagMoved) || f.Kind == string(drift.ImageMissing)
}
