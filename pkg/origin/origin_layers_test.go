package origin

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

// The search finds the line that sets a field in every layer; it does not find a line that only looks like it.
func TestOriginsOfLayers(t *testing.T) {
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: w\nspec:\n  replicas: 1\n  template:\n    metadata:\n      labels: {team: own}\n    spec:\n      containers:\n      - name: a\n        image: a:v1\n        securityContext: {runAsUser: 10}\n      - name: b\n        image: b:v1\n        securityContext: {runAsUser: 20}\n"
	id := func(api, kind, namespace, name string) manifest.ID {
		return manifest.ID{APIVersion: api, Kind: kind, Namespace: namespace, Name: name}
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		id    manifest.ID
		path  string
		value any
		want  string
	}{
		{"labels without includeTemplates do not set template labels", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nlabels:\n- pairs: {team: other}\n", "o/d.yaml": deployment},
			id("apps/v1", "Deployment", "", "w"), "spec.template.metadata.labels.team", "own", "o/d.yaml:9"},
		{"images do not reach a custom kind", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: v2\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  image: a:v1\n"},
			id("x.io/v1", "App", "", "w"), "spec.image", "a:v1", "o/d.yaml:5"},
		{"one kind name in two groups", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: w}\nspec: {port: 1}\n", "o/b.yaml": "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: w}\nspec: {port: 2}\n"},
			id("serving.knative.dev/v1", "Service", "", "w"), "spec.port", int64(2), "o/b.yaml:4"},
		{"one name in two namespaces", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w, namespace: a}\ndata: {k: v}\n", "o/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w, namespace: b}\ndata: {k: v}\n"},
			id("v1", "ConfigMap", "b", "w"), "data.k", "v", "o/b.yaml:4"},
		{"JSON patch of another list item", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: replace\n      path: /spec/template/spec/containers/1/securityContext/runAsUser\n      value: 99\n", "o/d.yaml": deployment},
			id("apps/v1", "Deployment", "", "w"), "spec.template.spec.containers[name=a].securityContext.runAsUser", int64(10), "o/d.yaml:14"},
		{"one base under two prefixes", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\n", "b/d.yaml": deployment,
			"x/kustomization.yaml": "resources: [../b]\nnamePrefix: x-\npatches:\n- path: p.yaml\n", "x/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  replicas: 3\n",
			"y/kustomization.yaml": "resources: [../b]\nnamePrefix: y-\npatches:\n- path: p.yaml\n", "y/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n\n  replicas: 4\n",
			"o/kustomization.yaml": "resources: [../x, ../y]\n"},
			id("apps/v1", "Deployment", "", "x-w"), "spec.replicas", int64(3), "x/p.yaml:5"},
		{"key of a base's literal, envs in the overlay", map[string]string{
			"b/kustomization.yaml": "configMapGenerator:\n- name: s\n  literals:\n  - k=v\n", "o/e.env": "OTHER=1\n",
			"o/kustomization.yaml": "resources: [../b]\ngeneratorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: s\n  behavior: merge\n  envs: [e.env]\n"},
			id("v1", "ConfigMap", "", "s"), "data.k", "v", "b/kustomization.yaml:4"},
		{"key of an env file", map[string]string{
			"o/e.env":              "# c\nOTHER=1\n",
			"o/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: s\n  envs: [e.env]\n"},
			id("v1", "ConfigMap", "", "s"), "data.OTHER", "1", "o/e.env:2"},
		{"patch by label selector", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches:\n- target: {labelSelector: app=w}\n  patch: |-\n    - op: replace\n      path: /spec/replicas\n      value: 7\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: w\n  labels: {app: w}\nspec:\n  replicas: 1\n"},
			id("apps/v1", "Deployment", "", "w"), "spec.replicas", int64(7), "o/kustomization.yaml:7"},
		{"replacement sets a number", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml, c.yaml]\nreplacements:\n- source: {kind: ConfigMap, name: c, fieldPath: data.n}\n  targets:\n  - select: {kind: Deployment}\n    fieldPaths: [spec.replicas]\n", "o/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {n: \"9\"}\n", "o/d.yaml": deployment},
			id("apps/v1", "Deployment", "", "w"), "spec.replicas", int64(9), "o/kustomization.yaml:6"},
		{"namespace", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nnamespace: prod\n", "o/d.yaml": deployment},
			id("apps/v1", "Deployment", "prod", "w"), "metadata.namespace", "prod", "o/kustomization.yaml:2"},
		{"patch above the images of a base", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: v5\n", "b/d.yaml": deployment,
			"o/kustomization.yaml": "resources: [../b]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: replace\n      path: /spec/template/spec/containers/0/image\n      value: a:v6\n"},
			id("apps/v1", "Deployment", "", "w"), "spec.template.spec.containers[name=a].image", "a:v6@sha256:00", "o/kustomization.yaml:7"},
		{"patch on one line", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches:\n- patch: \"apiVersion: apps/v1\\nkind: Deployment\\nmetadata: {name: w}\\nspec:\\n  replicas: 6\\n\"\n", "o/d.yaml": deployment},
			id("apps/v1", "Deployment", "", "w"), "spec.replicas", int64(6), "o/kustomization.yaml:3"},
		{"alias", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  a: &n five\n  b: *n\n"},
			id("x.io/v1", "App", "", "w"), `spec.b`, "five", "o/d.yaml:6"},
		{"merge key", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nbase: &b\n  p: 1\n  q: 2\nspec:\n  <<: *b\n  q: 3\n"},
			id("x.io/v1", "App", "", "w"), `spec.p`, int64(1), "o/d.yaml:5"},
		{"own key above a merged one", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nbase: &b\n  p: 1\n  q: 2\nspec:\n  <<: *b\n  q: 3\n"},
			id("x.io/v1", "App", "", "w"), `spec.q`, int64(3), "o/d.yaml:9"},
		{"quoted key", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata:\n  'a.b/c': x\n"},
			id("v1", "ConfigMap", "", "w"), `data["a.b/c"]`, "x", "o/d.yaml:5"},
		{"JSON file", map[string]string{
			"o/kustomization.yaml": "resources: [d.json]\n", "o/d.json": "{\n \"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n \"metadata\": {\"name\": \"w\"},\n \"data\": {\n  \"k\": \"v\"\n }\n}\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "v", "o/d.json:5"},
		{"second document", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "# one\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n---\n# two\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata: {k: v}\n"},
			id("v1", "ConfigMap", "", "w"), ``, nil, "o/d.yaml:8"},
		{"List", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: w}\n  data:\n    k: v\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "v", "o/d.yaml:8"},
		{"newName alone", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newName: mirror/a\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: a:v1\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.template.spec.containers[name=a].image`, "mirror/a:v1@sha256:00", "o/kustomization.yaml:4"},
		{"digest", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: v2\n  digest: sha256:11\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: a:v1\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.template.spec.containers[name=a].image`, "a:v2@sha256:11", "o/kustomization.yaml:5"},
		{"same tag in base and overlay", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: v2\n", "b/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: a:v1\n", "o/kustomization.yaml": "resources: [../b]\nimages:\n- {name: a, newTag: v2}\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.template.spec.containers[name=a].image`, nil, "o/kustomization.yaml:3"},
		{"same count in base and overlay", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nreplicas:\n- name: w\n  count: 2\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  replicas: 2\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.replicas`, int64(2), "o/kustomization.yaml:4"},
		{"same value in a patch", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "o/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n\n  replicas: 2\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  replicas: 2\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.replicas`, int64(2), "o/p.yaml:6"},
		{"patch that replaces a map", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "o/p.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  $patch: replace\n  q: 9\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  p: 1\n  q: 2\n"},
			id("x.io/v1", "App", "", "w"), `spec.q`, int64(9), "o/p.yaml:6"},
		{"map of two layers", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "o/p.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  q: 9\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  p: 1\n  q: 2\n"},
			id("x.io/v1", "App", "", "w"), `spec`, map[string]any{"p": int64(1), "q": int64(9), "r": "default"}, "o/d.yaml:4"},
		{"list that is replaced", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "o/p.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  args:\n  - x\n  - b\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  args:\n  - a\n  - b\n"},
			id("x.io/v1", "App", "", "w"), `spec.args[1]`, "b", "o/p.yaml:7"},
		{"list that is added to", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches:\n- target: {kind: App}\n  patch: |\n    - {op: test, path: /spec/args/0, value: a}\n    - op: add\n      path: /spec/args/-\n      value: c\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  args:\n  - a\n  - b\n"},
			id("x.io/v1", "App", "", "w"), `spec.args[2]`, "c", "o/kustomization.yaml:8"},
		{"item beside one that was added", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatches:\n- target: {kind: App}\n  patch: |\n    - op: add\n      path: /spec/args/0\n      value: c\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  args:\n  - a\n  - b\n"},
			id("x.io/v1", "App", "", "w"), `spec.args[1]`, "a", "o/d.yaml:6"},
		{"list of maps that is merged", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatchesStrategicMerge: [p.yaml]\n", "o/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        imagePullPolicy: Always\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: a\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.template.spec.containers[name=a].imagePullPolicy`, "Always", "o/p.yaml:9"},
		{"copy", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\npatchesJson6902:\n- target: {group: x.io, version: v1, kind: App, name: w}\n  patch: |\n    - op: copy\n      from: /spec/p\n      path: /spec/q\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  p: 1\n  q: 1\n"},
			id("x.io/v1", "App", "", "w"), `spec.q`, int64(1), "o/kustomization.yaml:5"},
		{"replacement in a file", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\nreplacements: [{path: r.yaml}]\n", "o/r.yaml": "- source: {kind: App, fieldPath: spec.p}\n  targets:\n  - select: {kind: App}\n    fieldPaths:\n    - spec.[q.r]\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  p: a\n  q.r: a\n"},
			id("x.io/v1", "App", "", "w"), `spec["q.r"]`, "a", "o/r.yaml:5"},
		{"namespace of the base", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\nnamespace: ns\n", "b/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\n", "o/kustomization.yaml": "resources: [../b]\n"},
			id("apps/v1", "Deployment", "ns", "w"), `metadata.namespace`, "ns", "b/kustomization.yaml:2"},
		{"namespace of the object", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: w\n  namespace: ns\n"},
			id("v1", "ConfigMap", "ns", "w"), `metadata.namespace`, "ns", "o/d.yaml:5"},
		{"prefix and suffix", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\nnamePrefix: p-\n", "b/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  p: 1\n", "o/kustomization.yaml": "resources: [../b]\nnameSuffix: -s\n"},
			id("x.io/v1", "App", "", "p-w-s"), `spec.p`, int64(1), "b/d.yaml:5"},
		{"secret of variables", map[string]string{
			"o/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nsecretGenerator:\n- name: w\n  envs: [e.env]\n", "o/e.env": "A=1\n  B=2\n"},
			id("v1", "Secret", "", "w"), `data.B`, "(masked 1a2b)", "o/e.env:2"},
		{"file that is no text", map[string]string{
			"o/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: w\n  files: [k=f]\n", "o/f": "\xff\xfe"},
			id("v1", "ConfigMap", "", "w"), `binaryData.k`, nil, "o/f:1"},
		{"literal in quotes", map[string]string{
			"o/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: w\n  literals:\n  - k='a=b'\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "a=b", "o/kustomization.yaml:5"},
		{"label of the generator", map[string]string{
			"o/kustomization.yaml": "generatorOptions:\n  disableNameSuffixHash: true\n  labels:\n    team: t\nconfigMapGenerator:\n- name: w\n  literals: [k=v]\n"},
			id("v1", "ConfigMap", "", "w"), `metadata.labels.team`, "t", "o/kustomization.yaml:4"},
		{"patch of a generated object", map[string]string{
			"o/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: w\n  literals: [k=v]\npatches: [{path: p.yaml}]\n", "o/p.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata:\n  k: x\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "x", "o/p.yaml:5"},
		{"declared map that a generator merges", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\n", "b/d.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata:\n  k: v\n  l: v\n", "o/kustomization.yaml": "resources: [../b]\ngeneratorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: w\n  behavior: merge\n  literals: [l=x]\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "v", "b/d.yaml:5"},
		{"declaration that a generator merges", map[string]string{
			"b/kustomization.yaml": "resources: [d.yaml]\n", "b/d.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata:\n  k: v\n  l: v\n", "o/kustomization.yaml": "resources: [../b]\ngeneratorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: w\n  behavior: merge\n  literals: [l=x]\n"},
			id("v1", "ConfigMap", "", "w"), ``, nil, "b/d.yaml:1"},
		{"name of another object", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml, c.yaml]\nnamePrefix: p-\n", "o/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", "o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        envFrom:\n        - configMapRef:\n            name: c\n"},
			id("apps/v1", "Deployment", "", "p-w"), `spec.template.spec.containers[name=a].envFrom[0].configMapRef.name`, "p-c", "o/d.yaml:11"},
		{"what git does not say", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  replicas: 2\n"},
			id("apps/v1", "Deployment", "", "w"), `spec.replicas`, int64(3), "o/d.yaml:2"},
		{"quantity as the API server writes it", map[string]string{
			"o/kustomization.yaml": "resources: [d.yaml]\n", "o/d.yaml": "apiVersion: x.io/v1\nkind: App\nmetadata: {name: w}\nspec:\n  cpu: 0.5\n"},
			id("x.io/v1", "App", "", "w"), `spec.cpu`, "500m", "o/d.yaml:5"},
		{"object of a plugin", map[string]string{
			"o/kustomization.yaml": "generators: [g.yaml]\n", "o/g.yaml": "# made\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: w}\nname: w\noptions: {disableNameSuffixHash: true}\nliterals: [k=v]\n"},
			id("v1", "ConfigMap", "", "w"), `data.k`, "v", "o/g.yaml:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{}
			for name, text := range c.files {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if _, err := render.Build(files, "o"); err != nil {
				t.Fatal(err)
			}
			got := "not found"
			if place, ok := New(files, "o").Of(c.id, fields(t, c.path), c.value); ok {
				got = fmt.Sprintf("%s:%d", place.File, place.Line)
			}
			if got != c.want {
				t.Errorf("%s of %s: %s, want %s", c.path, c.id, got, c.want)
			}
		})
	}
}
