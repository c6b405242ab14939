package plan_test

import (
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
)

// sparkApp is an application that the lab runs for some seconds.
func sparkApp(name string, seconds int, more ...string) string {
	text := fmt.Sprintf(`
apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata: {name: %s, namespace: $NS, annotations: {lab.syncer.dev/run-seconds: "%d"}}
spec:
  type: Python
  mode: cluster
  sparkVersion: 4.0.0
  image: spark:1
  mainApplicationFile: local:///app/main.py
  driver: {cores: 1}
  executor: {instances: 1, memory: 1g}
`, name, seconds)
	for _, line := range more {
		text += "  " + line + "\n"
	}
	return text
}

func TestRealObjectsBecomeHealthy(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
`, sparkApp("once", 1), bench.Backfill("job", 1), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n"))
	applied := pass.Sync(b, set)
	for _, obj := range applied.Live {
		if verdict := b.Cluster.Judge().Health(obj); obj.GetKind() != "CronJob" && verdict.Status != health.InProgress {
			t.Errorf("%s is %+v at once", obj.GetName(), verdict)
		}
	}
	completed := map[string]bool{}
	b.Eventually("everything is healthy and the runs are over", func() bool {
		live, err := inventory.Live(b.Ctx, b.Cluster, b.Target, applied.Inventory)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range live {
			verdict := b.Cluster.Judge().Health(obj)
			completed[obj.GetName()] = verdict.Completed
			if verdict.Status != health.Healthy {
				return false
			}
		}
		return len(live) == 4 && completed["once"] && completed["job"]
	})
	if completed["web"] || completed["nightly"] {
		t.Errorf("completed: %v", completed)
	}
	// Writes to the status of the objects are no drift.
	if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "" {
		t.Errorf("the full plan: %s", got)
	}
}
