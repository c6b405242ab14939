package record

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// defaultHealthTimeout is how long a deployment may take to become healthy if pipeline.yaml does not set it.
const defaultHealthTimeout = 10 * time.Minute

// markHealthy dates when the deployment that runs was first seen healthy, and since when it is not healthy any more.
func (p *pass) markHealthy(status *v1alpha1.PipelineSyncStatus) {
	if p.Failure != nil || len(status.History) == 0 || status.History[0].Outcome != Applied {
		return
	}
	last, now := status.History[0], stamp(p.now)
	healthy := p.Health.Status == health.Healthy
	switch {
	case healthy && !p.Health.Unseen && len(p.Health.Swapped) == 0 && last.HealthyAt == nil:
		last.HealthyAt = &now
	case healthy && last.UnhealthyAt != nil:
		last.UnhealthyAt = nil
	case !healthy && last.HealthyAt != nil && last.UnhealthyAt == nil:
		last.UnhealthyAt = &now
	default:
		return
	}
	status.History = slices.Clone(status.History) // the list of the record is compared with it
	status.History[0] = last
}

// setHealth writes the conditions Ready, Reconciling and Stalled, by the rules of kstatus.
func (p *pass) setHealth(status *v1alpha1.PipelineSyncStatus) {
	conflicts := conflictMessage(status.Contested, p.now)
	switch {
	case p.Failure != nil && p.Failure.Passing:
		setCondition(status, v1alpha1.ConditionReady, false, p.Failure.Reason, p.Failure.Message)
		setCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		setCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case p.Failure != nil:
		setStalled(status, p.Failure.Reason, p.Failure.Message)
	case conflicts != "":
		setStalled(status, "Contested", conflicts)
	case p.Drift != nil && p.Drift.Uncorrected != "":
		setStalled(status, "NotCompared", p.Drift.Uncorrected)
	case p.Health.Status == health.Healthy && p.Wait == nil && len(uncreated(p.held)) > 0:
		setProgressing(status, "Incomplete", HeldMessage(uncreated(p.held)))
	case p.Health.Status == health.Healthy:
		setCondition(status, v1alpha1.ConditionReady, true, "Healthy", p.healthyMessage(status))
		setCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		setCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case p.Health.Status == health.InProgress && p.isLate(status):
		setStalled(status, "HealthTimeout", fmt.Sprintf("not healthy within %s: %s", p.healthTimeout(), p.Health.Message))
	case p.Health.Status == health.InProgress:
		setProgressing(status, "Progressing", p.Health.Message)
	default:
		setStalled(status, "Unhealthy", p.Health.Message)
	}
}

// healthyMessage says how far a healthy target agrees with git.
func (p *pass) healthyMessage(status *v1alpha1.PipelineSyncStatus) string {
	message := "every object is as git says and healthy"
	switch {
	case p.Wait != nil:
		message = "what was applied last is healthy; the newest commit waits"
	case len(p.held) > 0:
		message = "every object is healthy; " + manifest.Plural(len(p.held), "change") + " held"
	case status.Drift != nil && status.Drift.Total > 0:
		message = "every object is healthy; " + manifest.Plural(status.Drift.Total, "difference") + " from git"
	}
	if p.Drift != nil && len(p.Drift.Unwatched) > 0 {
		message += "; " + unwatchedMessage(p.Drift.Unwatched)
	}
	return manifest.Shorten(slices.Concat([]string{message}, p.Health.Notes))
}

func (p *pass) healthTimeout() time.Duration {
	return cmp.Or(p.Rules.HealthTimeout, defaultHealthTimeout)
}

// isLate reports whether the newest deployment takes longer than allowed to become healthy.
func (p *pass) isLate(status *v1alpha1.PipelineSyncStatus) bool {
	return len(status.History) > 0 && p.now.Sub(status.History[0].Time.Time) > p.healthTimeout()
}

func setStalled(status *v1alpha1.PipelineSyncStatus, reason, message string) {
	setCondition(status, v1alpha1.ConditionReady, false, reason, message)
	setCondition(status, v1alpha1.ConditionReconciling, false, reason, "")
	setCondition(status, v1alpha1.ConditionStalled, true, reason, message)
}

func setProgressing(status *v1alpha1.PipelineSyncStatus, reason, message string) {
	setCondition(status, v1alpha1.ConditionReady, false, reason, message)
	setCondition(status, v1alpha1.ConditionReconciling, true, reason, message)
	setCondition(status, v1alpha1.ConditionStalled, false, reason, "")
}
