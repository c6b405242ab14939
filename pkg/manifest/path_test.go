package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPathsRoundTrip(t *testing.T) {
	for text, want := range map[string]Path{
		"spec": {{Name: "spec"}},
		"spec.template.spec.containers[name=driver].env[name=TZ].value": {
			{Name: "spec"}, {Name: "template"}, {Name: "spec"}, {Name: "containers"}, {Keys: []KeyValue{{"name", "driver"}}},
			{Name: "env"}, {Keys: []KeyValue{{"name", "TZ"}}}, {Name: "value"},
		},
		"spec.ports[port=80,protocol=TCP].targetPort": {{Name: "spec"}, {Name: "ports"}, {Keys: []KeyValue{{"port", "80"}, {"protocol", "TCP"}}}, {Name: "targetPort"}},
		"spec.args[2]":                            {{Name: "spec"}, {Name: "args"}, {Index: 2}},
		"spec.steps[0][1].image":                  {{Name: "spec"}, {Name: "steps"}, {Index: 0}, {Index: 1}, {Name: "image"}},
		"spec.workers[*].image":                   {{Name: "spec"}, {Name: "workers"}, {Any: true}, {Name: "image"}},
		`metadata.annotations["example.com/own"]`: {{Name: "metadata"}, {Name: "annotations"}, {Name: "example.com/own"}},
		`data["a \"b\" \\ c"].x`:                  {{Name: "data"}, {Name: `a "b" \ c`}, {Name: "x"}},
		`["a.b"].c`:                               {{Name: "a.b"}, {Name: "c"}},
		`data["*"]`:                               {{Name: "data"}, {Name: "*"}},
		"data.0":                                  {{Name: "data"}, {Name: "0"}},
		"spec.list[key=]":                         {{Name: "spec"}, {Name: "list"}, {Keys: []KeyValue{{"key", ""}}}},
		"spec.list[key=a=b]":                      {{Name: "spec"}, {Name: "list"}, {Keys: []KeyValue{{"key", "a=b"}}}},
		`spec.list[key="a,b]",k="\""].x`:          {{Name: "spec"}, {Name: "list"}, {Keys: []KeyValue{{"key", "a,b]"}, {"k", `"`}}}, {Name: "x"}},
	} {
		got, err := ParsePath(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		} else if got.String() != text {
			t.Errorf("%s is printed as %s", text, got)
		}
	}
}

func TestBadPaths(t *testing.T) {
	for _, text := range []string{
		"", ".", ".spec", "spec.", "spec..x", "spec[", "spec[]", "spec[-1]", "spec[name]", "spec[name=x", "spec[name=x,]", "spec[name=x y",
		`spec["x]`, `spec[""]`, "spec['x']", "spec x", "spec/x", "spec[*", "spec[**]", "[*]x", "spec[99999999999999999999]", `spec[name="x]`, `spec[name="x"y]`,
	} {
		if got, err := ParsePath(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		} else if text != "" && !strings.Contains(err.Error(), "field path") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"spec.args[2]", `a["b/c"][name=x,y="z]"].d[*]`, "a.b[0][1]", `["\xff"]`, "a[b=", "a-b_c.d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(path.String())
		if err != nil {
			t.Fatalf("%q is printed as %q, which cannot be read: %v", text, path, err)
		}
		if diff := cmp.Diff(path, again); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	})
}

func TestFind(t *testing.T) {
	doc := obj(t, `
metadata: {annotations: {example.com/a: one}}
spec:
  list: [{name: b, v: 1}, {name: a, v: 2}, {v: 3}]
  ports: [{port: 80, protocol: TCP, v: t}, {port: 80, protocol: UDP, v: u}]
  byName: {w: {v: 4}, x: {v: 5}, "q.r": {v: 6}}
  nested: [[{v: 7}], [{v: 8}, {v: 9}]]
  args: [--a, --b]
`)
	for pattern, want := range map[string][]string{
		"spec.args[1]":                          {"spec.args[1]=--b"},
		"spec.args[*]":                          {"spec.args[0]=--a", "spec.args[1]=--b"},
		"spec.args[2]":                          nil,
		"spec.list[name=a].v":                   {"spec.list[1]=2"},
		"spec.list[*].v":                        {"spec.list[0]=1", "spec.list[1]=2", "spec.list[2]=3"},
		"spec.list[0].v":                        {"spec.list[0]=1"},
		"spec.list.v":                           nil,
		"spec.ports[port=80,protocol=UDP].v":    {"spec.ports[1]=u"},
		"spec.ports[port=80].v":                 {"spec.ports[0]=t", "spec.ports[1]=u"},
		"spec.ports[name=x].v":                  nil,
		"spec.byName[*].v":                      {`spec.byName["q.r"]=6`, "spec.byName.w=4", "spec.byName.x=5"},
		`spec.byName["q.r"].v`:                  {`spec.byName["q.r"]=6`},
		"spec.nested[*][*].v":                   {"spec.nested[0][0]=7", "spec.nested[1][0]=8", "spec.nested[1][1]=9"},
		`metadata.annotations["example.com/a"]`: {`metadata.annotations["example.com/a"]=one`},
		"spec.missing.v":                        nil,
		"spec.args[1].v":                        nil,
	} {
		path, err := ParsePath(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, field := range Find(doc.Object, path) {
			got = append(got, strings.TrimSuffix(field.Path.String(), ".v")+"="+toText(field.Value))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
	}
}

func TestFoundFieldsCanBeSet(t *testing.T) {
	doc := obj(t, "spec: {containers: [{name: a, image: x}, {name: b, image: y}], args: [p, q], m: {k: v}}")
	for _, pattern := range []string{"spec.containers[*].image", "spec.args[1]", "spec.m[*]"} {
		path, err := ParsePath(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range Find(doc.Object, path) {
			field.Set("new")
		}
	}
	want := obj(t, "spec: {containers: [{name: a, image: new}, {name: b, image: new}], args: [p, new], m: {k: new}}")
	if diff := cmp.Diff(want.Object, doc.Object); diff != "" {
		t.Error(diff)
	}
}

// Items are called by a name that is unique and writable, else by their index.
func TestItemsAreNamedWhereTheyCanBe(t *testing.T) {
	for text, want := range map[string]string{
		"l: [{name: a, v: 1}, {name: b, v: 1}]":      "l[name=a].v l[name=b].v",
		"l: [{name: a, v: 1}, {name: a, v: 1}]":      "l[0].v l[1].v",
		"l: [{name: a, v: 1}, {v: 1}]":               "l[0].v l[1].v",
		"l: [{name: 1, v: 1}]":                       "l[0].v",
		"l: [{name: 'a,b', v: 1}]":                   "l[0].v",
		"l: [{name: '', v: 1}, {name: b, v: 1}]":     "l[0].v l[1].v",
		"l: {b: {v: 1}, a/c: {v: 2}, d: {other: 1}}": `l["a/c"].v l.b.v`,
	} {
		path, err := ParsePath("l[*].v")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, field := range Find(obj(t, text).Object, path) {
			got = append(got, field.Path.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
