package image

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// configMap holds a text whose key its annotation names.
func configMap(text string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "x", "namespace": "data", "annotations": map[string]any{Annotation: `data["pod.yaml"]`}},
		"data":     map[string]any{"pod.yaml": text, "other": "web:1"},
	}}
}

// pinAll gives every reference by tag the same digest.
func pinAll(t *testing.T, obj *unstructured.Unstructured) (pinned *unstructured.Unstructured, refs []Reference) {
	t.Helper()
	refs, err := Find(manifest.Set{obj}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resolved := map[string]Resolved{}
	for _, tag := range Tags(refs) {
		resolved[tag] = Resolved{Digest: digest}
	}
	set, err := Pin(manifest.Set{obj}, nil, resolved)
	if err != nil {
		t.Fatal(err)
	}
	return set[0], refs
}

func textOf(obj *unstructured.Unstructured) string {
	text, _, _ := unstructured.NestedString(obj.Object, "data", "pod.yaml")
	return text
}

// Each <reference> is pinned where it stands, and no other byte changes.
func TestReferencesInATextArePinnedInPlace(t *testing.T) {
	for name, text := range map[string]string{
		"Airflow's pod template": "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: base\n    image: <registry.example.com/airflow:2.9>\n    env: [{name: image, value: web:1}]\n",
		"several images":         "a:\n- image: <a:1>\n- image: <b:1>\nb: {image: <c:1>}\nimage: <a:1>\n",
		"quoted":                 "a: {image: '<a:1>'}\nb: {image: \"<b:1>\"}\n'image': <c:1>\n",
		"comments":               "# image: no:1\nimage: <a:1> # image: no:2\n# the end\n",
		"text that is not ASCII": "größe: 你好 # ☃\n\"schlüssel 😀\": {ä: ö, image: '<a:1>', ü: 'image: no:1'}\n",
		"several documents":      "image: <a:1>\n---\nimage: <b:1>\n...\n---\n# nothing\n---\n- {image: <c:1>}\n",
		"CRLF":                   "kind: Pod\r\nspec:\r\n  image: <a:1>\r\n  other: '\r\n\r\n  x'\r\n  b: {image: <b:1>}\r\n",
		"block scalars":          "script: |\n  image: no:1\nnote: >\n  image: no:1\n\n  x\nimage: <a:1>\n",
		"tabs and odd spaces":    "a:\t{image:\t<a:1>\t}\nimage:    <b:1>   \n",
		"on the next line":       "image:\n  <a:1>\nother: {image:\n  '<b:1>'}\n",
		"an explicit key":        "? image\n: <a:1>\n",
		"JSON over lines":        "{\n  \"image\": \"<a:1>\",\n  \"x\": [{\"image\": \"<b:1>\"}]\n}\n",
		"JSON on one line":       `{"image":"<a:1>","x":[{"image":"<b:1>"}]}`,
		"YAML on one line":       "image: <a:1>\n",
		"an anchor and a tag":    "image: &i <a:1>\nb: {image: !!str <b:1>}\nc: {image: !!str &j '<c:1>'}\n",
		"a merge":                "base: &base\n  image: <a:1>\nx:\n  <<: *base\n  y: 1\n",
		"line breaks of YAML":    "a: 'x\u2028y\u0085z'\nb: {image: <a:1>}\n",
		"a byte order mark":      "\ufeffimage: <a:1>\nb: {image: <b:1>}\n",
		"no text":                "image:\nb: {image: ~}\nc: {image: 7}\nd: {image: [a:1]}\ne: {image: {repository: a}}\nf: {image: ''}\n",
		"a volume of a pod":      "volumes:\n- image: {reference: <a:1>, pullPolicy: Always}\n- image:\n    reference: '<b:1>' # no:1\n",
		"a digest":               "image: a@" + digest + "\nb: {image: <b:1>}\n",
		"a template":             "image: a:{{tag}}\nb: {image: <b:1>}\n",
		"no end of line":         "x: 1\nimage: <a:1>",
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.NewReplacer("<a:1>", "a:1", "<b:1>", "b:1", "<c:1>", "c:1", "<registry.example.com/airflow:2.9>", "registry.example.com/airflow:2.9").Replace(text)
			want := strings.NewReplacer("<a:1>", "a:1@"+digest, "<b:1>", "b:1@"+digest, "<c:1>", "c:1@"+digest, "<registry.example.com/airflow:2.9>", "registry.example.com/airflow:2.9@"+digest).Replace(text)
			obj := configMap(source)
			pinned, refs := pinAll(t, obj)
			if diff := cmp.Diff(want, textOf(pinned)); diff != "" {
				t.Error(diff)
			}
			if textOf(obj) != source {
				t.Error("Pin changed the set that it was given")
			}
			for _, ref := range refs {
				if ref.Path != `data["pod.yaml"]` {
					t.Errorf("%s stands at %s", ref.Value, ref.Path)
				}
			}
			if other, _, _ := unstructured.NestedString(pinned.Object, "data", "other"); other != "web:1" {
				t.Errorf("a key that is not named was changed: %s", other)
			}
		})
	}
}

