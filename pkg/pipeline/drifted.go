package pipeline

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/target"
)

// measure tells the metrics how a target is now, and what the watches had missed.
func (c *carrier) measure(w *target.Desired, o outcome, before, after v1alpha1.PipelineSyncStatus) {
	is := measured{held: max(len(after.Held), after.HeldTotal), objects: o.objects}
	is.state, _ = stateOf(after)
	found, looked := o.drift, o.err == nil && o.wait == nil
	if o.standing.compared {
		found, looked = o.standing.drift, true
	}
	if looked {
		is.findings = slices.Clone(found)
		c.countMissed(w, is.findings, before.Drift)
		drift.Recall(is.findings, after.Drift)
		is.findings = append([]drift.Finding{}, is.findings...) // not nil: there are none
	}
	c.metrics.saw(w.Target, is)
	c.metrics.live(w, before, after)
}

// countMissed counts what only a full comparison found.
func (c *carrier) countMissed(w *target.Desired, findings []drift.Finding, before *v1alpha1.DriftSummary) {
	if !c.options.full || !c.loops {
		return
	}
	drift.Recall(findings, before)
	for _, f := range findings {
		if f.FirstSeen == nil && f.Kind != drift.TagMoved && f.Kind != drift.ImageMissing && f.Kind != drift.Held && f.Kind != drift.NotCompared {
			c.metrics.missed.Inc()
			c.log.Warn("a full comparison found what no watch had noticed", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "finding", f.Message)
		}
	}
}

// noteDrift writes findings into a record before they are put right.
func (c *carrier) noteDrift(ctx context.Context, w *target.Desired, findings []drift.Finding) error {
	status := w.Record.Status
	status.Conditions = slices.Clone(status.Conditions)
	status.Drift = drift.Summary(findings, nil, withoutImages(w.Record.Status.Drift, true), c.dates().In(w.Cluster))
	status.Drift = keepImageFindings(status.Drift, w.Record.Status.Drift)
	setDrifted(&status)
	status = fitted(w, nil, status)
	stampConditions(&status, w.Record.Status.Conditions, c.dates().Stamp(w.Cluster))
	if equality.Semantic.DeepEqual(w.Record.Status, status) {
		return nil
	}
	written, err := w.Cluster.Records().SaveStatus(ctx, w.Target, status, w.Record.ResourceVersion)
	if err != nil {
		return err
	}
	c.tell(ctx, w, written, w.Record.Status, status)
	w.Record.Status, w.Record.ResourceVersion = status, written.Version
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
