package pipeline

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

// measureDrift tells the metrics what drifted, and whether the watches had missed any of it.
func (c *carrier) measureDrift(w *work, o outcome, before, after *v1alpha1.DriftSummary) {
	findings := slices.Clone(o.drift)
	if c.options.full && c.checks != nil {
		drift.Recall(findings, before)
		for _, f := range findings {
			if f.FirstSeen == nil && f.Kind != drift.TagMoved && f.Kind != drift.ImageMissing && f.Kind != drift.Held {
				c.drifts.missed.Inc()
				c.log.Warn("a full comparison found what no watch had noticed", "pipeline", w.target.Pipeline, "environment", w.target.Environment, "finding", f.Message)
			}
		}
	}
	drift.Recall(findings, after)
	c.drifts.set(w.target, findings)
}

// tellDrift writes events about what drifted since the last check, and about what was put right.
func (c *carrier) tellDrift(ctx context.Context, w *work, before, after *v1alpha1.DriftSummary) {
	found, corrected := drift.News(before, after)
	if w.record == nil || len(found)+len(corrected) == 0 {
		return
	}
	for _, event := range []apply.Event{
		{Warning: true, Reason: "Drifted", Action: "Compare", Note: shorten(found)},
		{Reason: "DriftCorrected", Action: "Correct", Note: "put right: " + shorten(corrected)},
	} {
		if event.Warning && len(found) == 0 || !event.Warning && len(corrected) == 0 {
			continue
		}
		if err := w.cluster.Tell(ctx, w.record, event); err != nil {
			c.log.Warn("an event could not be written", "pipeline", w.target.Pipeline, "environment", w.target.Environment, "error", err)
		}
	}
}

// noteDrift writes findings into a record before they are put right.
func (c *carrier) noteDrift(ctx context.Context, w *work, findings []drift.Finding) error {
	status := w.record.Status
	status.Conditions = slices.Clone(status.Conditions)
	status.Drift = drift.Summary(findings, nil, withoutImages(w.record.Status.Drift, true), c.now())
	status.Drift = keepImageFindings(status.Drift, w.record.Status.Drift)
	setDrifted(&status)
	if equality.Semantic.DeepEqual(w.record.Status, status) {
		return nil
	}
	written, err := w.cluster.SaveStatus(ctx, w.target, status, w.record.ResourceVersion)
	if err != nil {
		return err
	}
	c.tellDrift(ctx, w, w.record.Status.Drift, status.Drift)
	w.record.Status, w.record.ResourceVersion = status, written.Version
	return nil
}

// keepImageFindings takes over what a daemon heard from registries, which a pass that did not ask cannot say.
func keepImageFindings(summary, before *v1alpha1.DriftSummary) *v1alpha1.DriftSummary {
	if before == nil {
		return summary
	}
	for _, f := range before.Findings {
		if isImageFinding(f) {
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
func withoutImages(summary *v1alpha1.DriftSummary, unchecked bool) *v1alpha1.DriftSummary {
	if summary == nil || !unchecked {
		return summary
	}
	out := *summary
	out.Findings = slices.DeleteFunc(slices.Clone(summary.Findings), isImageFinding)
	return &out
}

func isImageFinding(f v1alpha1.Finding) bool {
	return f.Kind == string(drift.TagMoved) || f.Kind == string(drift.ImageMissing)
}
