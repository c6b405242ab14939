package reconcile

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// Reasons for which a target is held as a whole, beside a promotion that it waits for.
const (
	reasonSuspended  = "Suspended"
	reasonDependency = "Dependency"
)

// suspended returns a WaitError for a target that the configuration, pipeline.yaml or its record suspends.
func suspended(d *target.Desired) error {
	var who string
	switch {
	case d.Environment.Suspend:
		who = "environment " + d.Environment.Name + " is suspended in the configuration"
	case d.Settings.Suspend != nil && *d.Settings.Suspend:
		who = target.SettingsFile + " suspends it"
	case d.Record != nil && v1alpha1.IsDisabled(d.Record):
		who = "its record is annotated with " + v1alpha1.Group + "/reconcile: disabled"
	default:
		return nil
	}
	return &target.WaitError{Reason: reasonSuspended, Message: who}
}

// hold leaves a target as it is, and says in the record what it waits for.
func (r *Reconciler) hold(ctx context.Context, t task, result Result, wait *target.WaitError) (Result, error) {
	d := t.desired
	result.Result, result.Message, result.Detail.Wait = Held, wait.Message, wait.Until
	written, err := r.recorder().create(ctx, d)
	if err != nil {
		return result, err
	}
	o := newOutcome(d, written)
	o.Wait = &record.Wait{Reason: wait.Reason, Message: wait.Message}
	if d.Record == nil {
		return result, r.recorder().save(ctx, t, o, written, nil)
	}
	live, err := inventory.Find(ctx, d.Cluster, d.Target, d.Record)
	if err != nil {
		return result, err
	}
	result.Detail.Live, result.Detail.Converged = live, wait.Reason == reasonSuspended
	// The objects go on running, and others promote from them.
	objects := d.Record.Status.Inventory
	h := target.HealthOf(ctx, d.Cluster, objects, live)
	swapped := target.Swapped(ctx, d.Cluster, objects, live, d.Rendered.Fields, record.RunningImages(d.Record.Status.History))
	o.Health, o.Drift = healthFor(h, swapped, nil), compareLastApplied(ctx, r.Planner, r.Rating, t)
	return result, r.recorder().save(ctx, t, o, written, nil)
}
