package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// saveTimeout bounds the write of a status after the reconcile was stopped.
const saveTimeout = 10 * time.Second

// save writes the status of a target where it says something new. A target in sync costs no request. written is the record as
// the reconcile wrote its spec; zero: it did not.
func (t *task) save(ctx context.Context, o record.Outcome, written cluster.Written, objects []health.Object) error {
	before := t.before()
	status := record.Next(t.last(), o, t.r.Dates.In(t.d.Cluster))
	t.observe(o, objects, before, status)
	if added := record.NewWarnings(before.Warnings, status.Warnings); len(added) > 0 {
		t.r.Log.Info("git has what arrives otherwise than it reads", "pipeline", t.d.Target.Pipeline, "environment", t.d.Target.Environment, "commit", t.d.Snapshot.Commit, "warnings", added)
	}
	if t.d.Record != nil && equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	// A reconcile that was stopped must still record what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	version := written.Version
	if version == "" && t.d.Record != nil {
		version = t.d.Record.ResourceVersion
	}
	saved, err := t.d.Cluster.Records().SaveStatus(ctx, t.d.Target, status, version)
	if err == nil {
		t.report(ctx, saved, before, status)
	}
	return err
}

// noteDrift writes findings into the record before they are corrected.
func (t *task) noteDrift(ctx context.Context, findings []drift.Finding) error {
	d := t.d
	status := record.WithDrift(*d.Record, findings, t.r.Dates.In(d.Cluster))
	if equality.Semantic.DeepEqual(d.Record.Status, status) {
		return nil
	}
	written, err := d.Cluster.Records().SaveStatus(ctx, d.Target, status, d.Record.ResourceVersion)
	if err != nil {
		return err
	}
	t.report(ctx, written, d.Record.Status, status)
	d.Record.Status, d.Record.ResourceVersion = status, written.Version
	return nil
}

// fail records a failure that came before anything was written, and returns it. A target that was never deployed gets a
// record for it, so that the cluster shows the failure.
func (t *task) fail(ctx context.Context, failure error) error {
	d := t.d
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(d.Target.Pipeline) {
		return failure
	}
	var written cluster.Written
	var compared *record.Drift
	switch {
	case d.Record == nil:
		var err error
		if written, err = d.Cluster.Records().Create(ctx, d.Target, t.spec(nil)); err != nil {
			return errors.Join(failure, err)
		}
	case d.Record.Spec.Owner != t.r.Config.Name:
		return failure // the record belongs to another configuration
	default:
		compared = t.compareLastApplied(ctx)
	}
	o := t.newOutcome(written)
	o.Failure, o.Drift = failureOf(failure), compared
	if err := t.save(ctx, o, written, nil); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// report writes the events of a step of the record.
func (t *task) report(ctx context.Context, written cluster.Written, before, after v1alpha1.PipelineSyncStatus) {
	d := t.d
	of := d.Record
	if of == nil {
		of = &v1alpha1.PipelineSync{}
		of.Name, of.Namespace = d.Target.RecordName(), d.Cluster.Namespace()
	}
	if of.UID == "" {
		known := *of
		known.UID = written.UID
		of = &known
	}
	for _, event := range record.Events(before, after) {
		t.r.Event(ctx, d, of, cluster.Event(event))
	}
}

// Event writes an event of a record. An event that cannot be written is logged.
func (r *Reconciler) Event(ctx context.Context, d *target.Desired, of *v1alpha1.PipelineSync, event cluster.Event) {
	if err := d.Cluster.Records().Tell(ctx, of, event); err != nil {
		r.Log.Warn("an event could not be written", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "error", err)
	}
}

// ReportRewound writes the event of a target that follows a history that was rewritten: that is one way to roll back, and may
// be a mistake. before is the commit where the branch stood.
func (r *Reconciler) ReportRewound(ctx context.Context, d *target.Desired, before string) {
	if d.Record == nil {
		return // it was never deployed, so that nothing was taken back
	}
	note := fmt.Sprintf("the branch was rewritten by a force push; it stood at %.8s, and %.8s is followed now", before, d.Snapshot.Commit)
	r.Event(ctx, d, d.Record, cluster.Event{Warning: true, Reason: "HistoryRewritten", Action: "Fetch", Note: note})
}

// reportFlapping writes an event and a log line once when a tag begins to flap.
func (t *task) reportFlapping(ctx context.Context, pins []v1alpha1.PinnedImage) {
	d := t.d
	if d.Record == nil {
		return
	}
	for _, event := range record.FlappingEvents(d.Record.Spec.Images, pins, d.Environment.Images.Interval.Duration) {
		t.r.Log.Warn("a tag flaps", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "message", event.Note)
		t.r.Event(ctx, d, d.Record, cluster.Event(event))
	}
}
