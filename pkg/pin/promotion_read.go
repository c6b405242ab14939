package pin

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// promotion reads what a target may take over from another environment; nil where its environment takes digests from the
// registry. The other target is as the commit has it; nil: not known.
func (r *Resolver) promotion(ctx context.Context, d, from *target.Desired) (*promotion, error) {
	policy := d.Environment.Images
	if policy.PromoteFrom == "" {
		return nil, nil
	}
	p := &promotion{from: policy.PromoteFrom, after: policy.After.Duration}
	fields := d.Rendered.Fields
	if from != nil {
		p.asked, fields = from.Settings.Images.Refresh, from.Rendered.Fields
	}
	environments, err := r.Config.Select([]string{policy.PromoteFrom})
	if err != nil {
		return nil, err
	}
	server, err := r.Clusters.Of(environments[0])
	if err != nil {
		return nil, err
	}
	source, err := server.Records().Latest(ctx, v1alpha1.Target{Pipeline: d.Target.Pipeline, Environment: policy.PromoteFrom})
	p.now = r.Dates.In(server) // by the clock that its dates are of
	if err != nil {
		return nil, fmt.Errorf("reading what %s has deployed: %w", policy.PromoteFrom, err)
	}
	if source == nil || source.Spec.Owner != r.Config.Name || source.Status.RemovedAt != nil {
		return p, nil
	}
	p.history, p.pins = source.Status.History, source.Spec.Images
	acting, err := server.As(source.Spec.ServiceAccount)
	if err != nil {
		return nil, err
	}
	if err := p.judge(ctx, acting, source, fields); err != nil {
		return nil, err
	}
	return p, nil
}

// judge sets whether the objects of the other environment are healthy. The record may be old: the objects are judged as
// they are now, and the record says since when. A commit that failed there leaves what runs.
func (p *promotion) judge(ctx context.Context, acting *cluster.Cluster, source *v1alpha1.PipelineSync, fields []image.Field) error {
	live, err := inventory.Find(ctx, acting, v1alpha1.Target{Pipeline: source.Spec.Pipeline, Environment: p.from}, source)
	if err != nil {
		return fmt.Errorf("reading what %s has deployed: %w", p.from, err)
	}
	p.swapped = target.Swapped(ctx, acting, source.Status.Inventory, live, fields, record.RunningImages(source.Status.History))
	if len(p.swapped) > 0 || target.HealthOf(ctx, acting, source.Status.Inventory, live).Status != health.Healthy {
		return nil
	}
	p.ready = &time.Time{}
	if ready := meta.FindStatusCondition(source.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status == metav1.ConditionTrue {
		p.ready = &ready.LastTransitionTime.Time
	}
	return nil
}
