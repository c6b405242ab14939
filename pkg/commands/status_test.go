package commands

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestStatusOfATarget(t *testing.T) {
	deployed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	condition := func(kind, status, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message}
	}
	well := objects{health: target.Health{Status: health.Healthy}}
	found := &v1alpha1.DriftSummary{Findings: []v1alpha1.Finding{{Kind: "Added", Message: "a was added"}, {Kind: "Modified", Message: "b was changed"}, {Kind: "TagMoved", Message: "c moved"}}}
	for name, c := range map[string]struct {
		status                v1alpha1.PipelineSyncStatus
		live                  objects
		ready, drifted, holds bool
		message               string
	}{
		"healthy":        {status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c"}, live: well, ready: true},
		"never applied":  {live: well},
		"cannot be read": {status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c"}, live: objects{err: errors.New("the cluster is away")}, message: "the cluster is away"},
		"failed": {
			status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c", Conditions: []metav1.Condition{condition("Ready", "False", "PruneRefused", "too many"), condition("Held", "True", "Running", "a run")}},
			live:   well, holds: true, message: "too many",
		},
		"unhealthy by the record and healthy now": {
			status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c", Conditions: []metav1.Condition{condition("Ready", "False", "Unhealthy", "web is down")}}, live: well, ready: true,
		},
		"unhealthy now": {
			status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c"},
			live:   objects{health: target.Health{Status: health.Failed, Message: "web is not in the cluster", Missing: true}}, drifted: true, message: "web is not in the cluster",
		},
		"held": {
			status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c", Conditions: []metav1.Condition{condition("Held", "True", "Running", "a run goes on")}}, live: well, ready: true, holds: true, message: "a run goes on",
		},
		"changed by hand": {
			status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c", Drift: found}, live: objects{health: well.health, touched: []string{"ConfigMap/a"}},
			ready: true, drifted: true, message: "a was added; c moved; changed by hand: ConfigMap/a",
		},
	} {
		c.status.History = []v1alpha1.Deployment{{Time: metav1.NewTime(deployed)}}
		d := &target.Desired{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}, Record: &v1alpha1.PipelineSync{Status: c.status}}
		got := statusOf(d, c.live, deployed.Add(time.Hour))
		if got.Ready != c.ready || got.Drifted != c.drifted || got.Held != c.holds || got.Message != c.message || got.Age != "60m" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestRecordsAreShown(t *testing.T) {
	p := newProject(t, "")
	digest := p.push("ingest:v1")
	p.commit(pipeline("a", plain("a", "1"), nightly), "First")
	p.sync()
	p.edit("prod", "a", `{"data":{"key":"by hand"}}`)
	status, err := p.session.Status(p.Ctx, v1alpha1.Selection{})
	if err != nil || len(status.Targets) != 2 || !status.Targets[0].Ready || status.Targets[0].Drifted || !status.Targets[1].Drifted {
		t.Fatalf("%+v, %v", status, err)
	}
	if images := status.Targets[0].Images; len(images) != 1 || images[0].Digest != digest {
		t.Errorf("%+v", images)
	}
	images, err := p.session.Images(p.Ctx, v1alpha1.Selection{Pipelines: []string{"a"}})
	if err != nil || len(images.Pipelines) != 1 {
		t.Errorf("%+v, %v", images, err)
	}
	history, err := p.session.History(p.Ctx, v1alpha1.Target{Pipeline: "a", Environment: "dev"})
	if err != nil || len(history.Deployments) != 1 || history.Deployments[0].Subject != "First" {
		t.Errorf("%+v, %v", history, err)
	}
	_, err = p.session.History(p.Ctx, v1alpha1.Target{Pipeline: "b", Environment: "dev"})
	bench.WantError(t, err, "b@dev was never deployed")
	for name, f := range map[string]func() error{
		"status": func() error {
			_, err := p.session.Status(p.Ctx, v1alpha1.Selection{Pipelines: []string{"x"}})
			return err
		},
		"images": func() error {
			_, err := p.session.Images(p.Ctx, v1alpha1.Selection{Pipelines: []string{"x"}})
			return err
		},
		"history": func() error { _, err := p.session.History(p.Ctx, v1alpha1.Target{Environment: "test"}); return err },
	} {
		if f() == nil {
			t.Errorf("there is a %s of nothing", name)
		}
	}
}
