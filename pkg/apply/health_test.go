package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/apply/health"
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

func TestHealth(t *testing.T) {
	const (
		healthy, inProgress, failed = health.Healthy, health.InProgress, health.Failed

		spark     = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\n"
		scheduled = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: ScheduledSparkApplication\n"
		job       = "apiVersion: batch/v1\nkind: Job\n"
		cronJob   = "apiVersion: batch/v1\nkind: CronJob\n"
		web       = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {generation: 2}\nspec: {replicas: 2}\n"
		crd       = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
	)
	state := func(state string) string {
		return spark + "status: {applicationState: {state: " + state + ", errorMessage: boom}}"
	}
	for name, c := range map[string]struct {
		object    string
		want      health.Status
		completed bool
		message   string
	}{
		"spark: not taken up":       {object: spark, want: inProgress, message: "operator has not taken it up"},
		"spark: submitted":          {object: state("SUBMITTED"), want: inProgress},
		"spark: running":            {object: state("RUNNING"), want: healthy},
		"spark: succeeding":         {object: state("SUCCEEDING"), want: healthy},
		"spark: completed":          {object: state("COMPLETED"), want: healthy, completed: true},
		"spark: failed":             {object: state("FAILED"), want: failed, completed: true, message: "failed: boom"},
		"spark: failing":            {object: state("FAILING"), want: inProgress, message: "FAILING: boom"},
		"spark: submission failed":  {object: state("SUBMISSION_FAILED"), want: inProgress, message: "boom"},
		"spark: pending rerun":      {object: state("PENDING_RERUN"), want: inProgress},
		"spark: invalidating":       {object: state("INVALIDATING"), want: inProgress},
		"spark: unknown":            {object: state("UNKNOWN"), want: inProgress},
		"spark: suspended":          {object: state("SUSPENDED"), want: healthy},
		"spark: being deleted":      {object: strings.Replace(state("COMPLETED"), "status:", "metadata: {deletionTimestamp: \"2030-01-02T03:04:05Z\"}\nstatus:", 1), want: inProgress, message: "being deleted"},
		"scheduled: not taken up":   {object: scheduled, want: inProgress},
		"scheduled: scheduled":      {object: scheduled + "status: {scheduleState: Scheduled}", want: healthy},
		"scheduled: refused":        {object: scheduled + "status: {scheduleState: FailedValidation, reason: bad cron}", want: failed, message: "bad cron"},
		"scheduled: suspended":      {object: scheduled + "spec: {suspend: true}", want: healthy},
		"job: new":                  {object: job, want: inProgress, message: "not started a pod"},
		"job: running":              {object: job + "status: {active: 1}", want: healthy, message: "running"},
		"job: complete":             {object: job + "status: {conditions: [{type: SuccessCriteriaMet, status: \"True\"}, {type: Complete, status: \"True\"}]}", want: healthy, completed: true},
		"job: failed":               {object: job + "status: {conditions: [{type: FailureTarget, status: \"True\"}, {type: Failed, status: \"True\", reason: BackoffLimitExceeded, message: too often}]}", want: failed, completed: true, message: "too often"},
		"job: failed, only reason":  {object: job + "status: {conditions: [{type: Failed, status: \"True\", reason: DeadlineExceeded}]}", want: failed, completed: true, message: "DeadlineExceeded"},
		"job: resumed":              {object: job + "status: {active: 1, conditions: [{type: Suspended, status: \"False\"}]}", want: healthy, message: "running"},
		"job: suspended":            {object: job + "status: {conditions: [{type: Suspended, status: \"True\"}]}", want: healthy, message: "suspended"},
		"cron job":                  {object: cronJob + "spec: {schedule: \"@daily\"}", want: healthy},
		"cron job: suspended":       {object: cronJob + "spec: {suspend: true}", want: healthy, message: "suspended"},
		"deployment: not observed":  {object: web + "status: {observedGeneration: 1}", want: inProgress},
		"deployment: rolling out":   {object: web + "status: {observedGeneration: 2, replicas: 2, updatedReplicas: 1}", want: inProgress},
		"deployment: available":     {object: web + "status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [{type: Available, status: \"True\"}, {type: Progressing, status: \"True\", reason: NewReplicaSetAvailable}]}", want: healthy},
		"deployment: stuck":         {object: web + "status: {observedGeneration: 2, replicas: 2, conditions: [{type: Progressing, status: \"False\", reason: ProgressDeadlineExceeded}]}", want: failed},
		"definition: new":           {object: crd, want: inProgress},
		"definition: established":   {object: crd + "status: {conditions: [{type: NamesAccepted, status: \"True\"}, {type: Established, status: \"True\"}]}", want: healthy},
		"definition: names refused": {object: crd + "status: {conditions: [{type: NamesAccepted, status: \"False\", reason: ListKindConflict, message: taken}]}", want: failed},
		"settings":                  {object: "apiVersion: v1\nkind: ConfigMap\n", want: healthy},
	} {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{}
			content, err := yaml.YAMLToJSON([]byte(c.object))
			if err == nil {
				err = obj.UnmarshalJSON(content)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := new(health.Judge).Health(obj)
			if got.Status != c.want || got.Completed != c.completed || !strings.Contains(got.Message, c.message) || got.Message == "" && c.want != healthy {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRealObjectsBecomeHealthy(t *testing.T) {
	b := newBench(t)
	set := b.set(join(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
`, sparkApp("once", 1), backfill("job", 1), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n"))
	applied := b.sync(set)
	for _, obj := range applied.Live {
		if verdict := b.cluster.Health(obj); obj.GetKind() != "CronJob" && verdict.Status != health.InProgress {
			t.Errorf("%s is %+v at once", obj.GetName(), verdict)
		}
	}
	completed := map[string]bool{}
	b.eventually("everything is healthy and the runs are over", func() bool {
		live, err := b.cluster.Live(b.ctx, b.target, applied.Inventory)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range live {
			verdict := b.cluster.Health(obj)
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
	// What has been written to the objects' status is no drift.
	if got := actions(b.plan(set, full).Changes); got != "" {
		t.Errorf("the full plan: %s", got)
	}
}
