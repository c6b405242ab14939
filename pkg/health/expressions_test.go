package health

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

const training = "apiVersion: example.com/v1\nkind: Training\n"

func TestExpressionsJudgeAKind(t *testing.T) {
	j, err := New([]Declared{{
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
		state  State
		failed bool
		status Status
	}{
		"no status yet":  {training, Idle, false, InProgress},
		"running":        {training + "status: {phase: Running}", Running, false, InProgress},
		"done":           {training + "spec: {memory: 1Gi}\nstatus: {phase: Done}", Ended, false, Healthy},
		"done, too soon": {training + "metadata: {generation: 2}\nspec: {memory: 1Gi}\nstatus: {phase: Done, observedGeneration: 1}", Ended, false, InProgress},
		"broken":         {training + "status: {phase: Broken, message: disk full}", Ended, true, Failed},
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
	j, err := New([]Declared{{Group: "apps", Kind: "Deployment", Failed: "object.metadata.name == 'bad'"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := j.Health(object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}")); got.Status != Failed {
		t.Errorf("the expression is not asked: %+v", got)
	}
	if got := j.Health(object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: good, generation: 1}\nspec: {replicas: 1}")); got.Status != InProgress {
		t.Errorf("kstatus is not asked: %+v", got)
	}
}

func TestExpressionErrors(t *testing.T) {
	for name, c := range map[string]struct {
		kind Declared
		want string
	}{
		"no CEL":       {Declared{Kind: "A", Running: "object.status ==="}, "kinds[0].running: "},
		"not a bool":   {Declared{Kind: "A", Healthy: "'yes'"}, "write an expression that is true or false"},
		"unknown name": {Declared{Kind: "A", Failed: "self.status"}, "kinds[0].failed: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New([]Declared{c.kind})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := New([]Declared{{Kind: "A", Failed: "true"}, {Kind: "A", Failed: "false"}}); err == nil || !strings.Contains(err.Error(), "kinds[1]: A is described twice") {
		t.Errorf("twice: %v", err)
	}
}

// An expression that costs too much must not hold up a pass, nor let a running object be thrown away.
func TestCostlyExpressionCountsAsRunning(t *testing.T) {
	items := strings.Repeat("1,", 400)
	j, err := New([]Declared{{Group: "example.com", Kind: "Training", Running: "object.spec.l.all(a, object.spec.l.all(b, object.spec.l.all(c, a+b+c > 0)))", Healthy: "object.spec.l > 3"}})
	if err != nil {
		t.Fatal(err)
	}
	obj := object(t, training+"spec: {l: ["+items+"]}")
	if run := j.Run(obj); run.State != Running || !strings.Contains(run.Message, "cannot be judged") {
		t.Errorf("got %+v", run)
	}
	if got := j.Health(obj); got.Status != InProgress || !strings.Contains(got.Message, "cannot be judged") {
		t.Errorf("got %+v", got)
	}
}

// parse returns nil for a text that is no object.
func parse(version, kind, rest string) *unstructured.Unstructured {
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(rest), &fields); err != nil || fields == nil {
		return nil
	}
	fields["apiVersion"], fields["kind"] = version, kind
	return &unstructured.Unstructured{Object: fields}
}

// No object that a cluster can hold makes the judge panic.
func FuzzJudge(f *testing.F) {
	for _, kind := range Kinds() {
		version, name := kind.GVK.ToAPIVersionAndKind()
		f.Add(version, name, "status: {phase: 1, conditions: {a: b}, applicationState: x, jobStatus: [1]}")
		f.Add(version, name, "status: {conditions: [1, {type: Complete}], active: x}\nspec: []")
	}
	f.Fuzz(func(t *testing.T, version, kind, rest string) {
		obj := parse(version, kind, rest)
		if obj == nil {
			return
		}
		var j *Judge
		j.Run(obj)
		j.Health(obj)
		RemovesItself(obj)
	})
}
