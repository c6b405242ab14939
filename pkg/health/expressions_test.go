package health_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
)

const training = "apiVersion: example.com/v1\nkind: Training\n"

func TestExpressionsJudgeAKind(t *testing.T) {
	j, err := health.New([]health.Kind{{
		Group: "example.com", Kind: "Training",
		Running: "object.status.phase in ['Pending', 'Running']",
		Healthy: "object.status.phase == 'Done' && quantity(object.spec.memory).isGreaterThan(quantity('1Mi'))",
		Failed:  "object.status.phase == 'Broken'",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !j.RunsToCompletion(schema.GroupKind{Group: "example.com", Kind: "Training"}) {
		t.Error("a kind with the expression running does not run to completion")
	}
	for name, c := range map[string]struct {
		object string
		state  health.State
		failed bool
		status health.Status
	}{
		"no status yet":  {training, health.Idle, false, health.InProgress},
		"running":        {training + "status: {phase: Running}", health.Running, false, health.InProgress},
		"done":           {training + "spec: {memory: 1Gi}\nstatus: {phase: Done}", health.Ended, false, health.Healthy},
		"done, too soon": {training + "metadata: {generation: 2}\nspec: {memory: 1Gi}\nstatus: {phase: Done, observedGeneration: 1}", health.Ended, false, health.InProgress},
		"broken":         {training + "status: {phase: Broken, message: disk full}", health.Ended, true, health.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			obj := object(t, c.object)
			if run := j.Run(obj); run.State != c.state || run.Failed != c.failed {
				t.Errorf("the run is %+v", run)
			}
			got := j.Health(obj)
			if got.Status != c.status || got.Message == "" {
				t.Errorf("the health is %+v", got)
			}
			if c.failed && !strings.Contains(got.Message, "disk full") {
				t.Errorf("the message %q does not say why", got.Message)
			}
		})
	}
}

func TestExpressionsReplaceOnlyWhatTheySay(t *testing.T) {
	j, err := health.New([]health.Kind{{Group: "apps", Kind: "Deployment", Failed: "object.metadata.name == 'bad'"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := j.Health(object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}")); got.Status != health.Failed {
		t.Errorf("the expression is not asked: %+v", got)
	}
	if got := j.Health(object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: good, generation: 1}\nspec: {replicas: 1}")); got.Status != health.InProgress {
		t.Errorf("kstatus is not asked: %+v", got)
	}
}

func TestExpressionErrors(t *testing.T) {
	for name, c := range map[string]struct {
		kind health.Kind
		want string
	}{
		"no CEL":       {health.Kind{Kind: "A", Running: "object.status ==="}, "kinds[0].running: "},
		"not a bool":   {health.Kind{Kind: "A", Healthy: "'yes'"}, "write an expression that is true or false"},
		"unknown name": {health.Kind{Kind: "A", Failed: "self.status"}, "kinds[0].failed: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := health.New([]health.Kind{c.kind})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := health.New([]health.Kind{{Kind: "A", Failed: "true"}, {Kind: "A", Failed: "false"}}); err == nil || !strings.Contains(err.Error(), "kinds[1]: A is described twice") {
		t.Errorf("twice: %v", err)
	}
}

// An expression that costs too much must not hold up a pass, nor let a running object be thrown away.
func TestCostlyExpressionCountsAsRunning(t *testing.T) {
	items := strings.Repeat("1,", 400)
	j, err := health.New([]health.Kind{{Group: "example.com", Kind: "Training", Running: "object.spec.l.all(a, object.spec.l.all(b, object.spec.l.all(c, a+b+c > 0)))", Healthy: "object.spec.l > 3"}})
	if err != nil {
		t.Fatal(err)
	}
	obj := object(t, training+"spec: {l: ["+items+"]}")
	if run := j.Run(obj); run.State != health.Running || !strings.Contains(run.Message, "cannot be judged") {
		t.Errorf("got %+v", run)
	}
	if got := j.Health(obj); got.Status != health.InProgress || !strings.Contains(got.Message, "cannot be judged") {
		t.Errorf("got %+v", got)
	}
}

// No object that a cluster can hold makes the judge panic.
func FuzzJudge(f *testing.F) {
	for _, kind := range []string{"batch/v1 Job", "sparkoperator.k8s.io/v1beta2 SparkApplication", "argoproj.io/v1alpha1 Workflow", "ray.io/v1 RayJob", "tekton.dev/v1 PipelineRun", "flink.apache.org/v1beta1 FlinkDeployment", "apps/v1 Deployment", "v1 PersistentVolumeClaim"} {
		version, name, _ := strings.Cut(kind, " ")
		f.Add(version, name, "status: {phase: 1, conditions: {a: b}, applicationState: x, jobStatus: [1]}")
		f.Add(version, name, "status: {conditions: [1, {type: Complete}], active: x}\nspec: []")
	}
	f.Fuzz(func(t *testing.T, version, kind, rest string) {
		obj := parse(version, kind, rest)
		if obj == nil {
			return
		}
		var j *health.Judge
		j.Run(obj)
		j.Health(obj)
		health.RemovesItself(obj)
	})
}
