package pipeline

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A daemon says of a target what the command says that looks itself: nothing where there is no news.
func TestViewStatusSaysOnlyNews(t *testing.T) {
	deploy := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data-prod", Name: "app"}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		state    drift.State
		message  string
		findings []drift.Finding
		want     string
	}{
		"ready":  {drift.Ready, "every object is as git says and healthy", nil, ""},
		"failed": {drift.Failed, "the registry has no such image", nil, "the registry has no such image"},
		"held":   {drift.Waiting, "it waits", []drift.Finding{{Kind: drift.Held, Object: deploy, Message: "it waits for its run"}}, "it waits"},
		"changed": {drift.Ready, "every object is healthy", []drift.Finding{
			{Kind: drift.Modified, Severity: drift.Warning, Object: deploy, Path: "spec.replicas"},
			{Kind: drift.Modified, Severity: drift.Warning, Object: deploy, Path: "spec.paused"},
			{Kind: drift.Added, Severity: drift.Info, Object: deploy, Message: "kubectl added a label"},
		}, "kubectl added a label; changed by hand: Deployment/data-prod/app"},
	} {
		view := View{At: at, Targets: []TargetView{{Target: drift.Target{Pipeline: "app", Environment: "prod", State: c.state, Message: c.message, DeployedAt: &at}, Findings: c.findings}}}
		if got := view.Status(Selection{}).Targets[0].Message; got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

// A commit that is held in part is shown with its own subject, and what runs with its own images.
func TestTargetIsShownWithTheSubjectOfItsCommit(t *testing.T) {
	deployment := func(number int64, commit, outcome string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Commit: commit, Subject: "subject of " + commit, Author: "author of " + commit, Outcome: outcome, Time: metav1.Unix(number, 0),
			Images: []v1alpha1.DeployedImage{{Reference: "app:" + commit}}}
	}
	record := &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{
		History: []v1alpha1.Deployment{deployment(2, "newer", outcomeHeld), deployment(1, "older", "Applied")},
	}}
	for applied, want := range map[string]string{"newer": "newer", "older": "older", "changed nothing here": "older"} {
		record.Status.LastAppliedCommit = applied
		got := targetOf(record, 0)
		if got.Subject != "subject of "+want || got.Author != "author of "+want {
			t.Errorf("commit %q is shown as %q by %q", applied, got.Subject, got.Author)
		}
		if got.Images[0].Reference != "app:older" || got.DeployedAt.Unix() != 1 {
			t.Errorf("commit %q: what runs is %v of %s", applied, got.Images, got.DeployedAt)
		}
	}
}
