package health

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// fixture is a live object in one state, and the verdict on it.
type fixture struct {
	fields    string // YAML beside apiVersion and kind
	health    Status
	completed bool
	message   string // a part of the message of the health
	run       State
	failed    bool
	starting  bool
	id        string
}

// fixtures has the fixtures of each kind, which stand in the test file of the kind.
var fixtures = map[string]map[string]fixture{
	"Deployment.apps":                       deploymentFixtures,
	"ReplicaSet.apps":                       replicaSetFixtures,
	"StatefulSet.apps":                      statefulSetFixtures,
	"PersistentVolumeClaim":                 claimFixtures,
	"Job.batch":                             jobFixtures,
	"CronJob.batch":                         cronJobFixtures,
	"SparkApplication.sparkoperator.k8s.io": sparkFixtures,
	"ScheduledSparkApplication.sparkoperator.k8s.io": scheduledSparkFixtures,
	"Workflow.argoproj.io":                           workflowFixtures,
	"CronWorkflow.argoproj.io":                       cronWorkflowFixtures,
	"RayJob.ray.io":                                  rayFixtures,
	"PipelineRun.tekton.dev":                         tektonFixtures,
	"TaskRun.tekton.dev":                             tektonFixtures,
	"FlinkDeployment.flink.apache.org":               flinkFixtures,
}

// Each kind whose objects this room judges has fixtures, and a kind that runs to completion has one for each end.
func TestEachKindIsJudged(t *testing.T) {
	for _, kind := range Kinds() {
		gk := kind.GVK.GroupKind()
		states := fixtures[gk.String()]
		if (kind.health != nil || kind.RunsToCompletion()) && len(states) == 0 {
			t.Errorf("%s has no fixtures", gk)
		}
		seen := map[string]bool{}
		for name, want := range states {
			t.Run(gk.String()+"/"+name, func(t *testing.T) { want.check(t, kind.GVK) })
			seen["running"] = seen["running"] || want.run == Running
			seen["succeeded"] = seen["succeeded"] || want.run == Ended && !want.failed
			seen["failed"] = seen["failed"] || want.run == Ended && want.failed
			seen["healthy"] = seen["healthy"] || want.health == Healthy
		}
		for _, state := range []string{"running", "succeeded", "failed", "healthy"} {
			if kind.RunsToCompletion() && !seen[state] {
				t.Errorf("%s has no fixture of an object that is %s", gk, state)
			}
		}
	}
	for name := range fixtures {
		if !slices.ContainsFunc(Kinds(), func(kind Kind) bool { return kind.GVK.GroupKind().String() == name }) {
			t.Errorf("%s has fixtures and is not in the table", name)
		}
	}
}

func (want fixture) check(t *testing.T, kind schema.GroupVersionKind) {
	version, name := kind.ToAPIVersionAndKind()
	obj := object(t, "apiVersion: "+version+"\nkind: "+name+"\n"+want.fields)
	got := (*Judge)(nil).Health(obj)
	if got.Status != want.health || got.Completed != want.completed || !strings.Contains(got.Message, want.message) || got.Message == "" && want.health != Healthy {
		t.Errorf("the health is %+v", got)
	}
	run := (*Judge)(nil).Run(obj)
	if run.State != want.run || run.Failed != want.failed || run.Starting != want.starting || run.ID != want.id || run.Message == "" && want.run != NotARun {
		t.Errorf("the run is %+v", run)
	}
}

func TestAnObjectThatIsBeingDeletedIsInProgress(t *testing.T) {
	obj := object(t, "apiVersion: batch/v1\nkind: Job\nmetadata: {deletionTimestamp: \"2030-01-02T03:04:05Z\"}\nstatus: {active: 1}")
	if got := new(Judge).Health(obj); got.Status != InProgress || !strings.Contains(got.Message, "being deleted") {
		t.Errorf("got %+v", got)
	}
}

