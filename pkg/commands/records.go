package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// History reads the deployments of a target from its record, the newest first.
func (s *Session) History(ctx context.Context, of v1alpha1.Target) (view.History, error) {
	out := view.History{Pipeline: of.Pipeline, Environment: of.Environment, Deployments: []drift.Deployment{}}
	environments, err := s.Config.Select([]string{of.Environment})
	if err != nil {
		return out, err
	}
	cluster, err := s.Clusters.Of(environments[0])
	if err != nil {
		return out, fmt.Errorf("environment %s: %w", of.Environment, err)
	}
	r, err := cluster.Records().Get(ctx, of)
	if err != nil {
		return out, err
	}
	if r == nil || r.Spec.Owner != s.Config.Name {
		return out, fmt.Errorf("%s was never deployed by the configuration %q", of, s.Config.Name)
	}
	out.Deployments = drift.DeploymentsOf(r.Status.History)
	return out, nil
}

// Images compares the images of the environments of each selected pipeline, by the records. The error names the environments
// that cannot be read.
func (s *Session) Images(ctx context.Context, selection v1alpha1.Selection) (view.Images, error) {
	targets, incomplete, err := s.Planner.Recorded(ctx, selection)
	if err != nil {
		return view.Images{Pipelines: []view.PipelineImages{}}, err
	}
	views := make([]view.Target, len(targets))
	for i, d := range targets {
		views[i] = view.OfRecord(d.Record, -1)
	}
	return view.ImagesOf(views), incomplete
}

// Status reads the records of the selected targets and judges their live objects; it needs neither git nor a registry. The
// error names the environments that cannot be read.
func (s *Session) Status(ctx context.Context, selection v1alpha1.Selection) (view.Status, error) {
	targets, incomplete, err := s.Planner.Recorded(ctx, selection)
	if err != nil {
		return view.Status{Targets: []view.TargetStatus{}}, err
	}
	statuses := make([]view.TargetStatus, len(targets))
	index := map[v1alpha1.Target]int{}
	for i, d := range targets {
		index[d.Target] = i
	}
	results := s.each(targets, func(d *target.Desired) (reconcile.Result, error) {
		statuses[index[d.Target]] = s.statusOf(ctx, d)
		return reconcile.NewResult(d), nil
	})
	for i, result := range results {
		if result.Error != "" { // looking at it caused a panic
			statuses[i] = view.TargetStatus{Pipeline: result.Pipeline, Environment: result.Environment, Message: result.Error, Images: []v1alpha1.DeployedImage{}}
			incomplete = errors.Join(incomplete, fmt.Errorf("%s: %s", result.Target(), result.Error))
		}
	}
	return view.Status{Targets: statuses}, incomplete
}

// statusOf judges one target by its record and its live objects.
func (s *Session) statusOf(ctx context.Context, d *target.Desired) view.TargetStatus {
	recorded := d.Record.Status
	out := view.TargetStatus{
		Pipeline: d.Target.Pipeline, Environment: d.Target.Environment,
		Commit: recorded.LastAppliedCommit, Images: []v1alpha1.DeployedImage{},
	}
	if len(recorded.History) > 0 {
		at := recorded.History[0].Time.UTC()
		out.DeployedAt, out.Age = &at, duration.HumanDuration(max(0, s.Reconciler.Dates.In(d.Cluster).Sub(at)))
		out.Images = append(out.Images, record.RunningImages(recorded.History)...)
	}
	live, err := inventory.Find(ctx, d.Cluster, d.Target, d.Record)
	if err != nil {
		out.Message = err.Error()
		return out
	}
	recorded.Inventory = slices.Clone(recorded.Inventory)
	inventory.Fates(ctx, d.Cluster, recorded.Inventory, live)
	h := target.HealthOf(ctx, d.Cluster, recorded.Inventory, live)
	touched := inventory.Touched(ctx, d.Cluster, recorded.Inventory, live)
	out.Drifted = len(touched) > 0 || h.Missing
	messages, failed := recordMessages(recorded)
	out.Held = meta.IsStatusConditionTrue(recorded.Conditions, v1alpha1.ConditionHeld)
	out.Ready = !failed && h.Status == health.Healthy && recorded.LastAppliedCommit != ""
	if h.Message != "" {
		messages = append(messages, h.Message)
	}
	found := recordedFindings(recorded.Drift)
	out.Drifted = out.Drifted || len(found) > 0
	messages = append(messages, found...)
	if len(touched) > 0 {
		messages = append(messages, "changed by hand: "+manifest.Shorten(touched))
	}
	out.Message = strings.Join(messages, "; ")
	return out
}

// recordMessages returns the messages that only the record has: a failure of syncer itself, or what the target waits for. The
// state of the objects is judged by the live ones.
func recordMessages(status v1alpha1.PipelineSyncStatus) (messages []string, failed bool) {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	failed = ready != nil && ready.Status != "True" && !slices.Contains([]string{"Progressing", "Unhealthy", "HealthTimeout"}, ready.Reason)
	if failed {
		return []string{ready.Message}, true
	}
	if held := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionHeld); held != nil && held.Status == "True" {
		messages = append(messages, held.Message)
	}
	return messages, false
}

// recordedFindings returns the messages of the findings that live objects do not show.
func recordedFindings(summary *v1alpha1.DriftSummary) []string {
	var out []string
	if summary == nil {
		return out
	}
	for _, f := range summary.Findings {
		if record.IsImageFinding(f) || f.Kind == string(drift.Added) {
			out = append(out, f.Message)
		}
	}
	return out
}
