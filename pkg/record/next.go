package record

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Next returns the status that follows from the last one and an outcome. before is the record; nil: there is none yet. now is
// the date in the cluster. Every time whose state did not change stays, so that equal states give equal statuses. Next changes
// nothing that it is given.
func Next(before *v1alpha1.PipelineSync, o Outcome, now time.Time) v1alpha1.PipelineSyncStatus {
	var last v1alpha1.PipelineSync
	if before != nil {
		last = *before
	}
	pins := o.Images.Pins
	if pins == nil {
		pins = last.Spec.Images
	}
	status := Trim(pins, compose(last, o, now))
	StampConditions(&status, last.Status.Conditions, toSecond(now))
	return status
}

func toSecond(date time.Time) metav1.Time { return metav1.NewTime(date.UTC().Truncate(time.Second)) }

// compose builds a status of any size.
func compose(last v1alpha1.PipelineSync, o Outcome, now time.Time) v1alpha1.PipelineSyncStatus {
	before := last.Status
	status := before
	status.Conditions = slices.Clone(before.Conditions) // conditions are set in place
	status.Inventory, status.RemovedAt = o.Objects.Inventory, nil
	status.ObservedGeneration = last.Generation
	if o.Write.Generation != 0 {
		status.ObservedGeneration = o.Write.Generation
	}
	if o.Write.Apply != "" {
		status.ConfirmedApply = o.Write.Apply
	}
	if o.Failure != nil && o.Failure.Stopped {
		return status
	}
	if o.Content != nil {
		status.Warnings, status.Unpinned = keptWarnings(o.Content.Warnings), keptUnpinned(o.Content.Unpinned)
	}
	if o.Attempted || o.Failure != nil || o.Wait != nil {
		status.LastAttemptedCommit = o.Commit.Hash
	}
	setHeld(&status, o)
	o.Drift.Standing.note(&status, before.Drift, now)
	if o.Wait != nil {
		if status.LastAppliedCommit != "" {
			markHealthy(&status, o, now)
			setHealth(&status, o, now)
		}
		return status
	}
	status.Contested = o.Objects.Conflicts
	if o.Attempted {
		status.History = nextHistory(before, o, now)
	}
	markHealthy(&status, o, now)
	// A commit that leaves the target as it is does not move its record, unless a trailer names the target: its permission
	// ends with this commit.
	if o.Failure == nil && (o.Attempted || o.Images.Allowed) {
		status.LastAppliedCommit = o.Commit.Hash
	}
	if o.Failure == nil {
		unchecked := !o.Drift.Checked && !o.Objects.Changed
		status.Drift = drift.Summary(o.Drift.Findings, o.Drift.Corrected, WithoutImages(before.Drift, unchecked), now)
		if unchecked {
			status.Drift = KeepImageFindings(status.Drift, before.Drift)
		}
		SetDrifted(&status)
		SetUnwatched(&status, o.Objects.Unwatched)
	}
	setHealth(&status, o, now)
	return status
}

// WithDrift returns a status with findings that are about to be corrected.
func WithDrift(before *v1alpha1.PipelineSync, findings []drift.Finding, now time.Time) v1alpha1.PipelineSyncStatus {
	status := before.Status
	status.Conditions = slices.Clone(status.Conditions)
	status.Drift = drift.Summary(findings, nil, WithoutImages(before.Status.Drift, true), now)
	status.Drift = KeepImageFindings(status.Drift, before.Status.Drift)
	SetDrifted(&status)
	status = Trim(before.Spec.Images, status)
	StampConditions(&status, before.Status.Conditions, toSecond(now))
	return status
}

// Removed returns the status of a target that left git and whose objects are deleted: the record keeps its pins.
func Removed(before *v1alpha1.PipelineSync, commit string, now time.Time) v1alpha1.PipelineSyncStatus {
	date := toSecond(now)
	status := v1alpha1.PipelineSyncStatus{
		ObservedGeneration: before.Generation, ConfirmedApply: before.Status.ConfirmedApply, LastAttemptedCommit: commit, RemovedAt: &date,
		History: before.Status.History,
	}
	SetCondition(&status, v1alpha1.ConditionReady, false, "Removed", "the pipeline left git and its objects were deleted; the record keeps its pins")
	StampConditions(&status, before.Status.Conditions, date)
	return status
}

