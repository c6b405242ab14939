package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Recorded returns the selected targets that have a record, sorted. They have no commit and are not rendered. The error
// incomplete joins the errors of the environments that cannot be read.
func (p *Planner) Recorded(ctx context.Context, selection v1alpha1.Selection) (targets []*Desired, incomplete, err error) {
	environments, err := p.Config.Select(selection.Environments)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	recorded, lists := map[string]bool{}, &recordLists{}
	for _, environment := range environments {
		all, failed := p.recordedIn(ctx, environment, selection, lists)
		for _, err := range failed {
			errs = append(errs, fmt.Errorf("environment %s: %w", environment.Name, err))
		}
		for _, d := range all {
			recorded[d.Target.Pipeline] = true
		}
		targets = append(targets, all...)
	}
	for _, name := range selection.Pipelines {
		if !recorded[name] && len(errs) == 0 {
			return nil, nil, fmt.Errorf("no pipeline %q has been deployed to %s by the configuration %q", name, strings.Join(v1alpha1.Names(environments), ", "), p.Config.Name)
		}
	}
	slices.SortFunc(targets, func(a, b *Desired) int { return a.Target.Compare(b.Target) })
	return targets, errors.Join(errs...), nil
}

// recordedIn returns the selected targets of one environment that have a record.
func (p *Planner) recordedIn(ctx context.Context, environment *v1alpha1.Environment, selection v1alpha1.Selection, lists *recordLists) (targets []*Desired, errs []error) {
	cluster, err := p.Clusters.Of(environment)
	if err != nil {
		return nil, []error{err}
	}
	records, err := lists.selected(ctx, cluster, environment.Name, selection)
	if err != nil {
		return nil, []error{err}
	}
	for _, record := range records {
		if record.Spec.Owner != p.Config.Name || record.Spec.Environment != environment.Name || record.Status.RemovedAt != nil {
			continue
		}
		if len(selection.Pipelines) > 0 && !slices.Contains(selection.Pipelines, record.Spec.Pipeline) {
			continue
		}
		acting, err := cluster.As(record.Spec.ServiceAccount)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		targets = append(targets, &Desired{
			Target:      v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: environment.Name},
			Environment: environment, Cluster: acting, Record: record, Policies: EnvironmentPolicies(environment),
		})
	}
	return targets, errs
}
