package render

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func folder(files map[string]string) fs.FS {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

// laughs is a text of a few hundred bytes that stands for 9^9 values.
func laughs(indent string) string {
	text := indent + "a: &a [web, web, web, web, web, web, web, web, web]\n"
	for c := 'b'; c <= 'i'; c++ {
		text += fmt.Sprintf("%s%c: &%c [%s]\n", indent, c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	return text
}

func settings(name, data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata:\n" + data
}

const plain = "  a: b\n"

// Each of these takes the memory or the time of a build that does not look first.
func TestASmallTextThatIsLargeIsRefused(t *testing.T) {
	aliases := func(place string) string { return place + ": the aliases of the document stand for 490328964 values" }
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"aliases of a resource":              {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": settings("a", laughs("  "))}, aliases("o/a.yaml:13")},
		"aliases of a kustomization":         {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\nx:\n" + laughs("  "), "o/a.yaml": settings("a", plain)}, aliases("o/kustomization.yaml:11")},
		"aliases of a base":                  {map[string]string{"o/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: []\nx:\n" + laughs("  ")}, aliases("b/kustomization.yaml:11")},
		"aliases of a patch":                 {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]", "o/a.yaml": settings("a", plain), "o/p.yaml": settings("a", laughs("  "))}, aliases("o/p.yaml:13")},
		"aliases of an inline patch":         {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: a}\n    data:\n" + laughs("      "), "o/a.yaml": settings("a", plain)}, "o/kustomization.yaml:2: patches: line 13 of the text: the aliases"},
		"aliases of a strategic merge patch": {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\npatchesStrategicMerge:\n- |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: a}\n    data:\n" + laughs("      "), "o/a.yaml": settings("a", plain)}, "o/kustomization.yaml:2: patchesStrategicMerge: line 13 of the text: the aliases"},
		"aliases of a transformer":           {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]", "o/a.yaml": settings("a", plain), "o/t.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: a}\nlabels:\n" + laughs("  ")}, "o/t.yaml:13: the aliases"},
		"aliases of an inline generator":     {map[string]string{"o/kustomization.yaml": "generators:\n- |\n    apiVersion: builtin\n    kind: ConfigMapGenerator\n    metadata: {name: a}\n    literals:\n" + laughs("      ")}, "generators: line 13 of the text: the aliases"},
		"aliases of a schema":                {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\nopenapi: {path: s.yaml}", "o/a.yaml": settings("a", plain), "o/s.yaml": "definitions:\n" + laughs("  ")}, aliases("o/s.yaml:10")},
		"aliases of a replacement":           {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\nreplacements: [{path: r.yaml}]", "o/a.yaml": settings("a", plain), "o/r.yaml": "x:\n" + laughs("  ")}, aliases("o/r.yaml:10")},
		"a merge of merges":                  {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": settings("a", "  a: &a {<<: *a, x: b}\n")}, `o/a.yaml:5: the alias "a" stands for a value that holds it`},
		"lists in lists":                     {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": settings("a", "  a: "+deep+"\n")}, "o/a.yaml:1: maps and lists are nested too deeply in this document, and the limit is 200; if that is meant, raise render.nesting"},
		"more lists than YAML allows":        {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": settings("a", "  a: "+strings.Repeat("[", 20_000)+"\n")}, "o/a.yaml: maps and lists are nested too deeply"},
		"maps below maps":                    {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": settings("a", staircase(400))}, "o/a.yaml:1: maps and lists are nested too deeply"},
		"lists of a patch in JSON":           {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/data/x\", \"value\": " + deep + "}]'}]", "o/a.yaml": settings("a", plain)}, "patches: line 1 of the text: maps and lists are nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := Build(folder(c.files), "o")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func staircase(steps int) string {
	var text strings.Builder
	for i := range steps {
		fmt.Fprintf(&text, "%sa:\n", strings.Repeat(" ", i+2))
	}
	return text.String()
}

func TestLimitsOfABuild(t *testing.T) {
	files := folder(map[string]string{
		"o/kustomization.yaml": "resources: [a.yaml, b.yaml]\n",
		"o/a.yaml":             settings("a", "  a: "+strings.Repeat("x", 3000)+"\n"),
		"o/b.yaml":             settings("b", "  a: &a {b: c}\n  d: *a\n"),
	})
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{FileBytes: 2048}, "o/a.yaml: the file has 3063 bytes, and the limit is 2Ki; if that is meant, raise render.fileBytes"},
		{Limits{Files: 2}, "o/b.yaml: the overlay reads more than 2 files, and the limit is 2; if that is meant, raise render.files"},
		{Limits{Bytes: 3100}, "raise render.bytes"},
		{Limits{Aliases: 1}, "o/b.yaml:6: the aliases of the document stand for 2 values, and the limit is 1; if that is meant, raise render.aliases"},
		{Limits{Nesting: 1}, "raise render.nesting"},
		{Limits{Objects: 1}, "rendering o: the overlay has 2 objects, and the limit is 1; if that is meant, raise render.objects"},
		{Limits{ObjectBytes: 1024}, "ConfigMap/a: the object has 3078 bytes"},
		{Limits{SetBytes: 3100}, "raise render.setBytes"},
	} {
		_, reads, err := c.limits.BuildReading(files, "o")
		limited, ok := errors.AsType[*Limited](err)
		if !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.limits, err)
			continue
		}
		if !strings.HasPrefix(limited.Setting, "render.") || !reads.Unchanged(files) {
			t.Errorf("%+v: the build would be done again", c.limits)
		}
	}
}

// A file that a generator takes as it is may hold what it likes.
func TestDataOfAGeneratorIsNoYAML(t *testing.T) {
	files := folder(map[string]string{
		"o/kustomization.yaml": "configMapGenerator: [{name: a, files: [bomb.yaml, d=deep.json]}]\n",
		"o/bomb.yaml":          laughs(""),
		"o/deep.json":          strings.Repeat("[", 900) + strings.Repeat("]", 900),
	})
	if _, err := Build(files, "o"); err != nil {
		t.Error(err)
	}
}

func TestAnErrorIsShort(t *testing.T) {
	var text []string
	for i := range 300 {
		text = append(text, fmt.Sprintf("line %d", i))
	}
	for _, c := range []struct{ text, want string }{
		{"short", "short"},
		{strings.Join(text, "\n"), "line 0\nline 1\nand 298 more"},
		{strings.Repeat("ä", 100), strings.Repeat("ä", 10) + " … and 180 bytes more"},
	} {
		inner := fmt.Errorf("%s%w", c.text, errSilent)
		got := Limits{ErrorBytes: 20}.shorten(inner)
		if got.Error() != c.want || !errors.Is(got, errSilent) {
			t.Errorf("got %q", got)
		}
	}
}

var errSilent = errors.New("")
