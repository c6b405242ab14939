package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// setHeld says what a target waits for. What runs goes on running, so that its other conditions stay.
func (c *carrier) setHeld(w *target.Desired, status *v1alpha1.PipelineSyncStatus, o outcome) {
	reason, message := "NothingHeld", ""
	switch {
	case o.err != nil:
		o.held = status.Held // what waited goes on waiting
	case o.wait == nil:
		status.Held, status.HeldTotal = record.KeptHeld(o.held), 0
		if len(o.held) > record.MostHeld {
			status.HeldTotal = len(o.held)
		}
	}
	switch {
	case o.wait != nil:
		reason, message = o.wait.Reason, o.wait.Message
		if status.LastAppliedCommit == "" {
			record.SetCondition(status, v1alpha1.ConditionReady, false, reason, message)
		}
	case len(o.held) > 0:
		reason, message = record.HeldReason(o.held), record.HeldMessage(o.held)
	}
	record.SetCondition(status, v1alpha1.ConditionHeld, message != "", reason, message)
	if w.Environment.Images.PromoteFrom != "" {
		promotion := o.wait != nil && reason == v1alpha1.ConditionPromotionPending
		if !promotion {
			reason, message = "NothingHeld", ""
		}
		record.SetCondition(status, v1alpha1.ConditionPromotionPending, promotion, reason, message)
	}
}

// markHealthy notes when the deployment that runs was first seen healthy, and since when it is not any more.
func (c *carrier) markHealthy(w *target.Desired, status *v1alpha1.PipelineSyncStatus, o outcome) {
	if o.err != nil || len(status.History) == 0 || status.History[0].Outcome != record.Applied {
		return
	}
	last, now := status.History[0], c.dates().Stamp(w.Cluster)
	healthy := o.health.Status == health.Healthy
	switch {
	case healthy && !o.health.Unseen && len(o.swapped) == 0 && last.HealthyAt == nil:
		last.HealthyAt = &now
	case healthy && last.UnhealthyAt != nil:
		last.UnhealthyAt = nil
	case !healthy && last.HealthyAt != nil && last.UnhealthyAt == nil:
		last.UnhealthyAt = &now
	default:
		return
	}
	status.History = slices.Clone(status.History) // the record's own is compared with it
	status.History[0] = last
}

// defaultHealthTimeout is how long a deployment may take to become healthy where pipeline.yaml says nothing.
const defaultHealthTimeout = 10 * time.Minute

// setHealth says how the target is, by the rules of kstatus.
func (c *carrier) setHealth(w *target.Desired, status *v1alpha1.PipelineSyncStatus, o outcome) {
	timeout := cmp.Or(w.Settings.HealthTimeout.Duration, defaultHealthTimeout)
	now := c.dates().In(w.Cluster)
	rivals := contestMessage(o.contested, now)
	switch {
	case o.err != nil && passes(o.err):
		record.SetCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		record.SetCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		record.SetCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case o.err != nil:
		record.SetCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, reasonOf(o.err), "")
		record.SetCondition(status, v1alpha1.ConditionStalled, true, reasonOf(o.err), o.err.Error())
	case rivals != "":
		record.SetCondition(status, v1alpha1.ConditionReady, false, "Contested", rivals)
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, "Contested", "")
		record.SetCondition(status, v1alpha1.ConditionStalled, true, "Contested", rivals)
	case o.uncorrected != nil:
		record.SetCondition(status, v1alpha1.ConditionReady, false, "NotCompared", o.uncorrected.Error())
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, "NotCompared", "")
		record.SetCondition(status, v1alpha1.ConditionStalled, true, "NotCompared", o.uncorrected.Error())
	case o.health.Status == health.Healthy && o.wait == nil && len(record.Uncreated(o.held)) > 0:
		message := record.HeldMessage(record.Uncreated(o.held))
		record.SetCondition(status, v1alpha1.ConditionReady, false, "Incomplete", message)
		record.SetCondition(status, v1alpha1.ConditionReconciling, true, "Incomplete", message)
		record.SetCondition(status, v1alpha1.ConditionStalled, false, "Incomplete", "")
	case o.health.Status == health.Healthy:
		message := "every object is as git says and healthy"
		switch {
		case o.wait != nil:
			message = "what was applied last is healthy; the newest commit waits"
		case len(o.held) > 0:
			message = "every object is healthy; " + manifest.Plural(len(o.held), "change") + " held"
		case status.Drift != nil && status.Drift.Total > 0:
			message = "every object is healthy; " + manifest.Plural(status.Drift.Total, "difference") + " from git"
		}
		if len(o.unwatched) > 0 {
			message += "; " + record.Watchless(o.unwatched)
		}
		record.SetCondition(status, v1alpha1.ConditionReady, true, "Healthy", manifest.Shorten(slices.Concat([]string{message}, o.flapping, o.terminating)))
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		record.SetCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case o.health.Status == health.InProgress && len(status.History) > 0 && now.Sub(status.History[0].Time.Time) > timeout:
		message := fmt.Sprintf("not healthy within %s: %s", timeout, o.health.Message)
		record.SetCondition(status, v1alpha1.ConditionReady, false, "HealthTimeout", message)
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, "HealthTimeout", "")
		record.SetCondition(status, v1alpha1.ConditionStalled, true, "HealthTimeout", message)
	case o.health.Status == health.InProgress:
		record.SetCondition(status, v1alpha1.ConditionReady, false, "Progressing", o.health.Message)
		record.SetCondition(status, v1alpha1.ConditionReconciling, true, "Progressing", o.health.Message)
		record.SetCondition(status, v1alpha1.ConditionStalled, false, "Progressing", "")
	default:
		record.SetCondition(status, v1alpha1.ConditionReady, false, "Unhealthy", o.health.Message)
		record.SetCondition(status, v1alpha1.ConditionReconciling, false, "Unhealthy", "")
		record.SetCondition(status, v1alpha1.ConditionStalled, true, "Unhealthy", o.health.Message)
	}
}

// reasonOf names a failure in one word for a condition.
func reasonOf(err error) string {
	if _, ok := errors.AsType[*apply.PruneRefusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*target.RefusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*apply.OwnedError](err); ok {
		return "OwnedByAnother"
	}
	if _, ok := errors.AsType[*apply.AdoptionError](err); ok {
		return "AdoptionNeeded"
	}
	if _, ok := errors.AsType[*record.TooLargeError](err); ok {
		return "TooLarge"
	}
	if _, ok := errors.AsType[*target.MissingOverlayError](err); ok {
		return "OverlayMissing"
	}
	if _, ok := errors.AsType[*image.RefusedError](err); ok {
		return "ImageRefused"
	}
	switch {
	case errors.Is(err, image.ErrUnsigned):
		return "ImageUnsigned"
	case errors.Is(err, image.ErrNotFound):
		return "ImageNotFound"
	case errors.Is(err, image.ErrMismatch):
		return "RegistryMismatch"
	case errors.Is(err, image.ErrDenied):
		return "RegistryDenied"
	case errors.Is(err, image.ErrUnavailable):
		return "RegistryUnavailable"
	}
	return "Failed"
}

// passes reports whether a failure may end by itself.
func passes(err error) bool {
	return answer.IsPassing(err) || errors.Is(err, image.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
