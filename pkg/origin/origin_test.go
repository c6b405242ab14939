package origin

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

func fields(t testing.TB, text string) manifest.Path {
	t.Helper()
	if text == "" {
		return nil
	}
	at, err := manifest.ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestOrigins(t *testing.T) {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"base/kustomization.yaml": `resources: [web.yaml, list.yaml, login.yaml]
configMapGenerator:
- name: settings
  literals:
  - region=eu
  - mode=slow
  files:
  - app.conf
  - other=long/name.conf
commonLabels:
  team: data
`,
		"base/app.conf": "x", "base/long/name.conf": "y",
		"base/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {"example.com/owner": data}
spec:
  replicas: 1
  paused: false
  template:
    spec:
      containers:
      - name: side
        image: side:v1
      - name: web
        image: web:v1
        env:
        - {name: A, value: a}
        - name: B
          value: b
        ports:
        - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
    targetPort: http
`,
		"base/login.yaml":         "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData:\n  password: x\n",
		"base/list.yaml":          "apiVersion: v1\nkind: ConfigMapList\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: listed}\n  data:\n    a: b\n",
		"comp/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: Deployment}\n  patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: any}\n    spec:\n      minReadySeconds: 7\n",
		"prod/kustomization.yaml": `resources: [../base]
components: [../comp]
namePrefix: prod-
namespace: data-prod
images:
- name: web
  newTag: v2
replicas:
- {name: web, count: 5}
configMapGenerator:
- name: settings
  behavior: merge
  literals:
  - mode=fast
patches:
- path: env.yaml
- target: {kind: Deployment, name: web}
  patch: |-
    - op: replace
      path: /spec/paused
      value: true
    - op: add
      path: /spec/template/spec/containers/1/args
      value: [--fast]
- patch: |-
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: NodePort
`,
		"prod/env.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        env:\n        - {name: B, value: patched}\n        - {name: C, value: c}\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	set, err := render.Build(files, "prod")
	if err != nil {
		t.Fatal(err)
	}
	origins := New(files, "prod")
	web := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data-prod", Name: "prod-web"}
	service := manifest.ID{APIVersion: "v1", Kind: "Service", Namespace: "data-prod", Name: "prod-web"}
	var config manifest.ID // whose name ends in a hash
	for _, obj := range set {
		if strings.HasPrefix(obj.GetName(), "prod-settings-") {
			config = manifest.IDOf(obj)
		}
	}
	listed := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data-prod", Name: "prod-listed"}
	for _, c := range []struct {
		id    manifest.ID
		path  string
		value any
		want  string
	}{
		{web, "", nil, "base/web.yaml:1"},
		{service, "", nil, "base/web.yaml:23"},
		{web, "spec.replicas", int64(5), "prod/kustomization.yaml:9"},
		{web, "spec.template.spec.containers[name=web].image", "web:v2@sha256:abc", "prod/kustomization.yaml:7"},
		{web, "spec.template.spec.containers[name=side].image", "side:v1@sha256:abc", "base/web.yaml:13"},
		{web, "spec.template.spec.containers[name=web].env[name=A].value", "a", "base/web.yaml:17"},
		{web, "spec.template.spec.containers[name=web].env[name=B].value", "patched", "prod/env.yaml:11"},
		{web, "spec.template.spec.containers[name=web].env[name=C]", map[string]any{"name": "C", "value": "c"}, "prod/env.yaml:12"},
		{web, "spec.template.spec.containers[name=web].ports[containerPort=80,protocol=TCP].containerPort", int64(80), "base/web.yaml:21"},
		// The patch with env put the item that it changes first, so that the operation changed the other one.
		{web, "spec.template.spec.containers[name=side].args[0]", "--fast", "prod/kustomization.yaml:24"},
		{web, "spec.paused", true, "prod/kustomization.yaml:21"},
		{web, "spec.minReadySeconds", int64(7), "comp/kustomization.yaml:10"},
		{web, "metadata.labels.team", "data", "base/kustomization.yaml:11"},
		{web, `metadata.annotations["example.com/owner"]`, "data", "base/web.yaml:5"},
		{web, "spec.unknown", nil, "base/web.yaml:1"},
		{service, "spec.type", "NodePort", "prod/kustomization.yaml:30"},
		{service, "spec.ports[port=80,protocol=TCP].targetPort", "http", "base/web.yaml:30"},
		{config, "data.mode", "fast", "prod/kustomization.yaml:14"},
		{config, "data.region", "eu", "base/kustomization.yaml:5"},
		{config, `data["app.conf"]`, "x", "base/app.conf:1"},
		{config, "data.other", "y", "base/long/name.conf:1"},
		{config, "", nil, "base/kustomization.yaml:3"},
		{listed, "data.a", "b", "base/list.yaml:8"},
		{manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: "data-prod", Name: "prod-login"}, "data.password", "(masked 1a2b)", "base/login.yaml:5"},
		{manifest.ID{APIVersion: "v1", Kind: "Secret", Name: "prod-web"}, "data.a", nil, "not found"},
	} {
		got := "not found"
		if place, ok := origins.Of(c.id, fields(t, c.path), c.value); ok {
			got = fmt.Sprintf("%s:%d", place.File, place.Line)
		}
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.id, c.path, got, c.want)
		}
	}
}

// Every field of the examples is found, and nearly all at a line that says it. The others are at the declaration of
// their object.
func TestOriginsOfTheExamples(t *testing.T) {
	repository := os.DirFS(examples)
	all, exact := 0, 0
	for _, overlay := range exampleOverlays(t) {
		set, err := render.Build(repository, overlay)
		if err != nil {
			t.Fatal(err)
		}
		origins := New(repository, overlay)
		for _, obj := range set {
			id := manifest.IDOf(obj)
			declared, ok := origins.Of(id, nil, nil)
			if !ok {
				t.Errorf("%s: %s is declared nowhere", overlay, id)
			}
			for _, leaf := range manifest.Leaves(obj.Object) {
				all++
				place, ok := origins.Of(id, leaf.Path, leaf.Value)
				switch {
				case !ok:
					t.Errorf("%s: %s of %s is nowhere", overlay, leaf.Path, id)
				case says(t, repository, place, leaf):
					exact++
				case place != declared:
					t.Errorf("%s: %s of %s is said to be at %s:%d, which does not say it", overlay, leaf.Path, id, place.File, place.Line)
				}
			}
		}
	}
	t.Logf("%d of %d fields are found at a line that says them", exact, all)
	if exact*100 < all*99 {
		t.Errorf("%d of %d fields are found at a line that says them", exact, all)
	}
}

// says reports whether a line has the key of a field, or a part of its value; the first line of a file that is a value
// counts.
func says(t *testing.T, files fs.FS, place Place, leaf manifest.Field) bool {
	t.Helper()
	data, err := fs.ReadFile(files, place.File)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Split(string(data), "\n")[place.Line-1]
	value := strings.Split(fmt.Sprint(leaf.Value), "\n")[0]
	if tag := value[strings.LastIndex(value, ":")+1:]; strings.Contains(line, "newTag") && strings.Contains(line, tag) {
		return true
	}
	key := leaf.Path[len(leaf.Path)-1].Name
	return key != "" && strings.Contains(line, key) || strings.Contains(line, value)
}

// An edit proves a place: the field has to change.
func TestEditingAnOriginChangesTheField(t *testing.T) {
	repository := os.DirFS(examples)
	edits := 0
	for _, overlay := range []string{"pipelines/api-ingest/overlays/staging", "pipelines/team-quotas/overlays/prod"} {
		set, err := render.Build(repository, overlay)
		if err != nil {
			t.Fatal(err)
		}
		origins := New(repository, overlay)
		tried := map[Place]bool{}
		for i, obj := range set {
			for _, leaf := range manifest.Leaves(obj.Object) {
				place, ok := origins.Of(manifest.IDOf(obj), leaf.Path, leaf.Value)
				if !ok || tried[place] || leaf.Path[len(leaf.Path)-1].Name == "name" {
					continue // another name makes another item of a list
				}
				tried[place] = true
				edited, ok := edit(t, repository, place, leaf.Value)
				if !ok {
					continue
				}
				after, err := render.Build(edited, overlay)
				if err != nil || len(after) != len(set) {
					continue // an edit of a name that others refer to
				}
				edits++
				found := manifest.Find(after[i].Object, leaf.Path)
				if len(found) == 1 && cmp.Equal(found[0].Value, leaf.Value) {
					t.Errorf("%s: %s of %s does not follow %s:%d", overlay, leaf.Path, manifest.IDOf(obj), place.File, place.Line)
				}
			}
		}
	}
	if t.Logf("%d edits", edits); edits < 40 {
		t.Errorf("only %d edits were possible", edits)
	}
}

// edit changes a scalar in a line of a file.
func edit(t *testing.T, files fs.FS, place Place, value any) (fs.FS, bool) {
	t.Helper()
	data, err := fs.ReadFile(files, place.File)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	before, instead := fmt.Sprint(value), "1"
	switch value := value.(type) {
	case string:
		if instead = value + "x"; strings.Contains(value, "\n") || value == "" {
			return nil, false
		}
	case int64:
		instead = fmt.Sprint(value + 1)
	case bool:
		instead = fmt.Sprint(!value)
	default:
		return nil, false
	}
	line := lines[place.Line-1]
	at := strings.Index(line, before)
	if strings.Count(line, before) != 1 {
		return nil, false
	}
	lines[place.Line-1] = line[:at] + instead + line[at+len(before):]
	return rewritten{files, map[string][]byte{place.File: []byte(strings.Join(lines, "\n"))}}, true
}

const examples = "../../examples"

func exampleOverlays(t *testing.T) []string {
	t.Helper()
	overlays, err := fs.Glob(os.DirFS(examples), "pipelines/*/overlays/*")
	if err != nil || len(overlays) == 0 {
		t.Fatalf("%s: %d overlays, %v", examples, len(overlays), err)
	}
	return overlays
}

func FuzzOrigins(f *testing.F) {
	f.Add("resources: [a.yaml]\npatches: [{path: b.yaml}]\nimages: [{name: x}]", "kind: K\nmetadata: {name: n}\nspec: {a: [1, {name: x}]}", "spec.a[name=x].b")
	f.Add("configMapGenerator: [{name: n, literals: [a=b], files: [c]}]\npatchesStrategicMerge: [a.yaml, '{}']", "[{op: add, path: /spec/a/0, value: 1}]", "spec.a[0]")
	object := "apiVersion: v1\nkind: K\nmetadata: {name: n}\nspec: &s {a: [x, {name: x, b: 1}], c: 1}\nmore: {<<: *s}\n"
	f.Add("resources: [a.yaml]\npatches: [{target: {kind: K}, patch: '[{op: add, path: /spec/a/-, value: x}]'}]\nlabels: [{pairs: {a: b}}]", object, "spec.a[name=x].b")
	f.Add("resources: [a.yaml]\nnamespace: x\nreplacements: [{sourceValue: x, targets: [{select: {kind: K}, fieldPaths: [spec.c]}]}]", object, "spec.c")
	// An overlay with fields that only marks should have.
	f.Add("resources: [a.yaml]", object+"c-syncer-place: '1'\nc: x\nl: [x]\nl-syncer-place: '2'\nl-syncer-place-3: .\nsyncer-place-1: .\n", "l[0]")
	f.Fuzz(func(t *testing.T, kustomization, file, at string) {
		parsed, err := manifest.ParsePath(at)
		if err != nil {
			return
		}
		files := fstest.MapFS{
			path.Join("o", "kustomization.yaml"): &fstest.MapFile{Data: []byte(kustomization)},
			"o/a.yaml":                           &fstest.MapFile{Data: []byte(file)}, "o/b.yaml": &fstest.MapFile{Data: []byte(file)},
		}
		place, ok := New(files, "o").Of(manifest.ID{APIVersion: "v1", Kind: "K", Name: "n"}, parsed, "x")
		if ok && (place.File == "" || place.Line < 1) {
			t.Errorf("found at %+v", place)
		}
	})
}

// fifty is an overlay of fifty Deployments, with a patch for each.
func fifty() fs.FS {
	files := fstest.MapFS{}
	base, overlay := "resources:\n", "resources: [../base]\nnamespace: prod\nimages: [{name: registry.example.com/app, newTag: v2}]\npatches:\n"
	for i := range 50 {
		name := fmt.Sprintf("app-%d", i)
		base += "- " + name + ".yaml\n"
		overlay += "- path: " + name + ".yaml\n"
		head := "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: " + name + "\nspec:\n"
		containers := "  template:\n    spec:\n      containers:\n      - name: app\n"
		files["base/"+name+".yaml"] = &fstest.MapFile{Data: []byte(head + "  replicas: 1\n" + containers + "        image: registry.example.com/app:v1\n        env:\n        - {name: A, value: a}\n        - {name: B, value: b}\n")}
		files["prod/"+name+".yaml"] = &fstest.MapFile{Data: []byte(head + "  replicas: 3\n" + containers + "        env:\n        - {name: B, value: c}\n")}
	}
	files["base/kustomization.yaml"] = &fstest.MapFile{Data: []byte(base)}
	files["prod/kustomization.yaml"] = &fstest.MapFile{Data: []byte(overlay)}
	return files
}

func BenchmarkBuild(b *testing.B) {
	files := fifty()
	for b.Loop() {
		if _, err := render.Build(files, "prod"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewOrigins(b *testing.B) {
	files := fifty()
	for b.Loop() {
		New(files, "prod")
	}
}

func BenchmarkTwentyFields(b *testing.B) {
	origins := New(fifty(), "prod")
	at := fields(b, "spec.template.spec.containers[name=app].env[name=B].value")
	for b.Loop() {
		for i := range 20 {
			id := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "prod", Name: fmt.Sprintf("app-%d", i)}
			if place, ok := origins.Of(id, at, "c"); !ok || place.Line != 12 {
				b.Fatal(place)
			}
		}
	}
}
