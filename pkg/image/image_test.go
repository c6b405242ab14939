package image

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

var update = flag.Bool("update", false, "rewrite testdata/kinds.want")

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestForms(t *testing.T) {
	for value, want := range map[string]Form{
		"busybox":                                 Tag,
		"busybox:1.36":                            Tag,
		"library/busybox:1.36":                    Tag,
		"docker.io/library/busybox":               Tag,
		"registry.example.com/a/b/c:v1.2.3-rc1":   Tag,
		"registry.example.com:5000/a":             Tag,
		"registry.example.com:5000/a:1":           Tag,
		"localhost:5000/a:1":                      Tag,
		"127.0.0.1:5000/a:1":                      Tag,
		"a/b_c.d-e__f:_TAG.x":                     Tag,
		"busybox@" + digest:                       Digest,
		"busybox:1.36@" + digest:                  Digest,
		"registry.example.com:5000/a:1@" + digest: Digest,
		"{{inputs.parameters.image}}":             Template,
		"registry.example.com/a:{{ tag }}":        Template,
		"registry.example.com/a:$(TAG)":           Template,
		"${REGISTRY}/a:1":                         Template,
		"$REGISTRY/a:1":                           Template,
		"registry.example.com/$a":                 Template,
		"registry.example.com/a@{{digest}}":       Template,
	} {
		if form, err := formOf(value); form != want || err != nil {
			t.Errorf("%s: %s, %v", value, form, err)
		}
	}
	for _, value := range []string{
		"busybox:1.2:1.36", "Busybox:1", "registry.example.com/Team/a:1", "busybox:", "busybox@", "busybox@sha256:12",
		"busybox@" + digest[:len(digest)-1], "busybox:1@md5:" + digest[7:], "busybox:1.2:1.36@" + digest, " busybox", "busybox :1",
		"https://registry.example.com/a:1", "a//b:1", "/a", "a:" + strings.Repeat("x", 129), "busybox:täg", "busybox:-1", "busybox:.1", "a..b:1", "a-:1", "a@" + digest + "@" + digest,
	} {
		if form, err := formOf(value); err == nil {
			t.Errorf("%q was taken for a %s", value, form)
		} else if strings.Contains(err.Error(), value+":") {
			t.Errorf("the reference stands in its own error: %v", err)
		}
	}
}

