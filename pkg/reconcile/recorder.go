package reconcile

import (
	"context"
	"fmt"
	"log/slog"
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

// recorder writes the records of targets, and their events.
type recorder struct {
	config  *v1alpha1.Config
	dates   target.Dates
	log     *slog.Logger
	observe func(*target.Desired, Observation) // nil: nothing observes
}

func (r *Reconciler) recorder() recorder { return recorder{r.Config, r.Dates, r.Log, r.Observe} }

// create makes the record of a target that has none, without pins; zero: it has one.
func (r recorder) create(ctx context.Context, d *target.Desired) (cluster.Written, error) {
	if d.Record != nil {
		return cluster.Written{}, nil
	}
	return d.Cluster.Records().Create(ctx, d.Target, specOf(r.config, d, nil))
}

// save writes the status of a target where it says something new. A target in sync costs no request. written is the record as
// the reconcile wrote its spec; zero: it did not.
func (r recorder) save(ctx context.Context, t task, o record.Outcome, written cluster.Written, objects []health.Object) error {
	d, last := t.desired, t.last()
	status := record.Next(last, o, r.dates.In(d.Cluster))
	if r.observe != nil {
		r.observe(d, observation(t.pass.Options.Full, o.Drift, objects, last.Status, status))
	}
	if added := record.NewWarnings(last.Status.Warnings, status.Warnings); len(added) > 0 {
		r.log.Info("git has what arrives otherwise than it reads", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "commit", d.Snapshot.Commit, "warnings", added)
	}
	if d.Record != nil && equality.Semantic.DeepEqual(last.Status, status) {
		return nil
	}
	// A reconcile that was stopped must still record what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	version := written.Version
	if version == "" {
		version = last.ResourceVersion
	}
	saved, err := d.Cluster.Records().SaveStatus(ctx, d.Target, status, version)
	if err == nil {
		r.report(ctx, d, saved, last.Status, status)
	}
	return err
}

// noteDrift writes findings into the record before they are corrected.
func (r recorder) noteDrift(ctx context.Context, d *target.Desired, findings []drift.Finding) error {
	before := d.Record.Status
	status := record.WithDrift(*d.Record, findings, r.dates.In(d.Cluster))
	if equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	written, err := d.Cluster.Records().SaveStatus(ctx, d.Target, status, d.Record.ResourceVersion)
	if err != nil {
		return err
	}
	r.report(ctx, d, written, before, status)
	d.Record.Status, d.Record.ResourceVersion = status, written.Version
	return nil
}

// retire ends the record of a target whose objects were deleted: at once where it holds no pin, else when the pins are past
// their time.
func (r recorder) retire(ctx context.Context, d *target.Desired, last v1alpha1.PipelineSync) error {
	if len(last.Spec.Images) == 0 {
		return d.Cluster.Records().Delete(ctx, d.Target, last.UID, last.ResourceVersion)
	}
	status := record.Removed(last, d.Snapshot.Commit, r.dates.In(d.Cluster))
	_, err := d.Cluster.Records().SaveStatus(ctx, d.Target, status, last.ResourceVersion)
	return err
}

// report writes the events of a step of the record.
func (r recorder) report(ctx context.Context, d *target.Desired, written cluster.Written, before, after v1alpha1.PipelineSyncStatus) {
	of := v1alpha1.PipelineSync{}
	of.Name, of.Namespace = d.Target.RecordName(), d.Cluster.Namespace()
	if d.Record != nil {
		of = *d.Record
	}
	if of.UID == "" {
		of.UID = written.UID
	}
	for _, event := range record.Events(before, after) {
		r.event(ctx, d, &of, cluster.Event(event))
	}
}

// reportFlapping writes an event and a log line once when a tag begins to flap.
func (r recorder) reportFlapping(ctx context.Context, d *target.Desired, pins []v1alpha1.PinnedImage) {
	if d.Record == nil {
		return
	}
	for _, event := range record.FlappingEvents(d.Record.Spec.Images, pins, d.Environment.Images.Interval.Duration) {
		r.log.Warn("a tag flaps", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "message", event.Note)
		r.event(ctx, d, d.Record, cluster.Event(event))
	}
}

// event writes an event of a record. An event that cannot be written is logged.
func (r recorder) event(ctx context.Context, d *target.Desired, of *v1alpha1.PipelineSync, event cluster.Event) {
	if err := d.Cluster.Records().WriteEvent(ctx, of, event); err != nil {
		r.log.Warn("an event could not be written", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "error", err)
	}
}

// ReportRewound writes the event of a target that follows a history that was rewritten: that is one way to roll back, and may
// be a mistake. before is the commit where the branch stood.
func (r *Reconciler) ReportRewound(ctx context.Context, d *target.Desired, before string) {
	if d.Record == nil {
		return // it was never deployed, so that nothing was taken back
	}
	note := fmt.Sprintf("the branch was rewritten by a force push; it stood at %.8s, and %.8s is followed now", before, d.Snapshot.Commit)
	r.recorder().event(ctx, d, d.Record, cluster.Event{Warning: true, Reason: "HistoryRewritten", Action: "Fetch", Note: note})
}
