package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// outcome is what a pass has to say of one target.
type outcome struct {
	attempted bool            // objects were written, or should have been
	allowed   bool            // a commit trailer allowed prunes
	err       error           // why not all of them were
	written   cluster.Written // the record, where this pass wrote its spec
	health    target.Health
	swapped   []string // objects that run another image than the one that was deployed
	inventory []v1alpha1.InventoryEntry
	unwatched []string       // kinds whose changes are not noticed now
	objects   map[string]int // by how they are; nil: they were not looked at
	drift     []drift.Finding
	standing  standing // of the commit last applied, where the newest one was not looked at to the end
	corrected []drift.Finding
	images    []v1alpha1.DeployedImage
	pins      []v1alpha1.PinnedImage // that the record has beside this; nil: those that it had
	changes   []manifest.Change      // that were carried out
	checked   bool                   // drift holds what registries say of the images, too
	allowedBy string                 // whose trailer let references through that were never promoted

	wait        *target.WaitError     // why the whole target is held
	held        []v1alpha1.HeldChange // what waits of the target
	released    bool                  // only changes that were held were carried out
	contested   []v1alpha1.Contest
	uncorrected error    // objects that were to be put right, and could not be compared
	terminating []string // objects that left git and do not go
	flapping    []string // tags that move at each look
}

// save writes a target's status where it says something new. A pass that finds a target at rest sends nothing.
func (c *carrier) save(ctx context.Context, w *target.Desired, o outcome) error {
	before := v1alpha1.PipelineSyncStatus{}
	if w.Record != nil {
		before = w.Record.Status
	}
	status := fitted(w, o.pins, c.status(w, before, o))
	record.StampConditions(&status, before.Conditions, c.dates().Stamp(w.Cluster))
	c.measure(w, o, before, status)
	if added := newWarnings(before.Warnings, status.Warnings); len(added) > 0 {
		c.log.Info("git has what arrives otherwise than it reads", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "commit", w.Snapshot.Commit, "warnings", added)
	}
	if w.Record != nil && equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	// A cancelled pass must still say what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	version := o.written.Version
	if version == "" && w.Record != nil {
		version = w.Record.ResourceVersion
	}
	written, err := w.Cluster.Records().SaveStatus(ctx, w.Target, status, version)
	if err == nil {
		c.tell(ctx, w, written, before, status)
	}
	return err
}

const saveTimeout = 10 * time.Second

// status composes a record's status. It keeps every time that did not change, so that equal states compare equal.
func (c *carrier) status(w *target.Desired, before v1alpha1.PipelineSyncStatus, o outcome) v1alpha1.PipelineSyncStatus {
	status := before
	status.Conditions = slices.Clone(before.Conditions) // setCondition writes into them
	status.Inventory, status.RemovedAt = o.inventory, nil
	if w.Record != nil {
		status.ObservedGeneration = w.Record.Generation
	}
	if o.written.Generation != 0 {
		status.ObservedGeneration = o.written.Generation
	}
	if o.written.Apply != "" {
		status.ConfirmedApply = o.written.Apply
	}
	if errors.Is(o.err, context.Canceled) {
		return status // syncer was told to stop, which says nothing of the target
	}
	if w.Rendered.From == nil || w.Rendered.From.Err == nil { // of what cannot be rendered nothing new is known
		status.Warnings, status.Unpinned = recordedWarnings(w.Warnings()), recordedUnpinned(w.Rendered.Suspects)
	}
	if o.attempted || o.err != nil || o.wait != nil {
		status.LastAttemptedCommit = w.Snapshot.Commit
	}
	c.setHeld(w, &status, o)
	o.standing.note(&status, before.Drift, c.dates().In(w.Cluster))
	if o.wait != nil {
		if status.LastAppliedCommit != "" {
			c.markHealthy(w, &status, o)
			c.setHealth(w, &status, o)
		}
		return status
	}
	status.Contested = o.contested
	if o.attempted {
		status.History = c.history(w, before.History, o)
	}
	c.markHealthy(w, &status, o)
	// A commit that leaves the target as it is does not move its record, unless a trailer spoke of the target: what it
	// allowed ends with this pass.
	if o.err == nil && (o.attempted || o.allowed) {
		status.LastAppliedCommit = w.Snapshot.Commit
	}
	if o.err == nil {
		unchecked := !o.checked && len(o.changes) == 0
		status.Drift = drift.Summary(o.drift, o.corrected, record.WithoutImages(before.Drift, unchecked), c.dates().In(w.Cluster))
		if unchecked {
			status.Drift = record.KeepImageFindings(status.Drift, before.Drift)
		}
		record.SetDrifted(&status)
		record.SetUnwatched(&status, o.unwatched)
	}
	c.setHealth(w, &status, o)
	return status
}

// fail notes a failure that came before anything was written, and gives it back. A target that was never deployed gets
// a record for it, so that whoever looks at the cluster sees it.
func (c *carrier) fail(ctx context.Context, w *target.Desired, failure error) error {
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(w.Target.Pipeline) {
		return failure
	}
	o := outcome{err: failure}
	if w.Record == nil {
		written, err := w.Cluster.Records().Create(ctx, w.Target, c.spec(w, pin.Decision{}))
		if err != nil {
			return errors.Join(failure, err)
		}
		o.written = written
	} else if w.Record.Spec.Owner != c.Config.Name {
		return failure // the record is somebody else's
	} else {
		o.inventory, o.held, o.contested = w.Record.Status.Inventory, w.Record.Status.Held, w.Record.Status.Contested
		o.standing = c.standingOf(ctx, w)
	}
	if err := c.save(ctx, w, o); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}
