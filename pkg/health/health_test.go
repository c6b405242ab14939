package health_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/health"
)

// parse returns nil for what is no object.
func parse(version, kind, rest string) *unstructured.Unstructured {
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(rest), &fields); err != nil || fields == nil {
		return nil
	}
	fields["apiVersion"], fields["kind"] = version, kind
	return &unstructured.Unstructured{Object: fields}
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestHealth(t *testing.T) {
	const (
		healthy, inProgress, failed = health.Healthy, health.InProgress, health.Failed

		spark     = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\n"
		scheduled = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: ScheduledSparkApplication\n"
		job       = "apiVersion: batch/v1\nkind: Job\n"
		cronJob   = "apiVersion: batch/v1\nkind: CronJob\n"
		web       = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {generation: 2}\nspec: {replicas: 2}\n"
		claim     = "apiVersion: v1\nkind: PersistentVolumeClaim\n"
		workflow  = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"
		ray       = "apiVersion: ray.io/v1\nkind: RayJob\n"
		tekton    = "apiVersion: tekton.dev/v1\nkind: PipelineRun\n"
		flink     = "apiVersion: flink.apache.org/v1beta1\nkind: FlinkDeployment\n"
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

		"deployment: quota":      {object: web + "status: {observedGeneration: 2, conditions: [{type: ReplicaFailure, status: \"True\", reason: FailedCreate, message: \"exceeded quota: team\"}, {type: Progressing, status: \"True\"}]}", want: failed, message: "exceeded quota: team"},
		"claim: first consumer":  {object: claim + "status: {phase: Pending}", want: healthy, message: "first pod"},
		"claim: bound":           {object: claim + "status: {phase: Bound}", want: healthy},
		"claim: lost":            {object: claim + "status: {phase: Lost}", want: failed},
		"workflow: new":          {object: workflow, want: inProgress},
		"workflow: running":      {object: workflow + "status: {phase: Running}", want: healthy},
		"workflow: failed":       {object: workflow + "status: {phase: Error, message: no pod}", want: failed, completed: true, message: "no pod"},
		"workflow: succeeded":    {object: workflow + "status: {phase: Succeeded}", want: healthy, completed: true},
		"cron workflow":          {object: "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\n", want: healthy},
		"cron workflow: refused": {object: "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nstatus: {conditions: [{type: SpecError, status: \"True\", message: bad cron}]}", want: failed, message: "bad cron"},
		"ray: new":               {object: ray, want: inProgress},
		"ray: initializing":      {object: ray + "status: {jobDeploymentStatus: Initializing}", want: inProgress},
		"ray: running":           {object: ray + "status: {jobDeploymentStatus: Running, jobStatus: RUNNING}", want: healthy},
		"ray: failed":            {object: ray + "status: {jobDeploymentStatus: Complete, jobStatus: FAILED, message: exit 1}", want: failed, completed: true, message: "exit 1"},
		"ray: refused":           {object: ray + "status: {jobDeploymentStatus: ValidationFailed, message: no entrypoint}", want: failed, completed: true, message: "no entrypoint"},
		"ray: stopped":           {object: ray + "status: {jobDeploymentStatus: Complete, jobStatus: STOPPED}", want: failed, completed: true, message: "stopped"},
		"ray: complete":          {object: ray + "status: {jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}", want: healthy, completed: true},
		"tekton: running":        {object: tekton + "status: {startTime: t, conditions: [{type: Succeeded, status: Unknown}]}", want: healthy},
		"tekton: failed":         {object: tekton + "status: {startTime: t, conditions: [{type: Succeeded, status: \"False\", message: task build failed}]}", want: failed, completed: true, message: "task build failed"},
		"flink: job":             {object: flink + "spec: {job: {jarURI: x}}\nstatus: {jobStatus: {state: RUNNING}}", want: healthy},
		"flink: job failed":      {object: flink + "spec: {job: {jarURI: x}}\nstatus: {error: no slots, jobStatus: {state: FAILED}}", want: failed, completed: true, message: "no slots"},
		"flink: session":         {object: flink + "spec: {}\nstatus: {jobManagerDeploymentStatus: READY}", want: healthy},
	} {
		t.Run(name, func(t *testing.T) {
			got := new(health.Judge).Health(object(t, c.object))
			if got.Status != c.want || got.Completed != c.completed || !strings.Contains(got.Message, c.message) || got.Message == "" && c.want != healthy {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRuns(t *testing.T) {
	const (
		none, idle, running, ended = health.NotARun, health.Idle, health.Running, health.Ended

		spark    = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\n"
		job      = "apiVersion: batch/v1\nkind: Job\n"
		workflow = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"
		ray      = "apiVersion: ray.io/v1\nkind: RayJob\n"
		tekton   = "apiVersion: tekton.dev/v1\nkind: PipelineRun\n"
		flink    = "apiVersion: flink.apache.org/v1beta1\nkind: FlinkDeployment\nspec: {job: {jarURI: x}}\n"
	)
	state := func(state string) string {
		return spark + "status: {submissionID: one, applicationState: {state: " + state + "}}"
	}
	for name, c := range map[string]struct {
		object string
		want   health.State
		failed bool
		id     string
	}{
		"spark: not taken up":          {object: spark, want: idle},
		"spark: submitted":             {object: state("SUBMITTED"), want: running, id: "one"},
		"spark: running":               {object: state("RUNNING"), want: running, id: "one"},
		"spark: succeeding":            {object: state("SUCCEEDING"), want: running, id: "one"},
		"spark: lost from sight":       {object: state("UNKNOWN"), want: running, id: "one"},
		"spark: between attempts":      {object: state("FAILING"), want: idle, id: "one"},
		"spark: pending rerun":         {object: state("PENDING_RERUN"), want: idle, id: "one"},
		"spark: suspended":             {object: state("SUSPENDED"), want: idle, id: "one"},
		"spark: completed":             {object: state("COMPLETED"), want: ended, id: "one"},
		"spark: failed":                {object: state("FAILED"), want: ended, failed: true, id: "one"},
		"scheduled spark":              {object: strings.Replace(state("RUNNING"), "kind: Spark", "kind: ScheduledSpark", 1), want: none},
		"job: new":                     {object: job, want: idle},
		"job: refused by a quota":      {object: job + "status: {startTime: now}", want: idle, id: "now"},
		"job: running":                 {object: job + "status: {startTime: now, active: 1, ready: 1}", want: running, id: "now"},
		"job: between retries":         {object: job + "status: {startTime: now, failed: 1}", want: running, id: "now"},
		"job: pods on their way out":   {object: job + "status: {terminating: 1}", want: running},
		"job: pods not counted yet":    {object: job + "status: {uncountedTerminatedPods: {succeeded: [a]}}", want: running},
		"job: about to be complete":    {object: job + "status: {conditions: [{type: SuccessCriteriaMet, status: \"True\"}]}", want: running},
		"job: suspended":               {object: job + "status: {failed: 1, conditions: [{type: Suspended, status: \"True\"}]}", want: idle},
		"job: suspending":              {object: job + "status: {terminating: 1, conditions: [{type: Suspended, status: \"True\"}]}", want: running},
		"job: complete":                {object: job + "status: {succeeded: 1, conditions: [{type: Complete, status: \"True\"}]}", want: ended},
		"job: failed":                  {object: job + "status: {failed: 7, conditions: [{type: Failed, status: \"True\"}]}", want: ended, failed: true},
		"cron job":                     {object: "apiVersion: batch/v1\nkind: CronJob\nstatus: {active: [{name: x}]}", want: none},
		"workflow: pending":            {object: workflow + "status: {phase: Pending}", want: idle},
		"workflow: running":            {object: workflow + "status: {phase: Running, startedAt: then}", want: running, id: "then"},
		"workflow: failed":             {object: workflow + "status: {phase: Failed}", want: ended, failed: true},
		"cron workflow":                {object: strings.Replace(workflow, "Work", "CronWork", 1), want: none},
		"ray: waiting for its cluster": {object: ray + "status: {jobDeploymentStatus: Initializing}", want: idle},
		"ray: running":                 {object: ray + "status: {jobDeploymentStatus: Running, jobId: r1}", want: running, id: "r1"},
		"ray: complete":                {object: ray + "status: {jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}", want: ended},
		"ray: stopped":                 {object: ray + "status: {jobDeploymentStatus: Complete, jobStatus: STOPPED}", want: ended, failed: true},
		"ray: failed":                  {object: ray + "status: {jobDeploymentStatus: Failed}", want: ended, failed: true},
		"tekton: not started":          {object: tekton, want: idle},
		"tekton: running":              {object: tekton + "status: {startTime: t, conditions: [{type: Succeeded, status: Unknown}]}", want: running, id: "t"},
		"tekton: failed":               {object: tekton + "status: {startTime: t, conditions: [{type: Succeeded, status: \"False\"}]}", want: ended, failed: true, id: "t"},
		"flink: running":               {object: flink + "status: {jobStatus: {state: RUNNING, jobId: f1}}", want: running, id: "f1"},
		"flink: restarting":            {object: flink + "status: {jobStatus: {state: RESTARTING}}", want: running},
		"flink: finished":              {object: flink + "status: {jobStatus: {state: FINISHED}}", want: ended},
		"flink: session cluster":       {object: "apiVersion: flink.apache.org/v1beta1\nkind: FlinkDeployment\nspec: {}", want: none},
		"deployment":                   {object: "apiVersion: apps/v1\nkind: Deployment\nstatus: {replicas: 1}", want: none},
	} {
		t.Run(name, func(t *testing.T) {
			got := (*health.Judge)(nil).Run(object(t, c.object))
			if got.State != c.want || got.Failed != c.failed || got.ID != c.id || got.Message == "" && c.want != none {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestFieldsThatARunSurvives(t *testing.T) {
	var j *health.Judge
	for at, want := range map[string]bool{
		"spec.image":                       true,
		"spec.driver.labels.team":          true,
		"spec.suspend":                     false,
		"spec.suspended":                   true,
		"spec.timeToLiveSeconds":           false,
		`metadata.labels["example.com/a"]`: false,
	} {
		if got := j.Restarts(schema.GroupKind{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}, at); got != want {
			t.Errorf("%s restarts: %t", at, got)
		}
	}
	// What the API server lets change of a running Job does not restart it; all else it refuses.
	if j.Restarts(schema.GroupKind{Group: "batch", Kind: "Job"}, "spec.parallelism") {
		t.Error("a Job restarts for its parallelism")
	}
}

func TestObjectsThatRemoveThemselves(t *testing.T) {
	for text, want := range map[string]bool{
		"apiVersion: batch/v1\nkind: Job\nspec: {ttlSecondsAfterFinished: 0}":                                 true,
		"apiVersion: batch/v1\nkind: Job\nspec: {}":                                                           false,
		"apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nspec: {timeToLiveSeconds: 60}":     true,
		"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {ttlStrategy: {secondsAfterCompletion: 10}}": true,
		"apiVersion: v1\nkind: ConfigMap\n":                                                                   false,
	} {
		if got := health.RemovesItself(object(t, text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