// What cannot be replaced where it stands is an error: passing over it would deploy it unpinned and unchecked.
func TestReferencesThatCannotBeReplaced(t *testing.T) {
	for name, text := range map[string]string{
		"escapes":         "x: 1\nimage: \"web\\x3a1\"\n",
		"a block":         "x: 1\nimage: >-\n  web:1\n",
		"an alias":        "x: &i web:1\nimage: *i\n",
		"two lines":       "x: 1\nimage: web\n  :1\n",
		"no reference":    "x: 1\nimage: Not An Image\n",
		"a line too many": "web:1\n",

		"no image at all":                  "a: 1\nb:\n- x\n",
		"an image under another key":       "repository: web\ntag: '1'\n",
		"parts of an image":                "image: {repository: web, tag: '1'}\n",
		"a script":                         "#!/bin/sh\ndocker run web:1\n",
		"settings that are no YAML":        "[core]\nimage = web:1\n",
		"settings that are one YAML value": "A=b\nIMAGE=web:1\n",
		"a template of another language":   "image: {{ .Values.image }}\n\t- a: [\n",
		"no YAML from here on":             "image: web:1\n---\nimage: [\n",
		"only comments":                    "# image: web:1\n# x\n",
	} {
		_, err := Find(manifest.Set{configMap(text)}, nil)
		if err == nil || !strings.Contains(err.Error(), `ConfigMap/data/x: data["pod.yaml"]: `) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is said of a text does not show it, since it may be a Secret's.
func TestTextsAreNotShown(t *testing.T) {
	const canary = "pass-canary-79"
	obj := configMap("a: *" + canary + "\nimage: web:1\n")
	obj.SetKind("Secret")
	_, err := Find(manifest.Set{obj}, nil)
	if !errors.Is(err, errNoYAML) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{canary + " ", "image: " + canary + " x\nb: c\n"} {
		obj = configMap(text)
		obj.SetKind("Secret")
		_, err := Find(manifest.Set{obj}, nil)
		if wrong, ok := errors.AsType[*ReferenceError](err); !ok || wrong.Path != `data["pod.yaml"]` || strings.Contains(err.Error(), canary) {
			t.Errorf("got %v", err)
		}
	}
}

// A field that the user names and that is no text would be passed over in silence.
func TestNamedFieldsAreTexts(t *testing.T) {
	obj := object(`
apiVersion: example.com/v1
kind: Training
metadata: {name: x}
spec: {map: {repository: web, tag: "1"}, number: 7, list: [web:1], nothing: null, empty: ""}
`)
	for path, wrong := range map[string]bool{"spec.map": true, "spec.number": true, "spec.list": true, "spec.nothing": false, "spec.empty": false} {
		field, err := NewField("example.com", "Training", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Find(manifest.Set{obj}, []Field{field}); errors.Is(err, errNoText) != wrong || wrong && !strings.Contains(err.Error(), "Training/x: "+path+": ") {
			t.Errorf("images.fields with %s: %v", path, err)
		}
		annotated := obj.DeepCopy()
		annotated.SetAnnotations(map[string]string{Annotation: path})
		if _, err = Find(manifest.Set{annotated}, nil); errors.Is(err, errNoText) != wrong {
			t.Errorf("the annotation with %s: %v", path, err)
		}
	}
}

func TestAnnotationNamesFields(t *testing.T) {
	obj := object(`
apiVersion: example.com/v1
kind: Training
metadata: {name: x, annotations: {syncer.dev/images: ' spec.image, spec.workers[name=b,zone=c].image ,, spec.jobs[*].image,spec["x,y"]', note: "web:1"}}
spec: {image: "a:1", workers: [{name: b, zone: c, image: "b:1"}, {name: b, zone: d, image: "c:1"}], jobs: [{image: "d:1"}, {image: "e:1"}], "x,y": "f:1"}
`)
	refs, err := Find(manifest.Set{obj}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Tags(refs), []string{"a:1", "b:1", "d:1", "e:1", "f:1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	pod := object("apiVersion: v1\nkind: Pod\nmetadata: {name: x, annotations: {syncer.dev/images: 'spec.containers[*].image'}}\nspec: {containers: [{name: a, image: 'a:1'}]}")
	if refs, err := Find(manifest.Set{pod}, nil); err != nil || len(refs) != 1 {
		t.Errorf("a field that is known is listed twice: %v, %v", refs, err)
	}
	obj.SetAnnotations(map[string]string{Annotation: "spec.image,spec.imgae,spec.workers[name=z].image,spec.others[*].image"})
	_, err = Find(manifest.Set{obj}, nil)
	for _, path := range []string{"spec.imgae", "spec.workers[name=z].image"} {
		if err == nil || !strings.Contains(err.Error(), "Training/x: annotation syncer.dev/images: there is no field "+path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if strings.Contains(err.Error(), "others") || strings.Contains(err.Error(), "field spec.image;") {
		t.Errorf("got %v", err)
	}
	obj.SetAnnotations(map[string]string{Annotation: "spec..image"})
	if _, err := Find(manifest.Set{obj}, nil); err == nil || !strings.Contains(err.Error(), "Training/x: annotation syncer.dev/images: ") {
		t.Errorf("got %v", err)
	}
}

func TestRepositoryAndTagInFieldsOfTheirOwn(t *testing.T) {
	obj := object(`
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
data:
  AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY: localhost:5000/airflow
`)
	const repository, tag = "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY", "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG"
	obj.SetAnnotations(map[string]string{Annotation: "data." + repository})
	for written, want := range map[string]string{"2.9": "2.9@" + digest, "2.9@" + digest: "2.9@" + digest, "{{tag}}": "{{tag}}"} {
		if err := unstructured.SetNestedField(obj.Object, written, "data", tag); err != nil {
			t.Fatal(err)
		}
		pinned, refs := pinAll(t, obj)
		data, _, _ := unstructured.NestedStringMap(pinned.Object, "data")
		if len(refs) != 1 || refs[0].Value != "localhost:5000/airflow:"+written || data[repository] != "localhost:5000/airflow" || data[tag] != want {
			t.Errorf("%s: %v, %v", written, refs, data)
		}
	}
	unstructured.RemoveNestedField(obj.Object, "data", tag)
	pinned, _ := pinAll(t, obj)
	if got, _, _ := unstructured.NestedString(pinned.Object, "data", repository); got != "localhost:5000/airflow:latest@"+digest {
		t.Errorf("without a tag beside it: %s", got)
	}
}

func TestRepositoryAndTagInEnvironmentVariables(t *testing.T) {
	obj := object(`
apiVersion: v1
kind: Pod
metadata:
  name: x
  annotations:
    syncer.dev/images: spec.containers[*].env[name=WORKER_REPOSITORY].value,spec.containers[*].env[name=AIRFLOW_VAR_JOB].value
spec:
  containers:
  - name: a
    image: a:1
    env: [{name: WORKER_TAG, value: "2.9"}, {name: WORKER_REPOSITORY, value: registry.example.com/worker}, {name: AIRFLOW_VAR_JOB, value: "job:1"}]
`)
	pinned, refs := pinAll(t, obj)
	if got, want := Tags(refs), []string{"a:1", "job:1", "registry.example.com/worker:2.9"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	containers, _, _ := unstructured.NestedSlice(pinned.Object, "spec", "containers")
	want := []any{
		map[string]any{"name": "WORKER_TAG", "value": "2.9@" + digest},
		map[string]any{"name": "WORKER_REPOSITORY", "value": "registry.example.com/worker"},
		map[string]any{"name": "AIRFLOW_VAR_JOB", "value": "job:1@" + digest},
	}
	if diff := cmp.Diff(want, containers[0].(map[string]any)["env"]); diff != "" {
		t.Error(diff)
	}
}

func TestRepositoryAmongItems(t *testing.T) {
	obj := object(`
apiVersion: example.com/v1
kind: Training
metadata: {name: x, annotations: {syncer.dev/images: 'spec.images[*],spec.worker_repository,spec.other_repository'}}
spec: {images: ["a:1", "b:1"], worker_repository: c, worker_tag: "2", other_repository: "d:1", other_tag: 7}
`)
	refs, err := Find(manifest.Set{obj}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Tags(refs), []string{"a:1", "b:1", "c:2", "d:1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Pinning changes the references and nothing else: cutting the digests out again gives the text back, and a reader of
// YAML finds every value as it was.
func FuzzPinningChangesReferencesOnly(f *testing.F) {
	for _, text := range []string{
		"image: web:1\n", "a: {image: 'web:1', b: \"ü\"}\r\nimage: web\n", "image: &a web:1\nb: {image: *a}\n---\nimage: b:1",
		"image: \"web:\\\n  1\"\n", "a: |\n  image: x:1\nimage: y:1 # z\n", "\ufeff? image\n: web:1\n", "{\"image\":\"a:1\"}", "a: 'x\u2028'\rimage: web:1\n",
		"image: web:1\n---\n[", "- image: a\n- {image: a:1, x: [{image: !!str a:2}]}\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "@sha256") || strings.Contains(text, ":latest") {
			return // what pinning adds must not be there before
		}
		obj := configMap(text)
		refs, err := Find(manifest.Set{obj}, nil)
		if err != nil {
			return
		}
		resolved := map[string]Resolved{}
		for _, tag := range Tags(refs) {
			resolved[tag] = Resolved{Digest: digest}
		}
		set, err := Pin(manifest.Set{obj}, nil, resolved)
		if err != nil {
			t.Fatal(err)
		}
		pinned := textOf(set[0])
		restored := strings.ReplaceAll(strings.ReplaceAll(pinned, "@"+digest, ""), ":latest", "")
		if restored != text {
			t.Errorf("%q became %q", text, pinned)
		}
		if n := strings.Count(pinned, digest); n != len(slices.DeleteFunc(refs, func(r Reference) bool { return r.Form != Tag })) {
			t.Errorf("%d digests in %q for %v", n, pinned, refs)
		}
		before, after := scalars(text), scalars(pinned)
		if len(before) != len(after) {
			t.Fatalf("%q has %d values, %q has %d", text, len(before), pinned, len(after))
		}
		for i := range before {
			if after[i] != before[i] && after[i] != WithTag(before[i], "")+"@"+digest {
				t.Errorf("%q became %q in %q", before[i], after[i], pinned)
			}
		}
	})
}

// scalars lists the keys and values of a YAML text, as far as it is one.
func scalars(text string) []string {
	var all []string
	var walk func(*yaml.Node)
	walk = func(node *yaml.Node) {
		all = append(all, fmt.Sprint(node.Value))
		for _, child := range node.Content {
			walk(child)
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			if err != io.EOF {
				all = append(all, "an error")
			}
			return all
		}
		walk(&doc)
	}
}
