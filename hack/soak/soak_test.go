package main

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parsed(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDifferences(t *testing.T) {
	want := parsed(t, `{data: {a: "1"}, spec: {image: registry.example.com/soak/web:v1, replicas: 2, items: [{name: x}]}}`)
	pinned := func(reference, digest string) bool {
		return reference == "registry.example.com/soak/web:v1" && digest == "sha256:1"
	}
	for live, count := range map[string]int{
		`{data: {a: "1"}, spec: {image: "registry.example.com/soak/web:v1@sha256:1", replicas: 2, items: [{name: x, more: y}], other: z}}`: 0,
		`{data: {a: "2"}, spec: {image: "registry.example.com/soak/web:v1@sha256:2", replicas: 3, items: [{name: x}, {name: y}]}}`:         4,
		`{data: {a: "1", b: "2"}, spec: {image: "registry.example.com/soak/web:v1", replicas: 2, items: [{name: x}]}}`:                     2,
		`{data: {a: "1"}}`: 1,
	} {
		if got := differences(want, parsed(t, live), pinned); len(got) != count {
			t.Errorf("%s: %q, want %d", live, got, count)
		}
	}
	if got := differences(want, nil, pinned); len(got) != 1 {
		t.Errorf("an object that is not there: %q", got)
	}
}

func TestRuns(t *testing.T) {
	for text, want := range map[string]struct{ running, ended bool }{
		`{kind: Job}`:                         {},
		`{kind: Job, status: {startTime: x}}`: {running: true},
		`{kind: Job, status: {startTime: x, conditions: [{type: Complete, status: "True"}]}}`:                                            {ended: true},
		`{kind: SparkApplication, metadata: {uid: u, generation: 2}, status: {submissionID: u-2, applicationState: {state: RUNNING}}}`:   {running: true},
		`{kind: SparkApplication, metadata: {uid: u, generation: 2}, status: {submissionID: u-1, applicationState: {state: COMPLETED}}}`: {ended: true},
		`{kind: ConfigMap}`: {},
	} {
		o := &unstructured.Unstructured{Object: parsed(t, text)}
		if generation, ok := o.Object["metadata"].(object); ok {
			generation["generation"] = int64(2)
		}
		if running(o) != want.running || ended(o) != want.ended {
			t.Errorf("%s: running %t, ended %t", text, running(o), ended(o))
		}
	}
}

// A claim that was true at one moment of the time is true; one that was at none is not.
func TestNeverEqual(t *testing.T) {
	m := model{"extra": {Tag: 1, Value: 1}}
	at := target{"extra", dev}
	now := time.Now()
	settings := func(value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: object{"metadata": object{"namespace": namespace(dev)}, "data": object{"value": value}}}
	}
	histories := map[key][]version{}
	for k, o := range m.objects(at) {
		histories[k] = []version{{at: now.Add(-time.Hour), object: &unstructured.Unstructured{Object: o}}}
	}
	j := &judge{cluster: &cluster{versions: histories}, images: &images{}}
	if wrong := j.neverEqual(at, m, now.Add(-time.Second), now); len(wrong) != 0 {
		t.Errorf("it is so all the time: %q", wrong)
	}
	changed := key{"ConfigMap", namespace(dev), "extra"}
	histories[changed] = append(histories[changed], version{at: now.Add(-time.Minute), object: settings("2")})
	if wrong := j.neverEqual(at, m, now.Add(-time.Second), now); len(wrong) == 0 {
		t.Errorf("it is not so: %q", wrong)
	}
	if wrong := j.neverEqual(at, m, now.Add(-2*time.Minute), now); len(wrong) != 0 {
		t.Errorf("it was so at first: %q", wrong)
	}
}
