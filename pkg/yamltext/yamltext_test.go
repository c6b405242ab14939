package yamltext

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const text = `# a comment
kind: List
items: &all
- name: a
  Image: web:v1
- {name: b, count: 3}
again: *all
---
# an empty document
---
plain
`

func document(t *testing.T, i int) *yaml.Node {
	t.Helper()
	docs, err := Documents("o/a.yaml", []byte(text))
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs[i]
}

func TestDocumentsNameTheFileOfAnError(t *testing.T) {
	_, err := Documents("o/a.yaml", []byte("a: b\n c: [\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "o/a.yaml: not valid YAML: line 2") {
		t.Errorf("%v", err)
	}
}

func TestFields(t *testing.T) {
	doc := document(t, 0)
	first := Items(Field(doc, "items"))[0]
	for _, c := range []struct{ what, got, want string }{
		{"a key", Text(doc, "kind"), "List"},
		{"a key in another case", Text(first, "image"), "web:v1"},
		{"a key that is not there", Text(first, "count"), ""},
		{"a key below an alias", Text(Items(Field(doc, "again"))[1], "name"), "b"},
		{"a key of nothing", Text(Field(nil, "a"), "b"), ""},
		{"a key of a scalar", Text(document(t, 1), "a"), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if n := len(Items(Field(doc, "kind"))) + len(Items(nil)); n != 0 {
		t.Errorf("%d items of what is no list", n)
	}
}

func TestLines(t *testing.T) {
	doc := document(t, 0)
	for _, c := range []struct {
		key, value string
		want       int
	}{
		{"items", "web:v1", 5},
		{"items", "3", 6},
		{"kind", "web:v1", 5}, // the value stands below another key
		{"items", "not there", 3},
		{"items", "", 3},
		{"not there", "", 2},
	} {
		if got := LineOf(doc, c.key, c.value); got != c.want {
			t.Errorf("%s %s: line %d, want %d", c.key, c.value, got, c.want)
		}
	}
}
