package watch

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var podKey = manifest.Key{Kind: "Pod", Namespace: "data", Name: "a"}

func podAt(version, set string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
		"name": "a", "namespace": "data", "resourceVersion": version, "labels": map[string]any{v1alpha1.LabelMember: set},
	}}}
}

// The answer to an own write and the events of a watch come in any order: the newest state stays.
func TestAnIndexKeepsTheNewestState(t *testing.T) {
	put := func(version string) func(*index) { return func(x *index) { x.put(podKey, podAt(version, "set")) } }
	end := func(version string) func(*index) { return func(x *index) { x.end(podKey, version) } }
	for name, c := range map[string]struct {
		events []func(*index)
		want   string // the version; "": it is gone
	}{
		"a newer state":                           {[]func(*index){put("9"), put("10")}, "10"},
		"an older state":                          {[]func(*index){put("10"), put("9")}, "10"},
		"the same state":                          {[]func(*index){put("10"), put("10")}, "10"},
		"it is gone":                              {[]func(*index){put("9"), end("10")}, ""},
		"an answer from before its end":           {[]func(*index){put("9"), end("11"), put("10")}, ""},
		"a new object of its name":                {[]func(*index){put("9"), end("10"), put("11")}, "11"},
		"the end of an object that was not shown": {[]func(*index){end("10"), put("9")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex()
			for _, event := range c.events {
				event(&x)
			}
			got := ""
			if obj := x.get(podKey); obj != nil {
				got = obj.GetResourceVersion()
			}
			if got != c.want || len(x.of("set", schema.GroupKind{Kind: "Pod"}, "data")) != len(x.objects) {
				t.Errorf("version %q, want %q; %d objects", got, c.want, len(x.objects))
			}
		})
	}
}

func TestAnIndexFindsTheObjectsOfASet(t *testing.T) {
	x := newIndex()
	x.put(podKey, podAt("1", "one"))
	pods := schema.GroupKind{Kind: "Pod"}
	for name, c := range map[string]struct {
		set, namespace string
		kind           schema.GroupKind
		want           int
	}{
		"its namespace": {"one", "data", pods, 1}, "every namespace": {"one", "", pods, 1}, "another namespace": {"one", "other", pods, 0},
		"another set": {"two", "data", pods, 0}, "another kind": {"one", "data", schema.GroupKind{Kind: "Job"}, 0},
	} {
		if got := len(x.of(c.set, c.kind, c.namespace)); got != c.want {
			t.Errorf("%s: %d objects, want %d", name, got, c.want)
		}
	}
	x.put(podKey, podAt("2", "two"))
	if len(x.of("one", pods, "")) != 0 || len(x.of("two", pods, "")) != 1 || len(x.sets) != 1 {
		t.Errorf("an object that another target took over is in %v", x.sets)
	}
	here, other := stream{kind: pods, namespace: "data"}, stream{kind: pods}
	if x.dropStream(here, map[stream]*streaming{other: nil}); len(x.objects) != 1 {
		t.Error("an object that another watch shows is dropped")
	}
	if x.dropStream(here, nil); len(x.objects)+len(x.sets) != 0 {
		t.Errorf("%v is left of a watch that ended", x.objects)
	}
}

// BenchmarkIndex measures an event of a watch and a look at the objects of one target, among ten thousand objects.
func BenchmarkIndex(b *testing.B) {
	x, pods := newIndex(), schema.GroupKind{Kind: "Pod"}
	const objects, inSet = 10_000, 10
	put := func(i, version int) {
		key := podKey
		key.Name = fmt.Sprint(i)
		obj := podAt(fmt.Sprint(version), fmt.Sprint(i/inSet))
		obj.SetName(key.Name)
		x.put(key, obj)
	}
	for i := range objects {
		put(i, 1)
	}
	version := 1
	for b.Loop() {
		version++
		put(version%objects, version)
		if got := len(x.of(fmt.Sprint(version%objects/inSet), pods, "data")); got != inSet {
			b.Fatal(got)
		}
	}
}