// A kind that the table does not have is judged by kstatus.
func TestOtherKinds(t *testing.T) {
	const definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
	for name, c := range map[string]struct {
		object string
		want   Status
	}{
		"definition: new":           {definition, InProgress},
		"definition: established":   {definition + "status: {conditions: [{type: NamesAccepted, status: \"True\"}, {type: Established, status: \"True\"}]}", Healthy},
		"definition: names refused": {definition + "status: {conditions: [{type: NamesAccepted, status: \"False\", reason: ListKindConflict, message: taken}]}", Failed},
		"settings":                  {"apiVersion: v1\nkind: ConfigMap\n", Healthy},
		"a status without a form":   {"apiVersion: example.com/v1\nkind: A\nstatus: {conditions: 1}", InProgress},
	} {
		t.Run(name, func(t *testing.T) {
			obj := object(t, c.object)
			if got := (*Judge)(nil).Health(obj); got.Status != c.want || got.Message == "" && c.want != Healthy {
				t.Errorf("got %+v", got)
			}
			if run := (*Judge)(nil).Run(obj); run != (Run{}) {
				t.Errorf("it runs: %+v", run)
			}
		})
	}
	unknown := KindOf(schema.GroupKind{Kind: "ConfigMap"})
	if unknown.Is(Batch) || unknown.RunsToCompletion() || len(unknown.ImagePaths()) > 0 || unknown.IsPushTarget("") || RemovesItself(object(t, "apiVersion: v1\nkind: ConfigMap")) {
		t.Errorf("a ConfigMap is a workload: %+v", unknown)
	}
}

// Each kind stands in the table once, and what it says of itself can be read.
func TestTheTableIsWellFormed(t *testing.T) {
	seen := map[schema.GroupKind]bool{}
	for _, kind := range Kinds() {
		gk := kind.GVK.GroupKind()
		if seen[gk] || kind.GVK.Version == "" {
			t.Errorf("%s stands in the table twice, or without a version", gk)
		}
		seen[gk] = true
		for _, text := range slices.Concat(kind.images.fields, kind.images.podSpecs, kind.runs.survives, []string{kind.images.pushed}) {
			if path, err := manifest.ParsePath(text); text != "" && (err != nil || path.String() != text) {
				t.Errorf("%s: the path %s reads as %s, %v", gk, text, path, err)
			}
		}
		if kind.images.pushed != "" && (len(kind.ImagePaths()) == 0 || slices.Contains(kind.images.fields, kind.images.pushed)) {
			t.Errorf("%s: an image is pushed to %s, and none is run", gk, kind.images.pushed)
		}
		if run, ok := kind.Starts(); ok && (!KindOf(run.GroupKind()).RunsToCompletion() || kind.RunsToCompletion()) {
			t.Errorf("%s starts %s, which is no run", gk, run)
		}
		if !kind.RunsToCompletion() && (kind.runs.lifetime != nil || kind.runs.survives != nil || kind.runs.succeeded != nil || kind.Is(Batch|Endless)) {
			t.Errorf("%s describes a run and has none", gk)
		}
		if (kind.runs.lifetime == nil) != (kind.runs.succeeded == nil) {
			t.Errorf("%s removes itself, and no event says how its run ended", gk)
		}
		if kind.RunsToCompletion() && kind.Is(NeverRuns) {
			t.Errorf("%s runs and never runs", gk)
		}
	}
}

func TestTraits(t *testing.T) {
	for trait, want := range map[Trait]string{
		Endless:   "FlinkDeployment",
		Batch:     "Job SparkApplication Workflow RayJob PipelineRun",
		Recreated: "Job",
		KeepsPods: "StatefulSet",
		RollsOut:  "Deployment DaemonSet StatefulSet",
		OwnsPods:  "Deployment ReplicaSet DaemonSet StatefulSet Job",
		Embedded:  "Pod PodTemplate SparkApplication ScheduledSparkApplication",
		NeverRuns: "Deployment CronJob PersistentVolumeClaim",
	} {
		var got []string
		for _, kind := range KindsWith(trait) {
			got = append(got, kind.GVK.Kind)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("trait %b: %s, want %s", trait, text, want)
		}
	}
}

func TestSchedules(t *testing.T) {
	for schedule, want := range map[schema.GroupKind]string{
		{Group: "batch", Kind: "CronJob"}:                                  "batch/v1, Kind=Job",
		{Group: "sparkoperator.k8s.io", Kind: "ScheduledSparkApplication"}: "sparkoperator.k8s.io/v1beta2, Kind=SparkApplication",
		{Group: "argoproj.io", Kind: "CronWorkflow"}:                       "argoproj.io/v1alpha1, Kind=Workflow",
	} {
		if run, ok := KindOf(schedule).Starts(); !ok || run.String() != want {
			t.Errorf("%s starts %s", schedule, run)
		}
	}
	if run, ok := KindOf(job.GroupKind()).Starts(); ok {
		t.Errorf("a Job starts %s", run)
	}
}

