package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// Reasons for which a target is held as a whole, beside a promotion that is awaited.
const (
	reasonSuspended  = "Suspended"
	reasonDependency = "Dependency"
)

// suspended says who suspended a target; nil where nobody did.
func (c *carrier) suspended(w *target.Desired) error {
	var who string
	switch {
	case w.Environment.Suspend:
		who = "environment " + w.Environment.Name + " is suspended in the configuration"
	case w.Settings.Suspend != nil && *w.Settings.Suspend:
		who = target.SettingsFile + " suspends it"
	case w.Record != nil && v1alpha1.IsDisabled(w.Record):
		who = "its record is annotated with " + v1alpha1.Group + "/reconcile: disabled"
	default:
		return nil
	}
	return &target.WaitError{Reason: reasonSuspended, Message: who}
}

// holdTarget leaves a target as it is, and says what for.
func (c *carrier) holdTarget(ctx context.Context, w *target.Desired, result *TargetResult, wait *target.WaitError) error {
	result.Result, result.Message, result.until = Held, wait.Message, wait.Until
	var written cluster.Written
	if w.Record == nil {
		var err error
		if written, err = w.Cluster.Records().Create(ctx, w.Target, c.spec(w, pin.Decision{})); err != nil {
			return err
		}
	}
	o := outcomeOf(w, written)
	o.Wait = &record.Wait{Reason: wait.Reason, Message: wait.Message}
	if w.Record != nil {
		objects := w.Record.Status.Inventory
		live, err := inventory.Find(ctx, w.Cluster, w.Target, w.Record)
		if err != nil {
			return err
		}
		o.Drift = c.compareLastApplied(ctx, w)
		result.live, result.settled = live, wait.Reason == reasonSuspended
		// What runs goes on running, and others promote from it.
		swapped := target.Swapped(ctx, w.Cluster, objects, live, w.Rendered.Fields, record.RunningImages(w.Record.Status.History))
		o.Health = healthFor(target.HealthOf(ctx, w.Cluster, objects, live), swapped, nil)
	}
	return c.save(ctx, w, o, written.Version, nil)
}
