package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
)

func obj(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := k8syaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func toText(value any) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprint(value)
}

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     []string // path: from -> to
	}{
		"the same":                 {"spec: {a: 1, l: [1, {x: y}]}", "spec: {a: 1, l: [1, {x: y}]}", nil},
		"a scalar":                 {"spec: {a: 1}", "spec: {a: 2}", []string{"spec.a: 1 -> 2"}},
		"another type":             {"spec: {a: 1}", "spec: {a: '1'}", []string{"spec.a: 1 -> 1"}},
		"a map for a scalar":       {"spec: {a: 1}", "spec: {a: {b: c}}", []string{"spec.a: 1 -> map[b:c]"}},
		"an added key":             {"spec: {}", "spec: {a: 1}", []string{"spec.a: - -> 1"}},
		"a removed key":            {"spec: {a: 1}", "spec: {}", []string{"spec.a: 1 -> -"}},
		"an added map is one":      {"spec: {}", "spec: {a: {b: 1, c: 2}}", []string{"spec.a: - -> map[b:1 c:2]"}},
		"a removed map is one":     {"spec: {a: {b: 1, c: 2}}", "spec: {}", []string{"spec.a: map[b:1 c:2] -> -"}},
		"sorted by path":           {"b: 1\na: {z: 1, w: 1}", "b: 2\na: {z: 2, w: 2}", []string{"a.w: 1 -> 2", "a.z: 1 -> 2", "b: 1 -> 2"}},
		"a key that is not plain":  {"metadata: {labels: {a/b: x}}", "metadata: {labels: {a/b: z}}", []string{`metadata.labels["a/b"]: x -> z`}},
		"1 and 1.0":                {"spec: {a: 1, b: 2.0}", "spec: {a: 1.0, b: 2}", nil},
		"1.5 and 1":                {"spec: {a: 1}", "spec: {a: 1.5}", []string{"spec.a: 1 -> 1.5"}},
		"large integers":           {"spec: {a: 9007199254740993}", "spec: {a: 9007199254740992}", []string{"spec.a: 9007199254740993 -> 9007199254740992"}},
		"null and nothing":         {"spec: {template: {metadata: {creationTimestamp: null}}}", "spec: {template: {metadata: {}}}", nil},
		"null and a value":         {"spec: {a: null}", "spec: {a: 1}", []string{"spec.a: - -> 1"}},
		"false and nothing":        {"spec: {a: false}", "spec: {}", []string{"spec.a: false -> -"}},
		"an index of an atom":      {"spec: {args: [a, b]}", "spec: {args: [a, c]}", []string{"spec.args[1]: b -> c"}},
		"another length":           {"spec: {args: [a, b]}", "spec: {args: [a]}", []string{"spec.args: [a b] -> [a]"}},
		"below an index":           {"spec: {l: [{v: 1}, {v: 2}]}", "spec: {l: [{v: 1}, {v: 3}]}", []string{"spec.l[1].v: 2 -> 3"}},
		"an item by name":          {"spec: {l: [{name: a, v: 1}, {name: b, v: 2}]}", "spec: {l: [{name: a, v: 1}, {name: b, v: 3}]}", []string{"spec.l[name=b].v: 2 -> 3"}},
		"an added item by name":    {"spec: {l: [{name: a}]}", "spec: {l: [{name: b}, {name: a}]}", []string{"spec.l[name=b]: - -> map[name:b]"}},
		"a removed item by name":   {"spec: {l: [{name: a}, {name: b}]}", "spec: {l: [{name: b}]}", []string{"spec.l[name=a]: map[name:a] -> -"}},
		"another order":            {"spec: {l: [{name: a}, {name: b}]}", "spec: {l: [{name: b}, {name: a}]}", []string{"spec.l: [a b] -> [b a]"}},
		"another order, and more":  {"spec: {l: [{name: a}, {name: b}]}", "spec: {l: [{name: c}, {name: b, v: 1}, {name: a}]}", []string{"spec.l: [a b] -> [b a]", "spec.l[name=b].v: - -> 1", "spec.l[name=c]: - -> map[name:c]"}},
		"names twice":              {"spec: {l: [{name: a, v: 1}, {name: a, v: 2}]}", "spec: {l: [{name: a, v: 1}, {name: a, v: 3}]}", []string{"spec.l[1].v: 2 -> 3"}},
		"what the server writes":   {"metadata: {uid: x, resourceVersion: '1', generation: 1, creationTimestamp: x, managedFields: [], selfLink: x}\nstatus: {a: 1}", "metadata: {uid: y}\nstatus: {a: 2}", nil},
		"deletion and finalizers":  {"metadata: {finalizers: [a]}", "metadata: {}", []string{"metadata.finalizers: [a] -> -"}},
		"an empty list":            {"spec: {l: []}", "spec: {l: [{name: a}]}", []string{"spec.l: [] -> [map[name:a]]"}},
		"an empty map and nothing": {"spec: {a: {}}", "spec: {}", []string{"spec.a: map[] -> -"}},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := obj(t, c.from), obj(t, c.to)
			before, after := from.DeepCopy(), to.DeepCopy()
			var got []string
			for _, change := range Diff(from, to, nil) {
				got = append(got, fmt.Sprintf("%s: %s -> %s", change.Path, toText(change.From), toText(change.To)))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if !cmp.Equal(from, before) || !cmp.Equal(to, after) {
				t.Error("Diff changed its arguments")
			}
			if same := Diff(from, from.DeepCopy(), nil); len(same) > 0 {
				t.Errorf("an object differs from itself: %v", same)
			}
		})
	}
}

