package renderers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n"

func overlay(kustomization string, more ...string) map[string]string {
	files := map[string]string{"o/kustomization.yaml": kustomization, "o/a.yaml": settings}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

func bases() map[string]string {
	files := map[string]string{"o/kustomization.yaml": "resources: [../b0]\n", "b14/kustomization.yaml": "resources: [a.yaml]\n", "b14/a.yaml": settings}
	for i := range 14 {
		files[fmt.Sprintf("b%d/kustomization.yaml", i)] = "resources: [l, r]\n"
		for _, side := range []string{"l", "r"} {
			files[fmt.Sprintf("b%d/%s/kustomization.yaml", i, side)] = fmt.Sprintf("resources: [../../b%d]\nnamePrefix: %s\n", i+1, side)
		}
	}
	return files
}

func doubling() map[string]string {
	k := "resources: [a.yaml]\nreplacements:\n"
	for range 60 {
		k += "- source: {kind: ConfigMap, name: a, fieldPath: data.a}\n  targets:\n  - select: {kind: ConfigMap, name: a}\n    fieldPaths: [data.a]\n    options: {delimiter: x, index: 99}\n"
	}
	return overlay(k)
}

func generated() map[string]string {
	files, names := overlay(""), []string{}
	for i := range 9 {
		name := fmt.Sprintf("f%d", i)
		files["o/"+name], names = strings.Repeat("x", 12<<20), append(names, name)
	}
	files["o/kustomization.yaml"] = "configMapGenerator: [{name: a, files: [" + strings.Join(names, ", ") + "]}]\n"
	return files
}

func operations(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`{"op": "add", "path": "/data/x", "value": "y"},`, n), ",") + "]"
}

// Each of these inputs fails or succeeds alone, within the time and the memory of a build.
func TestNastyOverlaysFailAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	const most = 2 * time.Second
	p := newPool(t, Options{Workers: 1, Limits: Limits{Time: most}})
	schema := `{"definitions": {"a": {"properties": {"b": {"$ref": "#/definitions/b"}}, "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "ConfigMap"}]}, "b": {"properties": {"a": {"$ref": "#/definitions/a"}}}}}`
	for name, c := range map[string]struct {
		files map[string]string
		want  string // part of the error; "": it renders
	}{
		"a component that lists itself": {overlay("resources: [a.yaml]\ncomponents: [../c]\n", "c/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncomponents: [../c]\n"), "cycle"},
		"100,000 empty documents":       {overlay("resources: [a.yaml, b.yaml]\n", "o/b.yaml", strings.Repeat("---\n", 100_000)), ""},
		"a name of 1 MB":                {overlay("resources: [b.yaml]\n", "o/b.yaml", strings.Replace(settings, "name: a", "name: "+strings.Repeat("x", 1<<20), 1)), ""},
		"a value of 15 MB":              {overlay("resources: [b.yaml]\n", "o/b.yaml", settings[:len(settings)-len("{a: b}\n")]+"{a: "+strings.Repeat("x", 15<<20)+"}\n"), "render."},
		"2^14 bases":                    {bases(), "render."},
		"values that double":            {doubling(), ""},
		"large generated files":         {generated(), "render."},
		"a schema in a circle":          {overlay("resources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: p.yaml}]\n", "o/s.json", schema, "o/p.yaml", settings), ""},
		"100,000 operations":            {overlay("resources: [a.yaml]\npatches: [{target: {kind: ConfigMap}, path: p.json}]\n", "o/p.json", operations(100_000)), ""},
		"200,000 objects":               {overlay("resources: [b.yaml]\n", "o/b.yaml", strings.Repeat("---\n"+settings, 200_000)), ""},
		"20,000 objects with names":     {overlay("resources: [b.yaml]\n", "o/b.yaml", named(20_000)), "render."},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			built := p.Build(t.Context(), repository(c.files), "o")
			took := time.Since(began)
			if c.want != "" && (built.Err == nil || !strings.Contains(built.Err.Error(), c.want)) {
				t.Errorf("got %v, want %s", built.Err, c.want)
			}
			if took > 15*most {
				t.Errorf("it took %s", took)
			}
			if text := fmt.Sprint(built.Err); len(text) > 4<<10 {
				t.Errorf("an error of %d bytes", len(text))
			}
			if next := p.Build(t.Context(), healthy, "o"); next.Err != nil {
				t.Errorf("the next build: %v", next.Err)
			}
			p.failures.forget("o", repository(c.files))
			p.setSlow("o", false)
		})
	}
}

func named(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.Replace("---\n"+settings, "name: a", fmt.Sprint("name: a", i), 1))
	}
	return text.String()
}