// setHeld says what a target waits for. Its other conditions stay, as its objects do.
func setHeld(status *v1alpha1.PipelineSyncStatus, o Outcome) {
	held := o.Objects.Held
	switch {
	case o.Failure != nil:
		held = status.Held // the held changes stay held
	case o.Wait == nil:
		status.Held, status.HeldTotal = KeptHeld(held), 0
		if len(held) > MostHeld {
			status.HeldTotal = len(held)
		}
	}
	reason, message := "NothingHeld", ""
	switch {
	case o.Wait != nil:
		reason, message = o.Wait.Reason, o.Wait.Message
		if status.LastAppliedCommit == "" {
			SetCondition(status, v1alpha1.ConditionReady, false, reason, message)
		}
	case len(held) > 0:
		reason, message = HeldReason(held), HeldMessage(held)
	}
	SetCondition(status, v1alpha1.ConditionHeld, message != "", reason, message)
	if o.Policy.PromoteFrom != "" {
		promotion := o.Wait != nil && reason == v1alpha1.ConditionPromotionPending
		if !promotion {
			reason, message = "NothingHeld", ""
		}
		SetCondition(status, v1alpha1.ConditionPromotionPending, promotion, reason, message)
	}
}

// markHealthy sets when the running deployment was first healthy, and since when it is not any more.
func markHealthy(status *v1alpha1.PipelineSyncStatus, o Outcome, now time.Time) {
	if o.Failure != nil || len(status.History) == 0 || status.History[0].Outcome != Applied {
		return
	}
	last, date := status.History[0], toSecond(now)
	healthy := o.Health.Status == health.Healthy
	switch {
	case healthy && !o.Health.Unseen && !o.Health.Swapped && last.HealthyAt == nil:
		last.HealthyAt = &date
	case healthy && last.UnhealthyAt != nil:
		last.UnhealthyAt = nil
	case !healthy && last.HealthyAt != nil && last.UnhealthyAt == nil:
		last.UnhealthyAt = &date
	default:
		return
	}
	status.History = slices.Clone(status.History) // the history of the record is compared with it
	status.History[0] = last
}

// setHealth sets Ready, Reconciling and Stalled by the rules of kstatus
// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
func setHealth(status *v1alpha1.PipelineSyncStatus, o Outcome, now time.Time) {
	conflict := conflictMessage(o.Objects.Conflicts, now)
	switch {
	case o.Failure != nil && o.Failure.Passing:
		setReady(status, false, o.Failure.Reason, o.Failure.Message)
		SetCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		SetCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case o.Failure != nil:
		setStalled(status, o.Failure.Reason, o.Failure.Message)
	case conflict != "":
		setStalled(status, "Contested", conflict)
	case o.Objects.Uncorrected != "":
		setStalled(status, "NotCompared", o.Objects.Uncorrected)
	case o.Health.Status == health.Healthy && o.Wait == nil && len(Uncreated(o.Objects.Held)) > 0:
		setProgressing(status, "Incomplete", HeldMessage(Uncreated(o.Objects.Held)))
	case o.Health.Status == health.Healthy:
		setReady(status, true, "Healthy", healthyMessage(*status, o))
		SetCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		SetCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case o.Health.Status == health.InProgress && len(status.History) > 0 && now.Sub(status.History[0].Time.Time) > o.Policy.HealthTimeout:
		setStalled(status, "HealthTimeout", fmt.Sprintf("not healthy within %s: %s", o.Policy.HealthTimeout, o.Health.Message))
	case o.Health.Status == health.InProgress:
		setProgressing(status, "Progressing", o.Health.Message)
	default:
		setStalled(status, "Unhealthy", o.Health.Message)
	}
}

func setReady(status *v1alpha1.PipelineSyncStatus, ready bool, reason, message string) {
	SetCondition(status, v1alpha1.ConditionReady, ready, reason, message)
}

// setProgressing says that a target becomes ready without a change of git.
func setProgressing(status *v1alpha1.PipelineSyncStatus, reason, message string) {
	setReady(status, false, reason, message)
	SetCondition(status, v1alpha1.ConditionReconciling, true, reason, message)
	SetCondition(status, v1alpha1.ConditionStalled, false, reason, "")
}

