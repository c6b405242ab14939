package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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

// Status reads the records and the live objects of the selected targets; it needs neither git nor a registry. The error names
// the environments that cannot be read.
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
	listed := inventory.ListOnce(ctx, wanted(targets))
	results := s.each(targets, func(d *target.Desired) (reconcile.Result, error) {
		statuses[index[d.Target]] = statusOf(d, readObjects(ctx, d, listed), s.Reconciler.Dates.In(d.Cluster))
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

// wanted lists targets for one list of each of their kinds.
func wanted(targets []*target.Desired) []inventory.Wanted {
	out := make([]inventory.Wanted, 0, len(targets))
	for _, d := range targets {
		if d.Cluster != nil {
			out = append(out, inventory.Wanted{Cluster: d.Cluster, Record: d.Record, Set: d.Rendered.Set.IDs()})
		}
	}
	return out
}

// objects are the live objects of a target.
type objects struct {
	health  target.Health
	touched []string // changed by hand
	err     error    // they cannot be read
}

// readObjects reads the live objects that the record of a target names.
func readObjects(ctx context.Context, d *target.Desired, listed inventory.Shown) objects {
	live, err := inventory.FindShown(ctx, d.Cluster, listed, d.Target, d.Record)
	if err != nil {
		return objects{err: err}
	}
	entries := slices.Clone(d.Record.Status.Inventory)
	inventory.Fates(ctx, d.Cluster, entries, live)
	return objects{health: target.HealthOf(ctx, d.Cluster, entries, live), touched: inventory.Touched(ctx, d.Cluster, entries, live)}
}

// statusOf returns the status of one target by its record and its live objects. now is the date in its cluster.
func statusOf(d *target.Desired, live objects, now time.Time) view.TargetStatus {
	recorded := d.Record.Status
	out := view.TargetStatus{
		Pipeline: d.Target.Pipeline, Environment: d.Target.Environment,
		Commit: recorded.LastAppliedCommit, Images: []v1alpha1.DeployedImage{},
	}
	if len(recorded.History) > 0 {
		at := recorded.History[0].Time.UTC()
		out.DeployedAt, out.Age = &at, duration.HumanDuration(max(0, now.Sub(at)))
		out.Images = append(out.Images, record.RunningImages(recorded.History)...)
	}
	if live.err != nil {
		out.Message = live.err.Error()
		return out
	}
	messages, failed := recordMessages(recorded)
	out.Held = meta.IsStatusConditionTrue(recorded.Conditions, v1alpha1.ConditionHeld)
	out.Ready = !failed && live.health.Status == health.Healthy && recorded.LastAppliedCommit != ""
	if live.health.Message != "" {
		messages = append(messages, live.health.Message)
	}
	found := recordedFindings(recorded.Drift)
	out.Drifted = len(live.touched) > 0 || live.health.Missing || len(found) > 0
	messages = append(messages, found...)
	if len(live.touched) > 0 {
		messages = append(messages, "changed by hand: "+manifest.Shorten(live.touched))
	}
	out.Message = strings.Join(messages, "; ")
	return out
}

// recordMessages returns the messages that only the record has: a failure of syncer itself, or what the target waits for. The
// state of the objects is read from the live ones.
func recordMessages(status v1alpha1.PipelineSyncStatus) (messages []string, failed bool) {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	failed = ready != nil && ready.Status != "True" && !slices.Contains([]string{"Progressing", "Unhealthy", "HealthTimeout"}, ready.Reason)
	if failed {
		return []string{ready.Message}, true
	}
	if held := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionHeld); held != nil && held.Status == "True" {
		messages = append(messages, held.Message)
	}
	if trusted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionTrusted); trusted != nil && trusted.Status == "False" && (len(messages) == 0 || messages[0] != trusted.Message) {
		messages = append(messages, trusted.Message)
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
