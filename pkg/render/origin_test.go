package render

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/manifest"
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
	if _, err := Build(files, "prod"); err != nil {
		t.Fatal(err)
	}
	origins := NewOrigins(files, "prod")
	web := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data-prod", Name: "prod-web"}
	service := manifest.ID{APIVersion: "v1", Kind: "Service", Namespace: "data-prod", Name: "prod-web"}
	config := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data-prod", Name: "prod-settings-7g5hk9t2m8"}
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
		{web, "spec.template.spec.containers[name=web].args[0]", "--fast", "prod/kustomization.yaml:24"},
		{web, "spec.paused", true, "prod/kustomization.yaml:21"},
		{web, "spec.minReadySeconds", int64(7), "comp/kustomization.yaml:10"},
		{web, "metadata.labels.team", "data", "base/kustomization.yaml:11"},
		{web, `metadata.annotations["example.com/owner"]`, "data", "base/web.yaml:5"},
		{web, "spec.unknown", nil, "base/web.yaml:1"},
		{service, "spec.type", "NodePort", "prod/kustomization.yaml:30"},
		{service, "spec.ports[port=80,protocol=TCP].targetPort", "http", "base/web.yaml:30"},
		{config, "data.mode", "fast", "prod/kustomization.yaml:14"},
		{config, "data.region", "eu", "base/kustomization.yaml:5"},
		{config, `data["app.conf"]`, "x", "base/kustomization.yaml:8"},
		{config, "data.other", "y", "base/kustomization.yaml:9"},
		{config, "", nil, "prod/kustomization.yaml:11"},
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

// Every field of the examples is found at a line that says it, or at the declaration of its object.
func TestOriginsOfTheExamples(t *testing.T) {
	repository := os.DirFS("../../examples")
	overlays, err := fs.Glob(repository, "pipelines/*/overlays/*")
	if err != nil || len(overlays) == 0 {
		t.Fatalf("%d overlays, %v", len(overlays), err)
	}
	all, exact := 0, 0
	for _, overlay := range overlays {
		set, err := Build(repository, overlay)
		if err != nil {
			t.Fatal(err)
		}
		origins := NewOrigins(repository, overlay)
		for _, obj := range set {
			for _, leaf := range manifest.Leaves(obj.Object) {
				all++
				place, ok := origins.Of(manifest.IDOf(obj), leaf.Path, leaf.Value)
				if !ok {
					t.Errorf("%s: %s of %s is nowhere", overlay, leaf.Path, manifest.IDOf(obj))
					continue
				}
				data, err := fs.ReadFile(repository, place.File)
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(string(data), "\n")
				key := leaf.Path[len(leaf.Path)-1].Name
				line := lines[place.Line-1]
				if key != "" && strings.Contains(line, key) || strings.Contains(line, strings.Split(fmt.Sprint(leaf.Value), "\n")[0]) {
					exact++
				}
			}
		}
	}
	if exact*10 < all*9 {
		t.Errorf("%d of %d fields are found at a line that says them", exact, all)
	}
}

func FuzzOrigins(f *testing.F) {
	f.Add("resources: [a.yaml]\npatches: [{path: b.yaml}]\nimages: [{name: x}]", "kind: K\nmetadata: {name: n}\nspec: {a: [1, {name: x}]}", "spec.a[name=x].b")
	f.Add("configMapGenerator: [{name: n, literals: [a=b], files: [c]}]\npatchesStrategicMerge: [a.yaml, '{}']", "[{op: add, path: /spec/a/0, value: 1}]", "spec.a[0]")
	f.Fuzz(func(t *testing.T, kustomization, file, at string) {
		parsed, err := manifest.ParsePath(at)
		if err != nil {
			return
		}
		files := fstest.MapFS{
			path.Join("o", "kustomization.yaml"): &fstest.MapFile{Data: []byte(kustomization)},
			"o/a.yaml":                           &fstest.MapFile{Data: []byte(file)}, "o/b.yaml": &fstest.MapFile{Data: []byte(file)},
		}
		place, ok := NewOrigins(files, "o").Of(manifest.ID{APIVersion: "v1", Kind: "K", Name: "n"}, parsed, "x")
		if ok && (place.File == "" || place.Line < 1) {
			t.Errorf("found at %+v", place)
		}
	})
}

func BenchmarkOrigins(b *testing.B) {
	repository := os.DirFS("../../examples")
	overlays, err := fs.Glob(repository, "pipelines/*/overlays/prod")
	if err != nil || len(overlays) == 0 {
		b.Fatal("no overlays")
	}
	set, err := Build(repository, overlays[0])
	if err != nil {
		b.Fatal(err)
	}
	leaves := manifest.Leaves(set[0].Object)
	for b.Loop() {
		origins := NewOrigins(repository, overlays[0])
		for i := range 20 {
			leaf := leaves[i%len(leaves)]
			origins.Of(manifest.IDOf(set[0]), leaf.Path, leaf.Value)
		}
	}
}