// setStalled says that a target does not become ready by itself.
func setStalled(status *v1alpha1.PipelineSyncStatus, reason, message string) {
	setReady(status, false, reason, message)
	SetCondition(status, v1alpha1.ConditionReconciling, false, reason, "")
	SetCondition(status, v1alpha1.ConditionStalled, true, reason, message)
}

// healthyMessage is that of Ready for healthy objects.
func healthyMessage(status v1alpha1.PipelineSyncStatus, o Outcome) string {
	message := "every object is as git says and healthy"
	switch {
	case o.Wait != nil:
		message = "what was applied last is healthy; the newest commit waits"
	case len(o.Objects.Held) > 0:
		message = "every object is healthy; " + manifest.Plural(len(o.Objects.Held), "change") + " held"
	case status.Drift != nil && status.Drift.Total > 0:
		message = "every object is healthy; " + manifest.Plural(status.Drift.Total, "difference") + " from git"
	}
	if len(o.Objects.Unwatched) > 0 {
		message += "; " + Watchless(o.Objects.Unwatched)
	}
	return manifest.Shorten(slices.Concat([]string{message}, o.Images.Flapping, o.Objects.Terminating))
}

// note sets the drift from the commit applied last. The findings of registries stay. Whether a target is in sync is not known
// when it could not be compared.
func (s Standing) note(status *v1alpha1.PipelineSyncStatus, before *v1alpha1.DriftSummary, now time.Time) {
	switch {
	case s.Compared:
		status.Drift = KeepImageFindings(drift.Summary(s.Findings, nil, WithoutImages(before, true), now), before)
		SetDrifted(status)
	case s.Err != nil && !errors.Is(s.Err, context.Canceled) && !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionDrifted):
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionUnknown, Reason: "NotCompared",
			Message: manifest.Shorten([]string{"what was applied last could not be compared: " + s.Err.Error()}),
		})
	}
}

// Bounds of the history.
const (
	keptDeployments = 20
	mostDeployments = 100 // whatever the configuration says: a record has to fit into the store of the API server
)

// nextHistory adds a deployment, or completes the entry of a commit that is tried again. The correction of drift is no new
// deployment.
func nextHistory(before v1alpha1.PipelineSyncStatus, o Outcome, now time.Time) []v1alpha1.Deployment {
	history, removed := before.History, before.RemovedAt != nil
	entry := v1alpha1.Deployment{
		Number: 1, Commit: o.Commit.Hash, Author: o.Commit.Author, Subject: o.Commit.Subject,
		Time: toSecond(now), Outcome: Applied, Images: o.Images.Deployed, AllowedBy: o.Images.AllowedBy,
	}
	switch {
	case o.Failure != nil:
		entry.Outcome = Failed
	case !OnlyDeletions(o.Objects.Held):
		entry.Outcome = HeldInPart
	default:
		entry.Set = SetHash(WithoutHeld(o.Objects.Inventory, o.Objects.Held))
	}
	if len(history) > 0 {
		entry.Number = history[0].Number + 1
		last := history[0]
		if SameDeployment(last, entry, removed) {
			return history
		}
		if last.Commit == entry.Commit && last.Outcome != Applied {
			entry.Number, history = last.Number, history[1:]
			if last.Outcome == entry.Outcome {
				entry.Time = last.Time // the same outcome says nothing new
			}
			if len(history) > 0 && SameDeployment(history[0], entry, removed) {
				return history // a correction that took more than one try
			}
		} else if last.Outcome == HeldInPart && o.Objects.Released {
			// Other commits came meanwhile; the changes that go out now are those of the held commit.
			entry.Number, entry.Commit, entry.Author, entry.Subject = last.Number, last.Commit, last.Author, last.Subject
			history = history[1:]
		}
	}
	entry.RollbackOf = ReturnsTo(entry, history)
	out := append([]v1alpha1.Deployment{entry}, history...)
	return out[:min(len(out), max(keptDeployments, min(o.Policy.Deployments, mostDeployments)))]
}

// Unsaid reports whether the history does not have what is applied: syncer was killed before it could write it.
func Unsaid(before v1alpha1.PipelineSyncStatus, inventory []v1alpha1.InventoryEntry, held []v1alpha1.HeldChange) bool {
	if len(before.History) == 0 || len(held) > 0 {
		return false
	}
	last := before.History[0]
	return last.Outcome == Failed || last.Outcome == Applied && last.Set != SetHash(inventory)
}
