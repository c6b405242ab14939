package render

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestErrorsNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct {
		tree string
		want []string
		is   error
	}{
		"no overlay":       {"-- x/kustomization.yaml --\n", []string{"rendering o"}, ErrNoOverlay},
		"no kustomization": {"-- o/a.yaml --\n" + configMap, nil, ErrNoOverlay},
		"empty file":       {"-- o/kustomization.yaml --\n", []string{"o/kustomization.yaml"}, ErrEmpty},
		"only comments":    {"-- o/kustomization.yaml --\n# todo\n---\n# more\n", []string{"o/kustomization.yaml"}, ErrEmpty},
		"null":             {"-- o/kustomization.yaml --\nnull\n", nil, ErrEmpty},
		"empty map":        {"-- o/kustomization.yaml --\n{}\n", []string{"o/kustomization.yaml"}, ErrEmpty},
		"only a kind":      {"-- o/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", nil, ErrEmpty},
		"no resources":     {"-- o/kustomization.yaml --\nresources: []\nnamespace: x\n", nil, ErrEmpty},
		"empty resource":   {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\n# todo\n", nil, ErrEmpty},
		"empty list":       {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\napiVersion: v1\nkind: List\nitems: []\n", nil, ErrEmpty},
		"empty base":       {"-- o/kustomization.yaml --\nresources:\n- ../b\n-- b/kustomization.yaml --\n# todo\n", []string{"o/kustomization.yaml:2", "b/kustomization.yaml"}, nil},
		"everything deleted": {"-- o/kustomization.yaml --\nresources: [a.yaml]\npatches: [{patch: '{$patch: delete, apiVersion: v1, kind: ConfigMap, metadata: {name: a}}'}]\n-- o/a.yaml --\n" + configMap,
			nil, ErrEmpty},

		"component as overlay":  {"-- o/kustomization.yaml --\nkind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: [a.yaml]\n", []string{"o/kustomization.yaml is a Component"}, nil},
		"component as resource": {"-- o/kustomization.yaml --\nresources:\n- ../c\n-- c/kustomization.yaml --\nkind: Component\n", []string{"o/kustomization.yaml:2", "list it under `components:`"}, nil},
		"base as component":     {"-- o/kustomization.yaml --\ncomponents:\n- ../c\n-- c/kustomization.yaml --\nresources: [a.yaml]\n", []string{"o/kustomization.yaml:2", "list it under `resources:`"}, nil},
		"Flux's Kustomization":  {"-- o/kustomization.yaml --\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: x}\nspec: {path: ./x}\n", []string{"o/kustomization.yaml is Flux's own"}, nil},
		"Flux's as a base":      {"-- o/kustomization.yaml --\nresources:\n- ../f\n-- f/kustomization.yaml --\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n", []string{"o/kustomization.yaml:2", "f/kustomization.yaml is Flux's own"}, nil},
		"another kind of file":  {"-- o/kustomization.yaml --\napiVersion: v1\nkind: Pod\nresources: [a.yaml]\n", []string{"kind should be Kustomization"}, nil},

		"generateName":           {"-- o/kustomization.yaml --\nresources: [j.yaml]\n-- o/j.yaml --\napiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: run-\n", []string{"o/j.yaml:4: metadata.generateName"}, nil},
		"generateName in a list": {"-- o/kustomization.yaml --\nresources: [j.yaml]\n-- o/j.yaml --\napiVersion: v1\nkind: List\nitems:\n- apiVersion: batch/v1\n  kind: Job\n  metadata: {generateName: run-}\n", []string{"o/j.yaml:6: metadata.generateName"}, nil},
		"no name":                {"-- o/kustomization.yaml --\nresources: [j.yaml]\n-- o/j.yaml --\napiVersion: batch/v1\nkind: Job\n", []string{"o/j.yaml: missing metadata.name"}, nil},

		"two kustomizations":       {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/kustomization.yml --\nresources: [a.yaml]\n-- o/a.yaml --\n" + configMap, []string{"multiple kustomization files", "/o"}, nil},
		"kustomization no YAML":    {"-- o/kustomization.yaml --\nresources:\n- a\n  b: [\n", []string{"o/kustomization.yaml: not valid YAML: line 3"}, nil},
		"kustomization a list":     {"-- o/kustomization.yaml --\n- a\n", []string{"o/kustomization.yaml"}, nil},
		"unknown field":            {"-- o/kustomization.yaml --\nnamespace: x\nresorces: [a.yaml]\n", []string{`o/kustomization.yaml:2: kustomize knows no field "resorces"`}, nil},
		"wrong type":               {"-- o/kustomization.yaml --\nresources: {a: b}\n", []string{"o/kustomization.yaml", "resources"}, nil},
		"resource no YAML":         {"-- o/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [x/a.yaml]\n-- b/x/a.yaml --\na: b\n---\na: {\n", []string{"b/x/a.yaml: not valid YAML: line 3"}, nil},
		"patch no YAML":            {"-- o/kustomization.yaml --\nresources: [a.yaml]\npatches: [{path: p.yaml}]\n-- o/a.yaml --\n" + configMap + "-- o/p.yaml --\nkind: [\n", []string{"o/p.yaml: not valid YAML: line 1"}, nil},
		"resource no object":       {"-- o/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [a.txt]\n-- b/a.txt --\nhello\n", []string{"b/a.txt"}, nil},
		"resource not there":       {"-- o/kustomization.yaml --\nresources:\n- a.yaml\n", []string{"o/kustomization.yaml:2: resources: there is no file or folder o/a.yaml"}, nil},
		"base without a file":      {"-- o/kustomization.yaml --\nresources:\n- ../b\n-- b/a.yaml --\n", []string{"o/kustomization.yaml:2: resources: the folder b has no kustomization.yaml"}, nil},
		"patch not there":          {"-- o/kustomization.yaml --\nresources: [a.yaml]\npatches:\n- path: p.yaml\n-- o/a.yaml --\n" + configMap, []string{"o/kustomization.yaml:3: patches:"}, nil},
		"patch without a target":   {"-- o/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [a.yaml]\npatches: [{path: p.yaml}]\n-- b/a.yaml --\n" + configMap + "-- b/p.yaml --\n" + strings.Replace(configMap, "name: a", "name: z", 1), []string{"rendering o: b: no resource matches"}, nil},
		"generated file missing":   {"-- o/kustomization.yaml --\nconfigMapGenerator:\n- name: x\n  files: [k=f.txt]\n", []string{"o/kustomization.yaml:3", "o/f.txt"}, nil},
		"object twice":             {"-- o/kustomization.yaml --\nresources: [a.yaml, b.yaml]\n-- o/a.yaml --\n" + configMap + "-- o/b.yaml --\n" + configMap, []string{"o/b.yaml", "already registered"}, nil},
		"object in two versions":   {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n", []string{"Deployment/a stands twice"}, nil},
		"cycle":                    {"-- o/kustomization.yaml --\nresources: [../p]\n-- p/kustomization.yaml --\nresources: [../o]\n", []string{"cycle"}, nil},
		"labels that are numbers":  {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {version: 1.10}\n", []string{`ConfigMap/a: metadata.labels["version"] is 1.1, which is not text; put it in quotes`}, nil},
		"labels that are booleans": {"-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {on: true}\n", []string{`metadata.labels["on"] is true`}, nil},

		"above the repository":   {"-- o/kustomization.yaml --\nresources:\n- ../../../../etc/passwd\n", []string{"o/kustomization.yaml:2: resources: ../../../../etc/passwd leaves the repository"}, nil},
		"above, and in again":    {"-- o/kustomization.yaml --\nresources: [../../b]\n-- b/kustomization.yaml --\nresources: [a.yaml]\n-- b/a.yaml --\n" + configMap, []string{"leaves the repository"}, nil},
		"absolute file":          {"-- o/kustomization.yaml --\nconfigMapGenerator:\n- name: x\n  files: [p=/etc/passwd]\n", []string{"o/kustomization.yaml:3", "/etc/passwd is absolute"}, nil},
		"absolute patch":         {"-- o/kustomization.yaml --\nresources: [a.yaml]\npatches:\n- path: /o/a.yaml\n-- o/a.yaml --\n" + configMap, []string{"o/kustomization.yaml:3", "absolute"}, nil},
		"plugin's path far away": {"-- o/kustomization.yaml --\ngenerators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: x}\n  files: [../../../etc/passwd]\n", []string{"etc/passwd"}, nil},

		"type that contains itself":     {"-- o/kustomization.yaml --\nresources: [a.yaml]\ncrds:\n- c.json\n-- o/a.yaml --\n" + configMap + "-- o/c.json --\n" + `{"Foo": {"Schema": {"properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": {"$ref": "Spec"}}}}, "Spec": {"Schema": {"properties": {"a": {"$ref": "Spec"}}}}}` + "\n", []string{"o/kustomization.yaml:3", "Spec contains itself"}, nil},
		"definition that is itself":     {"-- o/kustomization.yaml --\nresources: [a.yaml]\nopenapi:\n  path: s.json\n-- o/a.yaml --\n" + configMap + "-- o/s.json --\n" + `{"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}}}` + "\n", []string{"o/kustomization.yaml:3", "a refers to itself"}, nil},
		"panic: patch without a target": {"-- o/kustomization.yaml --\nresources: [a.yaml]\npatchesJson6902: [{patch: '[]'}]\n-- o/a.yaml --\n" + configMap, []string{"panic in", "PatchJson6902Transformer"}, nil},
		"panic: empty crd":              {"-- o/kustomization.yaml --\nresources: [a.yaml]\ncrds: [c.json]\n-- o/a.yaml --\n" + configMap + "-- o/c.json --\n", []string{"panic in", "makeNameToApiMap"}, nil},
		"panic: schema is no schema":    {"-- o/kustomization.yaml --\nresources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: a.yaml}]\n-- o/a.yaml --\n" + configMap + "-- o/s.json --\n[]\n", []string{"panic in", "invalid schema file"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Build(tree(t, c.tree), "o")
			if err == nil {
				t.Fatalf("rendered %d objects", len(set))
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			for _, want := range append(c.want, "rendering o: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
			if _, again := Build(tree(t, c.tree), "o"); again.Error() != err.Error() {
				t.Errorf("a second build says otherwise:\n%v\n%v", err, again)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

// An overlay that makes kustomize panic, or replaces its schema, leaves the next build as it was.
func TestFailureLeavesTheNextBuildAlone(t *testing.T) {
	good := tree(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\n"+configMap)
	before := renderYAML(t, good, "o")
	_, err := Build(tree(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: a.yaml}]\n-- o/a.yaml --\n"+configMap+"-- o/s.json --\n[]\n"), "o")
	if err == nil {
		t.Error("a schema that is none was taken")
	}
	if after := renderYAML(t, good, "o"); string(after) != string(before) {
		t.Errorf("got %s", after)
	}
}

func TestOverlayIsAPathInTheRepository(t *testing.T) {
	files := tree(t, "-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n"+configMap)
	if _, err := Build(files, "."); err != nil {
		t.Errorf("the root is an overlay: %v", err)
	}
	for _, overlay := range []string{"", "..", "../x", "/o", "https://example.com/x"} {
		if _, err := Build(files, overlay); err == nil {
			t.Errorf("%q was rendered", overlay)
		}
	}
}

// Data of a ConfigMap may hold what an object may not.
func TestDataIsNotInspected(t *testing.T) {
	_, err := Build(tree(t, `
-- o/kustomization.yaml --
configMapGenerator:
- name: x
  files: [workflow.yaml]
-- o/workflow.yaml --
metadata: {generateName: run-}
spec: {{ template }}
`), "o")
	if err != nil {
		t.Error(err)
	}
}

// What kustomize's own label would say depends on the program that kustomize is part of.
func TestManagedByLabelDependsOnFilesOnly(t *testing.T) {
	out := renderYAML(t, tree(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\nbuildMetadata: [managedByLabel]\n-- o/a.yaml --\n"+configMap), "o")
	if !strings.Contains(string(out), "app.kubernetes.io/managed-by: "+managedBy+"\n") {
		t.Errorf("got %s", out)
	}
}

func TestSecretsAreNotInErrors(t *testing.T) {
	const canary = "canary-5f1d"
	for name, text := range map[string]string{
		"inline patch":  "resources: [a.yaml]\npatches: [{patch: 'stringData: {a: " + canary + "'}]\n",
		"bad literal":   "secretGenerator: [{name: x, literals: [" + canary + "]}]\n",
		"bad env":       "secretGenerator: [{name: x, envs: [bad.env]}]\n",
		"nameless":      "patchesStrategicMerge: ['stringData: {a: " + canary + "}']\n",
		"backtick":      "resources: [a.yaml]\npatches: [{patch: '`" + canary + "`: `: ['}]\n",
		"strategic":     "resources: [a.yaml]\npatchesStrategicMerge: ['stringData: {a: " + canary + "']\n",
		"replacement":   "resources: [a.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.a}, targets: [{select: {kind: Secret}, fieldPaths: [stringData.a.x]}]}]\n",
		"a part of it":  "resources: [a.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.a, options: {delimiter: '-', index: 9}}, targets: [{select: {kind: Secret}, fieldPaths: [stringData.a]}]}]\n",
		"replace of op": "resources: [a.yaml]\npatches: [{target: {kind: Secret}, patch: '[{\"op\": \"test\", \"path\": \"/stringData/a\", \"value\": \"" + canary + "\"}]'}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Build(tree(t, "-- o/kustomization.yaml --\n"+text+
				"-- o/a.yaml --\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: "+canary+"2}\n"+
				"-- o/bad.env --\nA="+canary+"\xff\n"), "o")
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// brokenFS answers for one path with an error of its own.
type brokenFS struct {
	fs.FS
	path string
	err  error
}

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == b.path {
		if b.err == nil {
			panic("the file system is broken")
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: b.err}
	}
	return b.FS.Open(name)
}

var errLeaves = errors.New("the link leaves the repository")

func TestErrorsOfTheFileSystemSurface(t *testing.T) {
	files := tree(t, "-- o/kustomization.yaml --\nresources: [a.yaml, ../b]\ncomponents: [../c]\n-- o/a.yaml --\n"+configMap+
		"-- b/kustomization.yaml --\nresources: [b.yaml]\n-- b/b.yaml --\n"+strings.Replace(configMap, "name: a", "name: b", 1)+
		"-- c/kustomization.yaml --\nkind: Component\nnamePrefix: x-\n")
	for _, path := range []string{"o/kustomization.yaml", "o/a.yaml", "b", "b/kustomization.yaml", "b/b.yaml", "c", "c/kustomization.yaml"} {
		t.Run(path, func(t *testing.T) {
			_, err := Build(brokenFS{files, path, errLeaves}, "o")
			if err == nil || !strings.Contains(err.Error(), errLeaves.Error()) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if strings.Count(err.Error(), errLeaves.Error()) != 1 {
				t.Errorf("said more than once: %v", err)
			}
			if !errors.Is(err, errLeaves) {
				t.Errorf("the cause is lost: %#v", err)
			}
			_, err = Build(brokenFS{files, path, nil}, "o")
			if err == nil || !strings.Contains(err.Error(), "the file system is broken") {
				t.Errorf("a panic gave %v", err)
			}
		})
	}
}

func TestNothingOutsideTheRepositoryIsRead(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(root+"/secret.yaml", []byte(configMap), 0o600); err != nil {
		t.Fatal(err)
	}
	repository := root + "/repository"
	if err := os.CopyFS(repository, tree(t, "-- o/kustomization.yaml --\nresources: [../../secret.yaml]\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(os.DirFS(repository), "o"); err == nil || !strings.Contains(err.Error(), "leaves the repository") {
		t.Errorf("got %v", err)
	}
}

func TestManyObjectsKeepTheirOrder(t *testing.T) {
	files := fstest.MapFS{}
	var names, list []string
	for i := range 200 {
		name := fmt.Sprintf("c%03d", (i*37)%200)
		names = append(names, name)
		list = append(list, name+".yaml")
		files["o/"+name+".yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(configMap, "name: a", "name: "+name, 1))}
	}
	files["o/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [" + strings.Join(list, ", ") + "]\n")}
	set, err := Build(files, "o")
	if err != nil {
		t.Fatal(err)
	}
	for i, obj := range set {
		if obj.GetName() != names[i] {
			t.Fatalf("object %d is %s, declared %s", i, obj.GetName(), names[i])
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	files := load(b, shop)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(files, "o"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnchanged measures what an overlay costs that no commit changes.
func BenchmarkUnchanged(b *testing.B) {
	files := load(b, shop)
	_, reads, err := BuildReading(files, "o")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !reads.Unchanged(files) {
			b.Fatal("the same files read as other ones")
		}
	}
}
