package record

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Next returns the status of a record after a pass. The record is empty where the target has none. Each time of a state that
// did not change stays, so that equal states are equal values. now is the date by the clock of the API server.
func Next(before v1alpha1.PipelineSync, o Outcome, now time.Time) v1alpha1.PipelineSyncStatus {
	status := before.Status
	status.Conditions = slices.Clone(before.Status.Conditions) // setCondition writes into them
	status.RemovedAt, status.ObservedGeneration = nil, before.Generation
	if o.Apply != nil {
		status.Inventory = o.Apply.Inventory
	}
	if o.Spec.Generation != 0 {
		status.ObservedGeneration = o.Spec.Generation
	}
	if o.Spec.Apply != "" {
		status.ConfirmedApply = o.Spec.Apply
	}
	if o.Failure == nil || !o.Failure.Canceled {
		p := pass{Outcome: o, before: before.Status, now: now, held: before.Status.Held}
		p.write(&status)
	}
	return finished(before, o.Spec.Pins, status, now)
}

// pass is an outcome together with the status that it changes.
type pass struct {
	Outcome
	before v1alpha1.PipelineSyncStatus
	now    time.Time
	held   []v1alpha1.HeldChange // all changes that wait
}

func (p *pass) write(status *v1alpha1.PipelineSyncStatus) {
	if p.Apply != nil {
		p.held = HeldChanges(p.before.Held, p.Apply.Held, stamp(p.now))
	}
	if p.Rendered != nil {
		status.Warnings, status.Unpinned = recordedWarnings(p.Rendered.Warnings), recordedUnpinned(p.Rendered.Unpinned)
	}
	attempted := p.attempted()
	if attempted || p.Failure != nil || p.Wait != nil {
		status.LastAttemptedCommit = p.Commit.Hash
	}
	p.setHeld(status)
	status.Contested = p.contests()
	if attempted {
		status.History = p.history()
	}
	// A commit that leaves the target as it is does not move its record, unless a trailer names the target.
	if p.Failure == nil && (attempted || p.Apply != nil && p.Apply.Allowed) {
		status.LastAppliedCommit = p.Commit.Hash
	}
	p.setTrusted(status)
	p.setDrift(status)
	if p.Wait != nil && status.LastAppliedCommit == "" {
		return // the target was never applied: it has no health
	}
	p.markHealthy(status)
	p.setHealth(status)
}

// attempted reports whether objects were written or should have been, which makes a deployment.
func (p *pass) attempted() bool {
	if p.Apply == nil || p.Apply.Removal {
		return false
	}
	return p.Apply.Pending || newlyHeld(p.before.Held, keptHeld(p.held)) || len(p.before.Held) > 0 && len(p.held) == 0 ||
		p.before.LastAppliedCommit == "" || isUnrecorded(p.before, p.Apply.Inventory, p.held)
}

// isUnrecorded reports whether the history lacks the applied objects: syncer was killed before it wrote the status.
func isUnrecorded(before v1alpha1.PipelineSyncStatus, inventory []v1alpha1.InventoryEntry, held []v1alpha1.HeldChange) bool {
	if len(before.History) == 0 || len(held) > 0 {
		return false
	}
	last := before.History[0]
	return last.Outcome == Failed || last.Outcome == Applied && last.Set != setHash(inventory)
}

// finished cuts a status to the size of a record, and dates its conditions.
func finished(before v1alpha1.PipelineSync, pins []v1alpha1.PinnedImage, status v1alpha1.PipelineSyncStatus, now time.Time) v1alpha1.PipelineSyncStatus {
	if pins == nil {
		pins = before.Spec.Images
	}
	status = Trim(pins, status)
	stampConditions(&status, before.Status.Conditions, stamp(now))
	return status
}

// Removed returns the status of a target whose objects were deleted. Its record keeps the pins and the history.
func Removed(before v1alpha1.PipelineSync, commit string, now time.Time) v1alpha1.PipelineSyncStatus {
	at := stamp(now)
	status := v1alpha1.PipelineSyncStatus{
		ObservedGeneration: before.Generation, ConfirmedApply: before.Status.ConfirmedApply, LastAttemptedCommit: commit, RemovedAt: &at,
		History: before.Status.History,
	}
	setCondition(&status, v1alpha1.ConditionReady, false, "Removed", "the pipeline left git and its objects were deleted; the record keeps its pins")
	stampConditions(&status, before.Status.Conditions, at)
	return status
}

// NewlyCutOff reports whether a run is gone that the pass before did not miss. The event of its end may come late, so that the
// target is compared once more.
func NewlyCutOff(before, after []v1alpha1.InventoryEntry) bool {
	known := map[string]bool{}
	for _, entry := range before {
		known[string(entry.UID)] = entry.Deleted
	}
	return slices.ContainsFunc(after, func(entry v1alpha1.InventoryEntry) bool { return entry.Deleted && !known[string(entry.UID)] })
}

// stamp cuts a date to the second, as the API server keeps dates.
func stamp(date time.Time) metav1.Time { return metav1.NewTime(date.UTC().Truncate(time.Second)) }
