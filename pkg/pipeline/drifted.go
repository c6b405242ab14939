package pipeline

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// measure reports to the metrics how a target is now, and what the watches had missed. compared is nil where nothing was
// compared.
func (c *carrier) measure(w *target.Desired, compared *record.Drift, objects map[string]int, before, after v1alpha1.PipelineSyncStatus) {
	is := measured{held: max(len(after.Held), after.HeldTotal), objects: objects}
	is.state, _ = view.StateOf(after)
	if compared != nil && compared.Unknown == "" {
		is.findings = slices.Clone(compared.Found)
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

// noteDrift writes findings into a record before they are corrected.
func (c *carrier) noteDrift(ctx context.Context, w *target.Desired, findings []drift.Finding) error {
	status := record.WithDrift(*w.Record, findings, c.dates().In(w.Cluster))
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