// service is what an API server of version 1.36 keeps for a Service: its ports are keyed by port and protocol, and the
// ownership of each item says so.
const service = `
apiVersion: v1
kind: Service
metadata:
  name: web
  managedFields:
  - manager: syncer
    operation: Apply
    apiVersion: v1
    time: "2026-03-01T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:spec:
        f:ports:
          k:{"port":80,"protocol":"TCP"}: {".": {}, "f:port": {}, "f:targetPort": {}}
          k:{"port":53,"protocol":"UDP"}: {".": {}, "f:port": {}, "f:protocol": {}}
spec:
  ports:
  - {port: 80, protocol: TCP, targetPort: 8080}
  - {port: 53, protocol: UDP, targetPort: 53}
`

func TestListsAreKeyedAsTheServerKeysThem(t *testing.T) {
	want := obj(t, strings.Replace(service, "targetPort: 8080", "targetPort: 9090", 1))
	want.SetManagedFields(nil)
	got := Diff(obj(t, service), want, nil)
	if len(got) != 1 || got[0].Path != "spec.ports[port=80,protocol=TCP].targetPort" || got[0].From != int64(8080) || got[0].To != int64(9090) {
		t.Errorf("got %v", got)
	}
	// One port of two with one number is removed, the other stays.
	live := obj(t, strings.Replace(service, "  - {port: 53, protocol: UDP", "  - {port: 80, protocol: SCTP, targetPort: 1}\n  - {port: 53, protocol: UDP", 1))
	got = Diff(live, obj(t, service), nil)
	if len(got) != 1 || got[0].Path != "spec.ports[port=80,protocol=SCTP]" || got[0].To != nil {
		t.Errorf("got %v", got)
	}
	// Another order of the same ports.
	swapped := obj(t, service)
	ports, _, _ := unstructured.NestedSlice(swapped.Object, "spec", "ports")
	if err := unstructured.SetNestedSlice(swapped.Object, []any{ports[1], ports[0]}, "spec", "ports"); err != nil {
		t.Fatal(err)
	}
	got = Diff(obj(t, service), swapped, nil)
	if len(got) != 1 || got[0].Path != "spec.ports" || toText(got[0].From) != "[80,TCP 53,UDP]" || toText(got[0].To) != "[53,UDP 80,TCP]" {
		t.Errorf("got %v", got)
	}
	// Two items of one key, which a server may hold, are told apart by their places.
	twice := strings.Replace(service, "port: 53, protocol: UDP, targetPort: 53", "port: 80, protocol: TCP, targetPort: 1", 1)
	if got := Diff(obj(t, twice), obj(t, twice), nil); len(got) != 0 {
		t.Errorf("an object differs from itself: %v", got)
	}
	if got := Diff(obj(t, twice), obj(t, strings.Replace(twice, "targetPort: 1}", "targetPort: 2}", 1)), nil); len(got) != 1 || got[0].Path != "spec.ports[1].targetPort" {
		t.Errorf("got %v", got)
	}
	// All items gone, one by one.
	none := obj(t, service)
	if err := unstructured.SetNestedSlice(none.Object, []any{}, "spec", "ports"); err != nil {
		t.Fatal(err)
	}
	if got := Diff(obj(t, service), none, nil); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestSecretValuesAreMasked(t *testing.T) {
	const canary = "canary-9a2f"
	secret := func(text string) *unstructured.Unstructured { return obj(t, "apiVersion: v1\nkind: Secret\n"+text) }
	for name, c := range map[string]struct{ from, to *unstructured.Unstructured }{
		"a value":         {secret("data: {a: " + canary + "1, b: x}"), secret("data: {a: " + canary + "2, b: x}")},
		"an added value":  {secret("data: {}"), secret("data: {a: " + canary + "}")},
		"all data":        {secret("type: Opaque"), secret("data: {a: " + canary + "}\nstringData: {b: " + canary + "}")},
		"a removed map":   {secret("data: {a: " + canary + "}"), secret("type: Opaque")},
		"a nested value":  {secret("data: {a: {b: [" + canary + "]}}"), secret("data: {a: {b: [x]}}")},
		"a list":          {secret("data: {a: [" + canary + "]}"), secret("data: {a: []}")},
		"last applied":    {obj(t, "kind: X\nmetadata: {annotations: {a: b, kubectl.kubernetes.io/last-applied-configuration: "+canary+"}}"), obj(t, "kind: X\nmetadata: {annotations: {a: b}}")},
		"all annotations": {obj(t, "kind: X\nmetadata: {annotations: {a: b, kubectl.kubernetes.io/last-applied-configuration: "+canary+"}}"), obj(t, "kind: X\nmetadata: {}")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, changes := range [][]FieldChange{Diff(c.from, c.to, nil), Diff(c.to, c.from, nil)} {
				if len(changes) == 0 || strings.Contains(fmt.Sprint(changes), canary) {
					t.Errorf("got %v", changes)
				}
			}
		})
	}
	kept := Diff(obj(t, "kind: X\nmetadata: {annotations: {a: b, kubectl.kubernetes.io/last-applied-configuration: x}}"), obj(t, "kind: X\nmetadata: {}"), nil)
	if !strings.Contains(fmt.Sprint(kept), "metadata.annotations.a b") {
		t.Errorf("the other annotations are hidden as well: %v", kept)
	}
	if shown := Diff(obj(t, "apiVersion: v1\nkind: ConfigMap\ndata: {a: x}"), obj(t, "apiVersion: v1\nkind: ConfigMap\ndata: {a: y}"), nil); shown[0].From != "x" {
		t.Errorf("a ConfigMap is masked: %v", shown)
	}
	if shown := Diff(secret("type: A\nimmutable: false"), secret("type: B\nimmutable: true"), nil); len(shown) != 2 || shown[1].To != "B" {
		t.Errorf("got %v", shown)
	}
}