func TestFieldsThatARunSurvives(t *testing.T) {
	for _, c := range []struct {
		kind     schema.GroupVersionKind
		path     string
		restarts bool
	}{
		{sparkApplication, "spec.image", true},
		{sparkApplication, "spec.driver.labels.team", true},
		{sparkApplication, "spec.suspend", false},
		{sparkApplication, "spec.suspended", true},
		{sparkApplication, "spec.timeToLiveSeconds", false},
		{sparkApplication, `metadata.labels["example.com/a"]`, false},
		// The API server allows few changes of a running Job, and these do not restart it.
		{job, "spec.parallelism", false},
		{workflow, "spec.ttlStrategy.secondsAfterCompletion", false},
		{workflow, "spec.templates[name=main].container.image", true},
		{flinkKinds[0].GVK, "spec.job.state", false},
		{flinkKinds[0].GVK, "spec.job.jarURI", true},
		{ray("RayJob"), "spec.entrypoint", true},
		{tekton("TaskRun"), "spec.timeout", false},
		{tekton("PipelineRun"), "spec.timeout", true},
	} {
		if got := KindOf(c.kind.GroupKind()).Restarts(c.path); got != c.restarts {
			t.Errorf("%s of %s restarts: %t", c.path, c.kind.Kind, got)
		}
	}
}

func TestEventsOfAnEnd(t *testing.T) {
	for _, c := range []struct {
		kind          schema.GroupVersionKind
		reason        string
		ended, failed bool
	}{
		{job, "SuccessfulCreate", false, false},
		{job, "Completed", true, false},
		{job, "BackoffLimitExceeded", true, true},
		{sparkApplication, "SparkApplicationCompleted", true, false},
		{sparkApplication, "SparkApplicationFailed", true, true},
		{sparkApplication, "SparkDriverRunning", false, false},
		{workflow, "WorkflowSucceeded", true, false},
		{workflow, "WorkflowTimedOut", true, true},
		{ray("RayJob"), "Completed", false, false},
	} {
		if ended, failed := KindOf(c.kind.GroupKind()).EndedBy(c.reason); ended != c.ended || failed != c.failed {
			t.Errorf("%s of a %s: ended %t, failed %t", c.reason, c.kind.Kind, ended, failed)
		}
	}
}

func TestObjectsThatRemoveThemselves(t *testing.T) {
	for text, want := range map[string]struct {
		removes bool
		seconds float64
	}{
		"apiVersion: batch/v1\nkind: Job\nspec: {ttlSecondsAfterFinished: 0}":                                 {true, 0},
		"apiVersion: batch/v1\nkind: Job\nspec: {ttlSecondsAfterFinished: 30}":                                {true, 30},
		"apiVersion: batch/v1\nkind: Job\nspec: {}":                                                           {false, 0},
		"apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nspec: {timeToLiveSeconds: 60}":     {true, 60},
		"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {ttlStrategy: {secondsAfterCompletion: 10}}": {true, 0},
		"apiVersion: v1\nkind: ConfigMap\n":                                                                   {false, 0},
	} {
		if got := RemovesItself(object(t, text)); got != want.removes {
			t.Errorf("%q: %t", text, got)
		}
		if got := Lifetime(object(t, text)).Seconds(); got != want.seconds {
			t.Errorf("%q: %v s", text, got)
		}
	}
}

func TestImagePaths(t *testing.T) {
	for kind, want := range map[schema.GroupVersionKind]string{
		Pod:                        "spec.initContainers[*].image spec.containers[*].image spec.ephemeralContainers[*].image spec.volumes[*].image.reference",
		kafkaKinds[0].GVK:          "spec.image",
		tekton("PipelineRun"):      "",
		{Version: "v1", Kind: "A"}: "",
	} {
		var got []string
		for _, path := range KindOf(kind.GroupKind()).ImagePaths() {
			got = append(got, path.String())
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s", kind.Kind, text)
		}
	}
}

func TestPushTargets(t *testing.T) {
	connect := KindOf(schema.GroupKind{Group: "kafka.strimzi.io", Kind: "KafkaConnect"})
	if !connect.IsPushTarget("spec.build.output.image") || connect.IsPushTarget("spec.image") {
		t.Error("the push target of KafkaConnect is not known")
	}
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
