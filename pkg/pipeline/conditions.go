package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		status.Held, status.HeldTotal = record.Held(o.held), 0
		if len(o.held) > record.MostHeld {
			status.HeldTotal = len(o.held)
		}
	}
	switch {
	case o.wait != nil:
		reason, message = o.wait.Reason, o.wait.Message
		if status.LastAppliedCommit == "" {
			setCondition(status, v1alpha1.ConditionReady, false, reason, message)
		}
	case len(o.held) > 0:
		reason, message = heldReason(o.held), heldMessage(o.held)
	}
	setCondition(status, v1alpha1.ConditionHeld, message != "", reason, message)
	if w.Environment.Images.PromoteFrom != "" {
		promotion := o.wait != nil && reason == v1alpha1.ConditionPromotionPending
		if !promotion {
			reason, message = "NothingHeld", ""
		}
		setCondition(status, v1alpha1.ConditionPromotionPending, promotion, reason, message)
	}
}

// markHealthy notes when the deployment that runs was first seen healthy, and since when it is not any more.
func (c *carrier) markHealthy(w *target.Desired, status *v1alpha1.PipelineSyncStatus, o outcome) {
	if o.err != nil || len(status.History) == 0 || status.History[0].Outcome != outcomeApplied {
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
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		setCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case o.err != nil:
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, false, reasonOf(o.err), "")
		setCondition(status, v1alpha1.ConditionStalled, true, reasonOf(o.err), o.err.Error())
	case rivals != "":
		setCondition(status, v1alpha1.ConditionReady, false, "Contested", rivals)
		setCondition(status, v1alpha1.ConditionReconciling, false, "Contested", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "Contested", rivals)
	case o.uncorrected != nil:
		setCondition(status, v1alpha1.ConditionReady, false, "NotCompared", o.uncorrected.Error())
		setCondition(status, v1alpha1.ConditionReconciling, false, "NotCompared", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "NotCompared", o.uncorrected.Error())
	case o.health.Status == health.Healthy && o.wait == nil && len(uncreated(o.held)) > 0:
		message := heldMessage(uncreated(o.held))
		setCondition(status, v1alpha1.ConditionReady, false, "Incomplete", message)
		setCondition(status, v1alpha1.ConditionReconciling, true, "Incomplete", message)
		setCondition(status, v1alpha1.ConditionStalled, false, "Incomplete", "")
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
			message += "; " + watchless(o.unwatched)
		}
		setCondition(status, v1alpha1.ConditionReady, true, "Healthy", manifest.Shorten(slices.Concat([]string{message}, o.flapping, o.terminating)))
		setCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		setCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case o.health.Status == health.InProgress && len(status.History) > 0 && now.Sub(status.History[0].Time.Time) > timeout:
		message := fmt.Sprintf("not healthy within %s: %s", timeout, o.health.Message)
		setCondition(status, v1alpha1.ConditionReady, false, "HealthTimeout", message)
		setCondition(status, v1alpha1.ConditionReconciling, false, "HealthTimeout", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "HealthTimeout", message)
	case o.health.Status == health.InProgress:
		setCondition(status, v1alpha1.ConditionReady, false, "Progressing", o.health.Message)
		setCondition(status, v1alpha1.ConditionReconciling, true, "Progressing", o.health.Message)
		setCondition(status, v1alpha1.ConditionStalled, false, "Progressing", "")
	default:
		setCondition(status, v1alpha1.ConditionReady, false, "Unhealthy", o.health.Message)
		setCondition(status, v1alpha1.ConditionReconciling, false, "Unhealthy", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "Unhealthy", o.health.Message)
	}
}

// uncreated are the held changes of objects that are not in the cluster: what is there may be healthy, and is not what git
// says.
func uncreated(held []v1alpha1.HeldChange) []v1alpha1.HeldChange {
	return slices.DeleteFunc(slices.Clone(held), func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Create) })
}

func setCondition(status *v1alpha1.PipelineSyncStatus, kind string, is bool, reason, message string) {
	value := metav1.ConditionFalse
	if is {
		value = metav1.ConditionTrue
	}
	message = manifest.Cut(message, record.MostMessage)
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: value, Reason: reason, Message: message})
}

func setDrifted(status *v1alpha1.PipelineSyncStatus) {
	if status.Drift == nil || status.Drift.Total == 0 {
		setCondition(status, v1alpha1.ConditionDrifted, false, "InSync", "")
		return
	}
	messages := make([]string, len(status.Drift.Findings))
	for i, f := range status.Drift.Findings {
		messages[i] = f.Message
	}
	setCondition(status, v1alpha1.ConditionDrifted, true, "Drifted", manifest.Shorten(messages))
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
