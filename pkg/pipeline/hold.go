package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// Reasons for which a target is held as a whole, beside a promotion that is awaited.
const (
	reasonSuspended  = "Suspended"
	reasonDependency = "Dependency"
	reasonRunning    = "Running"
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
		live, err := apply.FindMembers(ctx, w.Cluster, w.Target, w.Record)
		if err != nil {
			return err
		}
		o.standing = c.standingOf(ctx, w)
		result.live, result.settled = live, wait.Reason == reasonSuspended
		o.health = target.HealthOf(ctx, w.Cluster, o.inventory, live) // what runs goes on running, and others promote from it
		o.swapped = target.Swapped(ctx, w.Cluster, o.inventory, live, w.Rendered.Fields, deployedImages(w.Record.Status.History))
	}
	return c.save(ctx, w, o)
}

// heldChanges is what a record says of the changes that wait. A change that was held before keeps the time since when.
func heldChanges(before []v1alpha1.HeldChange, held []manifest.Change, now metav1.Time) []v1alpha1.HeldChange {
	var out []v1alpha1.HeldChange
	for _, change := range held {
		h := v1alpha1.HeldChange{
			ObjectReference: objectReference(change.ID), Action: string(change.Held.Action), Reason: string(change.Held.Reason),
			Message: change.Held.Message, Since: now, Hash: change.Held.Hash,
		}
		if at := slices.IndexFunc(before, func(b v1alpha1.HeldChange) bool { return sameHold(b, h) }); at >= 0 {
			h.Since = before[at].Since
		}
		out = append(out, h)
	}
	return out
}

// sameHold reports whether two records are of one change; what it waits for may have changed.
func sameHold(a, b v1alpha1.HeldChange) bool {
	return a.ObjectReference == b.ObjectReference && a.Action == b.Action && a.Hash == b.Hash
}

// newlyHeld reports whether a pass held a change that the last one did not.
func newlyHeld(before, held []v1alpha1.HeldChange) bool {
	return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool {
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return sameHold(b, h) })
	})
}

// releases reports whether a pass carried out nothing but changes that were held, as they were held: what a later commit
// made of them is that commit's deployment.
func releases(before []v1alpha1.HeldChange, changes []manifest.Change, inventory []v1alpha1.InventoryEntry) bool {
	applied := map[v1alpha1.ObjectReference]string{} // a pruned object has no hash, like its held change
	for _, entry := range inventory {
		applied[objectReference(entry.ID())] = entry.Hash
	}
	return len(changes) > 0 && !slices.ContainsFunc(changes, func(change manifest.Change) bool {
		object := objectReference(change.ID)
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return b.ObjectReference == object && b.Hash == applied[object] })
	})
}

func objectReference(id manifest.ID) v1alpha1.ObjectReference {
	return v1alpha1.ObjectReference{APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// heldMessage says in one line what waits for what.
func heldMessage(held []v1alpha1.HeldChange) string {
	var parts []string
	for _, h := range held {
		id := h.ID()
		parts = append(parts, fmt.Sprintf("the %s of %s waits since %s: %s", verb(h.Action), id, h.Since.UTC().Format(time.RFC3339), h.Message))
	}
	return manifest.Shorten(parts)
}

func verb(action string) string {
	switch manifest.Action(action) {
	case manifest.Create:
		return "creation"
	case manifest.Replace:
		return "replacement"
	case manifest.Prune:
		return "deletion"
	}
	return "change"
}

// heldSummary counts what waits, for the line of a target.
func heldSummary(held []v1alpha1.HeldChange) []string {
	if len(held) == 0 {
		return nil
	}
	return []string{manifest.Plural(len(held), "change") + " held"}
}

// heldReason is the reason of the condition Held: that of the first change, since a condition has one.
func heldReason(held []v1alpha1.HeldChange) string { return cmp.Or(held[0].Reason, reasonRunning) }
