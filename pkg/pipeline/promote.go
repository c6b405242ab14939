package pipeline

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
)

// allowPromotion is the commit trailer that lets references through which the other environment never deployed.
var allowPromotion = regexp.MustCompile(`(?mi)^Syncer-Allow-Promotion:[ \t]*(\S+)[ \t]*$`)

// awaitsPromotion says which references wait for a deployment in the environment that they are promoted from, in one
// sentence each.
func awaitsPromotion(from string, waiting []string) *waitError {
	return &waitError{
		reason:  v1alpha1.ConditionPromotionPending,
		message: fmt.Sprintf("waiting for promotion from %s: %s", from, strings.Join(waiting, "; ")),
	}
}

// promotion gives digests from the healthy deployments of another environment.
type promotion struct {
	from  string
	after time.Duration
	now   time.Time
	// history of the pipeline there; nil: it was never deployed.
	history []v1alpha1.Deployment
	ready   *time.Time // since when its objects are healthy; nil: they are not
}

// promotion reads what a target may take over, or nil where its environment takes digests from the registry.
func (c *carrier) promotion(ctx context.Context, w *work) (*promotion, error) {
	policy := w.environment.Images
	if policy.PromoteFrom == "" {
		return nil, nil
	}
	p := &promotion{from: policy.PromoteFrom, after: policy.After.Duration, now: c.now()}
	environments, err := c.environments([]string{policy.PromoteFrom})
	if err != nil {
		return nil, err
	}
	cluster, err := c.cluster(environments[0])
	if err != nil {
		return nil, err
	}
	record, err := cluster.Record(ctx, apply.Target{Pipeline: w.target.Pipeline, Environment: policy.PromoteFrom})
	if err != nil {
		return nil, fmt.Errorf("reading what %s has deployed: %w", policy.PromoteFrom, err)
	}
	if record != nil && record.Spec.Owner == c.Config.Name && record.Status.RemovedAt == nil {
		p.history = record.Status.History
		if ready := meta.FindStatusCondition(record.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status == metav1.ConditionTrue {
			p.ready = &ready.LastTransitionTime.Time
		}
	}
	return p, nil
}

// digest returns the digest of a reference in its newest deployment there that was healthy for long enough, or else
// what is missing. A refresh wants what runs there now, and no earlier deployment.
func (p *promotion) digest(reference string, refresh bool) (digest, tag, missing string) {
	missing = fmt.Sprintf("%s was never deployed there", reference)
	for i, deployment := range p.history {
		if refresh && i > 0 {
			break
		}
		used := slices.IndexFunc(deployment.Images, func(i v1alpha1.DeployedImage) bool { return i.Reference == reference })
		if used < 0 {
			continue
		}
		if wait := p.waits(i, deployment.Images[used].Digest); wait != "" {
			if strings.HasSuffix(missing, "never deployed there") {
				missing = fmt.Sprintf("%s %s", reference, wait)
			}
			continue
		}
		return deployment.Images[used].Digest, deployment.Images[used].Tag, ""
	}
	return "", "", missing
}

// seen says why a digest that git writes itself may not be taken over: it was never deployed there and healthy; "" when
// it may.
func (p *promotion) seen(reference, digest string) (missing string) {
	missing = reference + " was never deployed and healthy there"
	for i, deployment := range p.history {
		if !runs(deployment, digest) {
			continue
		}
		wait := p.waits(i, digest)
		if wait == "" {
			return ""
		}
		if strings.HasSuffix(missing, "never deployed and healthy there") {
			missing = fmt.Sprintf("%s %s", reference, wait)
		}
	}
	return missing
}

func runs(d v1alpha1.Deployment, digest string) bool {
	return slices.ContainsFunc(d.Images, func(i v1alpha1.DeployedImage) bool { return i.Digest == digest })
}

// waits says why a digest of a deployment of the history may not be taken over yet; "" when it may.
func (p *promotion) waits(i int, digest string) string {
	d := p.history[i]
	switch {
	case d.HealthyAt == nil && i == 0 && d.Outcome == outcomeHeld:
		return "is held there"
	case d.HealthyAt == nil && i == 0 && d.Outcome == outcomeApplied:
		return fmt.Sprintf("is deployed there since %s and not healthy yet", d.Time.UTC().Format(time.RFC3339))
	case d.HealthyAt == nil:
		return "was deployed there and never healthy"
	case i == 0 && p.ready == nil:
		return "is deployed there and not healthy now"
	}
	from, replaced := p.healthySince(i, digest), p.replaced(i)
	if i == 0 && p.ready.After(from) {
		from = *p.ready // it was not healthy all the time
	}
	switch {
	case replaced != nil && replaced.Sub(from) < p.after:
		return fmt.Sprintf("was healthy there for %s and has to be for %s", max(0, replaced.Sub(from)), p.after)
	case replaced == nil && p.now.Sub(from) < p.after:
		return fmt.Sprintf("is healthy there since %s and has to be for %s, which is until %s",
			from.UTC().Format(time.RFC3339), p.after, from.Add(p.after).UTC().Format(time.RFC3339))
	}
	return ""
}

// healthySince is since when a digest of a deployment is healthy: those before it may have run it already.
func (p *promotion) healthySince(i int, digest string) time.Time {
	since := p.history[i].HealthyAt.Time
	for _, older := range p.history[i+1:] {
		if older.Outcome != outcomeApplied {
			continue // it replaced nothing
		}
		if older.HealthyAt == nil || !runs(older, digest) {
			break
		}
		since = older.HealthyAt.Time
	}
	return since
}

// replaced is when another deployment took the place of one; nil where that one still runs. One that is held or failed
// leaves what runs.
func (p *promotion) replaced(i int) *time.Time {
	for newer := i - 1; newer >= 0; newer-- {
		if p.history[newer].Outcome == outcomeApplied {
			return &p.history[newer].Time.Time
		}
	}
	return nil
}
