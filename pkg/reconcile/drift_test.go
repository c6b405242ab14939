package reconcile_test

import (
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestDriftIsReported(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
	result := p.want(reconcile.Unchanged, "1 drifted field left alone", p.again())
	if len(result.Drift) != 1 || len(result.Changes) > 0 || !result.Detail.Converged {
		t.Fatalf("%+v", result)
	}
	f := result.Drift[0]
	if f.Kind != drift.Modified || f.Manager != "kubectl-edit" || f.File != "pipelines/orders/overlays/prod/all.yaml" || f.Line != 4 {
		t.Errorf("%+v", f)
	}
	p.wantCondition("Drifted", "True")
	if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key"); got != "by hand" {
		t.Errorf("it was corrected: %v", got)
	}
	// A new commit writes what git sets in the objects that it changes.
	p.want(reconcile.Applied, "1 updated", p.commit(orders(bench.Settings("a", "2")), "Second"))
	p.wantCondition("Drifted", "False")
}

func TestDriftIsCorrected(t *testing.T) {
	for name, c := range map[string]struct {
		settings string
		options  reconcile.Options
	}{
		"by the environment": {settings: "  drift: Correct\n"},
		"by a user":          {options: reconcile.Options{Correct: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, c.settings)
			p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
			p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
			result := p.want(reconcile.Applied, "1 updated", p.again(), func(pass *reconcile.Pass) { pass.Options = c.options })
			if taken := result.Changes[0].Taken; len(taken) != 1 || taken[0].Manager != "kubectl-edit" {
				t.Errorf("taken: %+v", taken)
			}
			if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key"); got != "1" {
				t.Errorf("it was not corrected: %v", got)
			}
			p.wantCondition("Drifted", "False")
			if past := p.Record().Status.Drift; past == nil || len(past.Past) != 1 {
				t.Errorf("the record does not say what was corrected: %+v", past)
			}
		})
	}
}

func TestDriftOfSparedFieldsIsLeftAlone(t *testing.T) {
	p := newProject(t, "  drift: Correct\n")
	spared, err := target.FieldRule("correctExcept", v1alpha1.FieldRule{Kind: "ConfigMap", Paths: []string{"data.key"}})
	if err != nil {
		t.Fatal(err)
	}
	p.r.Rating.Exempt = map[string][]ignore.Rule{"prod": {spared}}
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
	p.want(reconcile.Unchanged, "1 drifted field left alone", p.again())
}

// A full comparison tells which findings no watch had noticed.
func TestFullComparisonCountsWhatWatchesMissed(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	p.Delete(bench.ConfigMaps, p.Namespace, "a")
	full := func(pass *reconcile.Pass) { pass.Options.Full = true }
	p.want(reconcile.Unchanged, "", p.again(), full)
	seen := p.observed[len(p.observed)-1]
	if len(seen.Missed) != 1 || seen.Missed[0].Kind != drift.Missing || len(seen.Findings) != 1 {
		t.Errorf("%+v", seen)
	}
	p.want(reconcile.Unchanged, "", p.again(), full)
	if seen := p.observed[len(p.observed)-1]; len(seen.Missed) > 0 || len(seen.Findings) != 1 {
		t.Errorf("a finding of the record was missed: %+v", seen)
	}
}

func TestUnwatchedKindsAreRecorded(t *testing.T) {
	p := newProject(t, "")
	result := p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"), unwatched)
	if !result.Detail.Unwatched {
		t.Errorf("%+v", result.Detail)
	}
}

const server = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example.com/web:v1"}]}
`

const available = `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1,"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`

func TestSyncWaitsForHealth(t *testing.T) {
	p := newProject(t, "")
	p.registry.push("registry.example.com/web:v1", "a")
	commit := p.commit(orders(server), "First")
	p.want(reconcile.Failed, "not healthy after 1ms: Deployment/", commit, waitFor(time.Millisecond))
	go func() {
		p.Eventually("the controllers answer", func() bool { return p.Get(bench.Deployments, p.Namespace, "web") != nil })
		p.Status(bench.Deployments, "web", available)
	}()
	p.want(reconcile.Unchanged, "", p.again(), waitFor(time.Minute))
	p.wantCondition("Ready", "True")
	p.Status(bench.Deployments, "web", `{"status":{"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded"}]}}`)
	p.want(reconcile.Failed, "not healthy: Deployment/", p.again(), waitFor(time.Minute))
}

func waitFor(limit time.Duration) func(*reconcile.Pass) {
	return func(pass *reconcile.Pass) {
		pass.Options.Wait, pass.Options.Deadline = limit, time.Now().Add(limit)
	}
}
