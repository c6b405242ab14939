package render

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestNumbersWithoutQuotes(t *testing.T) {
	for content, want := range map[string]string{
		"images:\n- name: app\n  newTag: 1.10\n":                                    `o/kustomization.yaml:3: images.newTag: 1.10 without quotes is a number in YAML; quote it: "1.10"`,
		"images:\n- {name: a, newTag: v1}\n- {name: app, newTag: 20240101} # x\n":   `o/kustomization.yaml:3: images.newTag: 20240101 without quotes is a number in YAML; quote it: "20240101"`,
		"images: [{name: app, newTag: 1e3}]\n":                                      `o/kustomization.yaml:1: images.newTag: 1e3 without quotes is a number in YAML; quote it: "1e3"`,
		"images: [{name: app, newTag: true}]\n":                                     `o/kustomization.yaml:1: images.newTag: true without quotes is true or false in YAML; quote it: "true"`,
		"Images: [{name: app, NewTag: 0x10}]\n":                                     `o/kustomization.yaml:1: images.newTag: 0x10 without quotes is a number in YAML; quote it: "0x10"`,
		"images:\n- &a {name: app, newTag: 1.10}\n- *a\n":                           `o/kustomization.yaml:2: images.newTag: 1.10 without quotes is a number in YAML; quote it: "1.10"`,
		"namespace: 123\n":                                                          `o/kustomization.yaml:1: namespace: 123 without quotes is a number in YAML; quote it: "123"`,
		"commonLabels:\n  a: b\n  version: 1.10\n":                                  `o/kustomization.yaml:3: commonLabels: 1.10 without quotes is a number in YAML; quote it: "1.10"`,
		"labels:\n- pairs:\n    version: 2\n":                                       `o/kustomization.yaml:3: labels.pairs: 2 without quotes is a number in YAML; quote it: "2"`,
		"configMapGenerator:\n- name: x\n  literals:\n  - a=b\n  - 1\n":             `o/kustomization.yaml:5: configMapGenerator.literals: 1 without quotes is a number in YAML; quote it: "1"`,
		"secretGenerator:\n- name: x\n  literals:\n  - 4711\n":                      `o/kustomization.yaml:4: secretGenerator.literals: a value without quotes is a number in YAML; quote it`,
		"x: &t {newTag: 1.10}\n":                                                    `o/kustomization.yaml:1: kustomize knows no field "x"`,
		"images:\n- name: app\n  newTag: v1\nreplicas:\n- {name: w, count: many}\n": `o/kustomization.yaml: cannot unmarshal string into Go struct field Replica.replicas.count of type int64`,
	} {
		files := fstest.MapFS{"o/kustomization.yaml": {Data: []byte(content)}}
		r := &repository{files: files}
		err := r.inspect("o/kustomization.yaml", []byte(content))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", content, err, want)
		}
	}
}

// kustomize takes a number for the tag of an image when it is a transformer of its own, and deploys another one.
func TestTagsOfTransformers(t *testing.T) {
	for transformer, want := range map[string]string{
		"t.yaml": `o/kustomization.yaml:2: transformers: o/t.yaml:4: imageTag.newTag: 1.10 without quotes is a number in YAML; quote it: "1.10"`,
		`"{apiVersion: builtin, kind: ImageTagTransformer, metadata: {name: x}, imageTag: {name: app, newTag: 1e3}}"`:    `newTag: 1e3 without quotes is a number`,
		`"{apiVersion: builtin, kind: ImageTagTransformer, metadata: {name: x}, imageTag: {name: app, newTag: '1.10'}}"`: "",
	} {
		files := fstest.MapFS{
			"o/kustomization.yaml": {Data: []byte("resources: [a.yaml]\ntransformers: [" + transformer + "]\n")},
			"o/a.yaml":             {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: app:1}]}\n")},
			"o/t.yaml":             {Data: []byte("apiVersion: builtin\nkind: ImageTagTransformer\nmetadata: {name: x}\nimageTag: {name: app, newTag: 1.10}\n")},
		}
		if _, err := Build(files, "o"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", transformer, err, want)
		}
	}
}

// A file's name reaches no terminal as it is.
func TestNamesWithControlCharacters(t *testing.T) {
	const name = "a\x1b[31m\nb.yaml"
	files := fstest.MapFS{
		"o/kustomization.yaml": {Data: []byte(`resources: ["a\e[31m\nb.yaml"]`)},
		"o/" + name:            {Data: []byte("x: [")},
	}
	_, err := Build(files, "o")
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || !strings.Contains(err.Error(), `a\x1b[31m\nb.yaml`) {
		t.Errorf("got %v", err)
	}
}

func TestKeyThatIsNoText(t *testing.T) {
	t.Parallel()
	files := load(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\n-- o/a.yaml --\napiVersion: example.com/v1\nkind: T\nmetadata: {name: t}\nspec: {2024-01-02: x}\n")
	if _, err := Build(files, "o"); err == nil || !strings.Contains(err.Error(), "put the key in quotes") {
		t.Errorf("%v, want advice to quote the key", err)
	}
}
