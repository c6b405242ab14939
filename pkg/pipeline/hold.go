package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
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
	o := outcome{wait: wait}
	if w.Record == nil {
		written, err := w.Cluster.Records().Create(ctx, w.Target, c.spec(w, pin.Decision{}))
		if err != nil {
			return err
		}
		o.written = written
	} else {
		o.inventory, o.held, o.contested = w.Record.Status.Inventory, w.Record.Status.Held, w.Record.Status.Contested
		live, err := inventory.Find(ctx, w.Cluster, w.Target, w.Record)
		if err != nil {
			return err
		}
		o.standing = c.standingOf(ctx, w)
		result.live, result.settled = live, wait.Reason == reasonSuspended
		o.health = target.HealthOf(ctx, w.Cluster, o.inventory, live) // what runs goes on running, and others promote from it
		o.swapped = target.Swapped(ctx, w.Cluster, o.inventory, live, w.Rendered.Fields, record.RunningImages(w.Record.Status.History))
	}
	return c.save(ctx, w, o)
}
