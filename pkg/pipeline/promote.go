package pipeline

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

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
	ready   bool // its objects are healthy now
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
		p.ready = meta.IsStatusConditionTrue(record.Status.Conditions, v1alpha1.ConditionReady)
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
		if wait := p.waits(deployment, i == 0); wait != "" {
			if strings.HasSuffix(missing, "never deployed there") {
				missing = fmt.Sprintf("%s %s", reference, wait)
			}
			continue
		}
		return deployment.Images[used].Digest, deployment.Images[used].Tag, ""
	}
	return "", "", missing
}

// seen reports whether a digest that git writes itself was deployed there, and healthy.
func (p *promotion) seen(digest string) bool {
	return slices.ContainsFunc(p.history, func(d v1alpha1.Deployment) bool {
		return p.waits(d, d.Number == p.history[0].Number) == "" && slices.ContainsFunc(d.Images, func(i v1alpha1.DeployedImage) bool { return i.Digest == digest })
	})
}

// waits says why a deployment may not be taken over yet; "" when it may.
func (p *promotion) waits(d v1alpha1.Deployment, current bool) string {
	switch {
	case d.HealthyAt == nil && current && d.Outcome == outcomeApplied:
		return fmt.Sprintf("is deployed there since %s and not healthy yet", d.Time.UTC().Format(time.RFC3339))
	case d.HealthyAt == nil:
		return "was deployed there and never healthy"
	case current && !p.ready:
		return "is deployed there and not healthy now"
	case p.now.Sub(d.HealthyAt.Time) < p.after:
		return fmt.Sprintf("is healthy there since %s and has to be for %s", d.HealthyAt.UTC().Format(time.RFC3339), p.after)
	}
	return ""
}