func TestInvalidReferenceIsAnErrorAtItsField(t *testing.T) {
	_, err := Find(manifest.Set{
		object("apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: data}\nspec: {containers: [{name: a, image: 'busybox:1.2:1.36'}, {name: b, image: 'ok:1'}, {name: c, image: UPPER}]}"),
	}, nil)
	var first *ReferenceError
	if !errors.As(err, &first) || first.Path != "spec.containers[name=a].image" || first.Value != "busybox:1.2:1.36" {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{`Pod/data/x: spec.containers[name=a].image: "busybox:1.2:1.36" is not an image reference`, `Pod/data/x: spec.containers[name=c].image: "UPPER"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if set, err := Pin(manifest.Set{object("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: UPPER}]}")}, nil, nil); err == nil {
		t.Errorf("pinned to %v", set)
	}
}

// kinds reads testdata/kinds.yaml.
func kinds(t *testing.T) manifest.Set {
	t.Helper()
	data, err := os.ReadFile("testdata/kinds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const (
		pod = `{initContainers: [{name: i, image: registry.example.com/init:1}], containers: [{name: c, image: registry.example.com/main:1}, {name: none}],` +
			` ephemeralContainers: [{name: e, image: registry.example.com/debug:1}], volumes: [{name: v, image: {reference: registry.example.com/data:1}}]}`
		spark    = `{image: registry.example.com/spark:1, sparkConf: {spark.kubernetes.container.image: registry.example.com/conf:1, spark.kubernetes.driver.container.image: registry.example.com/conf:1, spark.kubernetes.executor.container.image: registry.example.com/conf:1, spark.kubernetes.container.image.pullPolicy: Always}, volumes: [{name: d, image: {reference: registry.example.com/data:1}}], driver: ROLE, executor: ROLE}`
		role     = `{image: registry.example.com/role:1, initContainers: [{name: a, image: registry.example.com/init:1}], sidecars: [{name: a, image: registry.example.com/sidecar:1}], template: {spec: POD}}`
		workflow = `{volumes: [{name: d, image: {reference: registry.example.com/data:1}}], templateDefaults: TEMPLATE,` +
			` templates: [TEMPLATE, {name: s, steps: [[{name: one, inline: TEMPLATE}]]}, {name: d, dag: {tasks: [{name: one, inline: TEMPLATE}]}}]}`
		step = `{name: main, container: {image: registry.example.com/container:1}, script: {image: registry.example.com/script:1},` +
			` initContainers: [{name: i, image: registry.example.com/init:1}], sidecars: [{name: s, image: registry.example.com/sidecar:1}],` +
			` containerSet: {containers: [{name: c, image: registry.example.com/set:1}]}, volumes: [{name: v, image: {reference: registry.example.com/data:1}}]}`
		ray = `{autoscalerOptions: {image: registry.example.com/scaler:1}, headGroupSpec: {template: {spec: POD}}, workerGroupSpecs: [{groupName: g, template: {spec: POD}}]}`
	)
	text := string(data)[strings.Index(string(data), "{"):] // after the comment, which names the words below
	for _, word := range []struct{ name, text string }{{"WORKFLOW", workflow}, {"TEMPLATE", step}, {"SPARK", spark}, {"ROLE", role}, {"RAY", ray}, {"POD", pod}} {
		text = strings.ReplaceAll(text, word.name, word.text)
	}
	var set manifest.Set
	decoder := k8syaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if decoder.Decode(&obj.Object) != nil {
			return set
		}
		set = append(set, obj)
	}
}

// Each kind of the table has an object, each field of the table is found in it, and nothing else is.
func TestKinds(t *testing.T) {
	set := kinds(t)
	byKind := map[schema.GroupKind]*unstructured.Unstructured{}
	for _, obj := range set {
		byKind[manifest.IDOf(obj).GroupKind()] = obj
	}
	for kind, patterns := range known {
		obj, ok := byKind[kind]
		if !ok {
			t.Errorf("%s has no object in testdata/kinds.yaml", kind)
			continue
		}
		for _, pattern := range patterns {
			if len(manifest.Find(obj.Object, pattern)) == 0 {
				t.Errorf("%s: the object has nothing at %s", kind, pattern)
			}
		}
	}
	refs, err := Find(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	for _, ref := range refs {
		fmt.Fprintf(&list, "%s %s %s\n", ref.Object.Kind, ref.Path, ref.Value)
	}
	if *update {
		if err := os.WriteFile("testdata/kinds.want", list.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/kinds.want")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("testdata/kinds.want (-want +got):\n%s", diff)
	}
}

func TestEveryImageOfEveryKindIsPinned(t *testing.T) {
	set := kinds(t)
	refs, err := Find(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]Resolved{}
	for _, reference := range Tags(refs) {
		digests[reference] = Resolved{Digest: digest}
	}
	before, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := Pin(set, nil, digests)
	if err != nil {
		t.Fatal(err)
	}
	if untouched, _ := set.YAML(); !bytes.Equal(before, untouched) {
		t.Error("Pin changed the set that it was given")
	}
	after, err := pinned.YAML()
	if err != nil {
		t.Fatal(err)
	}
	const pushed = "registry.example.com/pushed:1"
	if !strings.Contains(string(after), pushed+"\n") {
		t.Error("the push target was rewritten")
	}
	// Everything but the digests is as it was.
	if restored := strings.ReplaceAll(string(after), "@"+digest, ""); restored != string(before) {
		t.Error(cmp.Diff(string(before), restored))
	}
	for line := range strings.Lines(string(after)) {
		if strings.Contains(line, "registry.example.com") && !strings.Contains(line, ":1@"+digest) && !strings.Contains(line, pushed) {
			t.Errorf("not pinned: %s", line)
		}
	}
}

func TestPin(t *testing.T) {
	set := manifest.Set{object(`
apiVersion: v1
kind: Pod
metadata: {name: x, annotations: {image: "web:1", n: "1"}}
spec:
  hostNetwork: false
  containers:
  - {name: a, image: "web:1", args: ["web:1"], env: [{name: X, value: ""}], ports: [{containerPort: 80}]}
  - {name: b, image: web}
  - {name: c, image: "localhost:5000/web"}
  - {name: d, image: "web:2@` + digest + `"}
  - {name: e, image: "web:$(TAG)"}
  - {name: f, image: "unresolved:1"}
  - {name: g, image: ""}
  - {name: h, image: 7}
`)}
	pinned, err := Pin(set, nil, map[string]Resolved{
		"web:1": {Digest: digest}, "web": {Digest: digest}, "localhost:5000/web": {Digest: digest}, "web:2@" + digest: {Digest: "sha256:other"},
		"web:$(TAG)": {Digest: digest}, "": {Digest: digest},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := set.Copy()
	containers, _, _ := unstructured.NestedSlice(want[0].Object, "spec", "containers")
	for i, image := range []any{"web:1@" + digest, "web:latest@" + digest, "localhost:5000/web:latest@" + digest} {
		containers[i].(map[string]any)["image"] = image
	}
	if err := unstructured.SetNestedSlice(want[0].Object, containers, "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[0].Object, pinned[0].Object); diff != "" {
		t.Error(diff)
	}
}

func TestTemplatesAndDigestsAreListed(t *testing.T) {
	refs, err := Find(manifest.Set{object("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: '{{x}}'}, {name: b, image: 'a@" + digest + "'}, {name: c, image: 'b:1'}, {name: d, image: 'b:1'}, {name: e, image: a}]}")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var forms []Form
	for _, ref := range refs {
		forms = append(forms, ref.Form)
	}
	if want := []Form{Template, Digest, Tag, Tag, Tag}; !slices.Equal(forms, want) {
		t.Errorf("got %v", forms)
	}
	if got, want := Tags(refs), []string{"a", "b:1"}; !slices.Equal(got, want) {
		t.Errorf("to resolve: %v, want %v", got, want)
	}
	slices.Reverse(refs)
	SortReferences(refs)
	if refs[0].Path != "spec.containers[name=a].image" {
		t.Errorf("not sorted: %v", refs)
	}
}

func TestExtraFields(t *testing.T) {
	training := object(`
apiVersion: example.com/v1
kind: Training
metadata: {name: x, annotations: {"example.com/image": "note:1"}}
spec:
  image: main:1
  workers: [{name: a, image: "a:1"}, {name: b, image: "b:1"}]
  byName: {x: {image: "x:1"}, "y.z": {image: "y:1"}}
`)
	var extra []Field
	for _, path := range []string{"spec.image", "spec.workers[*].image", "spec.workers[name=b].image", "spec.byName[*].image", `metadata.annotations["example.com/image"]`, "spec.nothing.there"} {
		field, err := NewField("example.com", "Training", path)
		if err != nil {
			t.Fatal(err)
		}
		extra = append(extra, field)
	}
	other := object("apiVersion: other.com/v1\nkind: Training\nmetadata: {name: x}\nspec: {image: 'no:1'}")
	refs, err := Find(manifest.Set{training, other}, extra)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, ref := range refs {
		if _, twice := got[ref.Path]; twice {
			t.Errorf("%s is listed twice", ref.Path)
		}
		got[ref.Path] = ref.Value
	}
	want := map[string]string{
		"spec.image": "main:1", "spec.workers[name=a].image": "a:1", "spec.workers[name=b].image": "b:1",
		"spec.byName.x.image": "x:1", `spec.byName["y.z"].image`: "y:1", `metadata.annotations["example.com/image"]`: "note:1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	pinned, err := Pin(manifest.Set{training}, extra, map[string]Resolved{"y:1": {Digest: digest}, "note:1": {Digest: digest}})
	if err != nil {
		t.Fatal(err)
	}
	image, _, _ := unstructured.NestedString(pinned[0].Object, "spec", "byName", "y.z", "image")
	if note := pinned[0].GetAnnotations()["example.com/image"]; image != "y:1@"+digest || note != "note:1@"+digest {
		t.Errorf("got %s and %s", image, note)
	}
}

func TestExtraFieldsOfAKnownKindAddToIt(t *testing.T) {
	field, err := NewField("batch", "Job", `metadata.annotations["example.com/next"]`)
	if err != nil {
		t.Fatal(err)
	}
	job := object("apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, annotations: {example.com/next: 'next:1'}}\nspec: {template: {spec: {containers: [{name: a, image: 'a:1'}]}}}")
	for range 2 {
		refs, err := Find(manifest.Set{job}, []Field{field})
		if err != nil || len(refs) != 2 {
			t.Errorf("%v, %v", refs, err)
		}
	}
	if refs, _ := Find(manifest.Set{job}, nil); len(refs) != 1 {
		t.Errorf("the table of kinds remembers an extra field: %v", refs)
	}
}

func TestPushTargetsAreNoExtraFields(t *testing.T) {
	if _, err := NewField("kafka.strimzi.io", "KafkaConnect", "spec.build.output.image"); err == nil || !strings.Contains(err.Error(), "pushed to") {
		t.Errorf("got %v", err)
	}
	connect := object("apiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaConnect\nmetadata: {name: x}\nspec: {image: 'run:1', build: {output: {image: 'push:1'}, plugins: []}}")
	for _, path := range []string{"spec.build.output[*]", "spec[*].output.image", "spec.build[*].image", `spec["build"].output["image"]`} {
		field, err := NewField("kafka.strimzi.io", "KafkaConnect", path)
		if err != nil {
			continue
		}
		refs, err := Find(manifest.Set{connect}, []Field{field})
		if err != nil || len(refs) != 1 {
			t.Errorf("%s: %v, %v", path, refs, err)
		}
	}
	if _, err := NewField("", "Pod", "spec..image"); err == nil {
		t.Error("a broken path was taken")
	}
}

func object(text string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	if err := k8syaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		panic(err)
	}
	return obj
}

func TestPinNamesTheTagThatARangeChose(t *testing.T) {
	set := manifest.Set{object("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: 'localhost:5000/web:1'}, {name: b, image: web}]}")}
	pinned, err := Pin(set, nil, map[string]Resolved{"localhost:5000/web:1": {Tag: "v1.4.2", Digest: digest}, "web": {Tag: "v2.0.0", Digest: digest}})
	if err != nil {
		t.Fatal(err)
	}
	refs, err := Find(pinned, nil)
	if err != nil || len(refs) != 2 || refs[0].Value != "localhost:5000/web:v1.4.2@"+digest || refs[1].Value != "web:v2.0.0@"+digest {
		t.Errorf("%v, %v", refs, err)
	}
}

func TestWithTag(t *testing.T) {
	for _, c := range []struct{ ref, tag, want string }{
		{"web", "", "web:latest"},
		{"web", "2", "web:2"},
		{"web:1", "", "web:1"},
		{"web:1", "2", "web:2"},
		{"localhost:5000/web", "", "localhost:5000/web:latest"},
		{"localhost:5000/a/web:1", "2", "localhost:5000/a/web:2"},
	} {
		if got := WithTag(c.ref, c.tag); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.ref, c.tag, got, c.want)
		}
		if got := WithTagOrDigest(c.ref, c.tag); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.ref, c.tag, got, c.want)
		}
	}
	if got := WithTagOrDigest("web:1@"+digest, "2"); got != "web:1@"+digest {
		t.Errorf("a digest became %s", got)
	}
}
