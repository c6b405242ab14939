package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// History lists the deployments of one target, the newest first.
type History struct {
	Pipeline    string              `json:"pipeline"`
	Environment string              `json:"environment"`
	Deployments []HistoryDeployment `json:"deployments"`
}

// HistoryDeployment is one deployment.
type HistoryDeployment struct {
	Number     int64          `json:"number"`
	Commit     string         `json:"commit"`
	Author     string         `json:"author"`
	Subject    string         `json:"subject"`
	Time       time.Time      `json:"time"`
	Outcome    string         `json:"outcome"`
	Images     []HistoryImage `json:"images"`
	RollbackOf *int64         `json:"rollbackOf"`
	HealthyAt  *time.Time     `json:"healthyAt"`
	AllowedBy  string         `json:"allowedBy"`
}

// HistoryImage is an image of a deployment.
type HistoryImage struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
}

// History reads a target's deployments from its record.
func (r *Runner) History(ctx context.Context, target v1alpha1.Target) (History, error) {
	out := History{Pipeline: target.Pipeline, Environment: target.Environment, Deployments: []HistoryDeployment{}}
	environments, err := r.Config.Select([]string{target.Environment})
	if err != nil {
		return out, err
	}
	cluster, err := r.clusters.Of(environments[0])
	if err != nil {
		return out, fmt.Errorf("environment %s: %w", target.Environment, err)
	}
	record, err := cluster.Records().Get(ctx, target)
	if err != nil {
		return out, err
	}
	if record == nil || record.Spec.Owner != r.Config.Name {
		return out, fmt.Errorf("%s was never deployed by the configuration %q", target, r.Config.Name)
	}
	out.Deployments = deploymentsOf(record.Status.History)
	return out, nil
}

// deploymentsOf are the deployments that a record keeps.
func deploymentsOf(history []v1alpha1.Deployment) []HistoryDeployment {
	out := []HistoryDeployment{}
	for _, d := range history {
		deployment := HistoryDeployment{
			Number: d.Number, Commit: d.Commit, Author: d.Author, Subject: d.Subject, Time: d.Time.UTC(),
			Outcome: d.Outcome, Images: []HistoryImage{}, AllowedBy: d.AllowedBy,
		}
		if d.RollbackOf != 0 {
			deployment.RollbackOf = &d.RollbackOf
		}
		if d.HealthyAt != nil {
			at := d.HealthyAt.UTC()
			deployment.HealthyAt = &at
		}
		for _, image := range d.Images {
			deployment.Images = append(deployment.Images, HistoryImage{Reference: image.Reference, Digest: image.Digest})
		}
		out = append(out, deployment)
	}
	return out
}
