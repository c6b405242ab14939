package pin

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// A reference that is new takes its digest from the environment that it is promoted from, as that is now.
func TestDecideByPromotion(t *testing.T) {
	staging := v1alpha1.Target{Pipeline: "web", Environment: "staging"}
	deployed := func() *v1alpha1.PipelineSync {
		source := &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Owner: "main", Pipeline: "web", Environment: "staging"}}
		source.Status.History = []v1alpha1.Deployment{deployedAgo(record.Applied, "sha256:a", 60, 50)}
		source.Status.Inventory = []v1alpha1.InventoryEntry{{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web", UID: "u"}}
		source.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-50 * time.Minute))}}
		return source
	}
	for name, c := range map[string]struct {
		change  func(*apiServer, *v1alpha1.PipelineSync)
		from    *target.Desired // what the commit says of staging
		after   time.Duration
		allowed bool
		want    string // the digest, what the target waits for, or a part of the error
	}{
		"deployed and healthy":                 {want: "sha256:a"},
		"healthy for long enough":              {after: 40 * time.Minute, want: "sha256:a"},
		"not for long enough":                  {after: time.Hour, want: "is healthy there since"},
		"it is not healthy now":                {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.addPod(pod(staging, "web:1@sha256:a", "Pending")) }, want: "is deployed there and not healthy now"},
		"another configuration's":              {change: func(_ *apiServer, r *v1alpha1.PipelineSync) { r.Spec.Owner = "other" }, want: "web:1 was never deployed there"},
		"it was removed":                       {change: func(_ *apiServer, r *v1alpha1.PipelineSync) { r.Status.RemovedAt = &metav1.Time{Time: now} }, want: "web:1 was never deployed there"},
		"it was never deployed":                {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.broken = ""; clear(s.objects) }, want: "web:1 was never deployed there"},
		"it was never deployed, and a trailer": {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { clear(s.objects) }, allowed: true, want: "sha256:new"},
		"the record cannot be read":            {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.broken = "pipelinesyncs" }, want: "reading what staging has deployed: "},
		"the objects cannot be read":           {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.broken = "pods" }, want: "reading what staging has deployed: "},
		"a trailer, and no record to read":     {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.broken = "pipelinesyncs" }, allowed: true, want: "sha256:new"},
		"a trailer, and no objects to read":    {change: func(s *apiServer, _ *v1alpha1.PipelineSync) { s.broken = "pods" }, allowed: true, want: "sha256:new"},
		"git refreshes it there": {
			from: &target.Desired{Settings: v1alpha1.PipelineSettings{Images: v1alpha1.PipelineImages{Refresh: map[string]string{"web:1": "again"}}}},
			want: "web:1 is not refreshed there yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, record := &apiServer{t: t, objects: map[string]any{}}, deployed()
			server.addPod(pod(staging, "web:1@sha256:a", "Running"))
			server.addRecord(record)
			if c.change != nil {
				c.change(server, record)
			}
			d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{})
			r, desired := d.resolver, d.desired
			r.Source = func(image.Credentials) image.Source { return tagStands(func() string { return "sha256:new" }) }
			r.Clusters, r.Config.Name, r.Config.Environments = server.clusters(), "main", []v1alpha1.Environment{{Name: "staging"}, {Name: "prod"}}
			desired.Target = v1alpha1.Target{Pipeline: "web", Environment: "prod"}
			desired.Environment.Images.PromoteFrom, desired.Environment.Images.After.Duration = "staging", c.after
			desired.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
			if c.from != nil {
				desired.Settings = c.from.Settings
			}
			decided, err := r.Decide(t.Context(), desired, Request{Lookups: r.NewLookups(), From: c.from, AllowPromotion: c.allowed})
			if strings.HasPrefix(c.want, "sha256:") {
				if err != nil || decided.Resolved["web:1"].Digest != c.want || (decided.Pins[0].PromotedFrom == "staging") != (c.want == "sha256:a") {
					t.Errorf("%v, %+v", err, decided)
				}
				return
			}
			wait, waits := errors.AsType[*target.WaitError](err)
			if err == nil || !strings.Contains(err.Error(), c.want) || waits == strings.HasPrefix(c.want, "reading") {
				t.Fatalf("%v", err)
			}
			if waits && (wait.Reason != v1alpha1.ConditionPromotionPending || !strings.HasPrefix(wait.Message, "waiting for promotion from staging: web:1 ")) {
				t.Errorf("%+v", wait)
			}
		})
	}
}

// A rollback does not depend on the environment that its references were promoted from.
func TestRollbackAsksForNoPromotion(t *testing.T) {
	deployments := 20
	d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &deployments})
	d.desired.Environment.Images.PromoteFrom = "gone"
	d.desired.Rendered.Refs = []image.Reference{{Value: "web:1", Form: image.Tag}}
	d.desired.Record = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "web:1", Digest: "sha256:a"}}}}
	decided, err := d.resolver.Decide(t.Context(), d.desired, Request{})
	if err != nil || decided.Resolved["web:1"].Digest != "sha256:a" {
		t.Errorf("%v, %+v", err, decided)
	}
	d.desired.Record = nil
	if _, err := d.resolver.Decide(t.Context(), d.desired, Request{}); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a new reference: %v", err)
	}
}
