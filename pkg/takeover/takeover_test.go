package takeover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// deployed is an object with a field of each kind of list.
const deployed = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: data
  resourceVersion: "7"
  labels: {app.kubernetes.io/managed-by: Helm, team: x}
  annotations: {meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: apps}
  finalizers: [example.com/clean]
spec:
  replicas: 2
  paused: false
  template:
    spec:
      containers:
      - {name: main, image: "web:1"}
      - {name: side, image: "side:1"}
`

const (
	team       = `{"f:metadata":{"f:labels":{"f:team":{}}}}`
	helmFields = `{"f:metadata":{"f:annotations":{".":{},"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}},"f:labels":{".":{},"f:app.kubernetes.io/managed-by":{}}},"f:spec":{"f:paused":{},"f:replicas":{}}}`
	traceParts = `"f:annotations":{"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}}`
)

func TestTakeoverGivesSyncerTheFieldsOfTheTool(t *testing.T) {
	for name, c := range map[string]struct {
		by   []entry
		want map[string]string
	}{
		"the tool alone": {
			[]entry{{"helm Update", helmFields}},
			map[string]string{"syncer Apply": helmFields},
		},
		"other managers keep their fields": {
			[]entry{{"helm Update", helmFields}, {"somebody Update", team}, {"kube-controller-manager Update status", `{"f:status":{"f:replicas":{}}}`}},
			map[string]string{"syncer Apply": helmFields, "somebody Update": team, "kube-controller-manager Update status": `{"f:status":{"f:replicas":{}}}`},
		},
		"another manager loses the traces of the tool": {
			[]entry{{"helm Update", `{"f:spec":{"f:replicas":{}}}`}, {"kubectl-annotate Update", `{"f:metadata":{` + traceParts + `}}`}, {"kubectl-label Update", `{"f:metadata":{"f:labels":{"f:app.kubernetes.io/managed-by":{},"f:team":{}}}}`}},
			map[string]string{"syncer Apply": `{"f:metadata":{` + traceParts + `,"f:labels":{"f:app.kubernetes.io/managed-by":{}}},"f:spec":{"f:replicas":{}}}`, "kubectl-label Update": team},
		},
		"traces without an owner": {
			nil,
			map[string]string{"syncer Apply": `{"f:metadata":{` + traceParts + `,"f:labels":{"f:app.kubernetes.io/managed-by":{}}}}`},
		},
		"fields in another version that exist": {
			[]entry{{"helm Update - apps/v1beta1", `{"f:spec":{"f:replicas":{},"f:rollbackTo":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{}},"k:{\"name\":\"gone\"}":{".":{}}}}}}}`}},
			map[string]string{"syncer Apply": `{"f:metadata":{` + traceParts + `,"f:labels":{"f:app.kubernetes.io/managed-by":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{}}}}}}}`},
		},
		"an entry that cannot be read": {
			[]entry{{"helm Update", `{"x":{}}`}},
			map[string]string{"syncer Apply": `{"f:metadata":{` + traceParts + `,"f:labels":{"f:app.kubernetes.io/managed-by":{}}}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			live := objectOf(t, deployed, c.by...)
			before := live.DeepCopy()
			taken, err := TakenOver(live)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, managersOf(taken)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(before.Object, live.Object); diff != "" {
				t.Errorf("the live object changed:\n%s", diff)
			}
			taken.SetManagedFields(nil)
			before.SetManagedFields(nil)
			if diff := cmp.Diff(before.Object, taken.Object); diff != "" {
				t.Errorf("more than the owners changed:\n%s", diff)
			}
			if ManagedBy(live) != nil && len(c.by) > 0 {
				checkPatch(t, live, c.want)
			}
		})
	}
}

// checkPatch checks that the patch of a takeover writes the same owners, and only to the version that was judged.
func checkPatch(t *testing.T, live *unstructured.Unstructured, want map[string]string) {
	t.Helper()
	patch, err := Patch(live)
	if err != nil {
		t.Fatal(err)
	}
	var fields []any
	version := ""
	operations, _ := decoded(t, patch).([]any)
	for _, each := range operations {
		operation := each.(map[string]any)
		switch operation["path"] {
		case "/metadata/managedFields":
			fields = operation["value"].([]any)
		case "/metadata/resourceVersion":
			version = operation["value"].(string)
		default:
			t.Errorf("the patch writes %v", operation["path"])
		}
	}
	patched := live.DeepCopy()
	if err := unstructured.SetNestedSlice(patched.Object, fields, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, managersOf(patched)); diff != "" || version != "7" {
		t.Errorf("version %q, owners (-want +got)\n%s", version, diff)
	}
}

func TestFieldsOfTheToolAloneAreReleased(t *testing.T) {
	const own = `{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:name":{}}}}}}}`
	const more = `{"f:metadata":{"f:finalizers":{"v:\"example.com/clean\"":{}},"f:labels":{"f:team":{}}},"f:spec":{"f:paused":{},"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:name":{}},"k:{\"name\":\"side\"}":{".":{},"f:image":{},"f:name":{}}}}}}}`
	containers := func(names ...string) []any {
		var out []any
		for _, name := range names {
			out = append(out, map[string]any{"name": name, "image": map[string]string{"main": "web:1", "side": "side:1"}[name]})
		}
		return out
	}
	for name, c := range map[string]struct {
		others []entry
		want   map[string]any
	}{
		"no other owner": {nil, map[string]any{
			"metadata": map[string]any{"finalizers": []any{}, "labels": map[string]any{"team": nil}},
			"spec":     map[string]any{"paused": nil, "template": map[string]any{"spec": map[string]any{"containers": containers("main")}}},
		}},
		"another owner of some": {[]entry{{"somebody Update", team}, {"other Update", `{"f:metadata":{"f:finalizers":{"v:\"example.com/clean\"":{}}},"f:spec":{"f:paused":{}}}`}}, map[string]any{
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers("main")}}},
		}},
		"another owner below": {[]entry{{"somebody Update", team}, {"other Update", `{"f:metadata":{"f:finalizers":{"v:\"example.com/clean\"":{}}},"f:spec":{"f:paused":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{"f:image":{}}}}}}}`}}, map[string]any{
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "web:1"}, map[string]any{"image": "side:1"}}}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			live := objectOf(t, deployed, append([]entry{{"syncer Apply", more}}, c.others...)...)
			want := objectOf(t, deployed, entry{"syncer Apply", own})
			patch, err := Released(live, want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(any(c.want), decoded(t, patch)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSyncerBecomesTheSoleOwnerOfItsFields(t *testing.T) {
	own := entry{"syncer Apply", `{"f:spec":{"f:paused":{},"f:replicas":{}}}`}
	for name, c := range map[string]struct {
		by   []entry
		want map[string]string // nil: no patch
	}{
		"syncer alone":              {[]entry{own}, nil},
		"owners of other fields":    {[]entry{own, {"somebody Update", team}}, nil},
		"one that created it anew":  {[]entry{own, {"kubectl-create Update", `{"f:metadata":{"f:labels":{"f:team":{}}},"f:spec":{"f:replicas":{}}}`}}, map[string]string{"syncer Apply": own.fields, "kubectl-create Update": team}},
		"one that had nothing else": {[]entry{own, {"before-first-apply Update", replicas}}, map[string]string{"syncer Apply": own.fields}},
		"a controller keeps them":   {[]entry{own, {"kube-controller-manager Update", replicas}}, nil},
		"a scale keeps them":        {[]entry{own, {"kubectl Update scale", replicas}}, nil},
		"an apply keeps them":       {[]entry{own, {"other Apply", replicas}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			live := objectOf(t, deployed, c.by...)
			patch, err := SoleOwner(live)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if patch != nil {
					t.Errorf("a patch: %s", patch)
				}
				return
			}
			operations, _ := decoded(t, patch).([]any)
			if first := operations[0].(map[string]any); first["op"] != "test" || first["value"] != "7" {
				t.Errorf("the patch does not require the version: %v", first)
			}
			patched := live.DeepCopy()
			if err := unstructured.SetNestedSlice(patched.Object, operations[1].(map[string]any)["value"].([]any), "metadata", "managedFields"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, managersOf(patched)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFieldsOfSyncer(t *testing.T) {
	if got := OwnFields(objectOf(t, deployed, entry{"syncer Update", replicas}, entry{"syncer Apply scale", replicas})); !got.Empty() {
		t.Errorf("an Update or a subresource counts: %s", got)
	}
	if got := OwnFields(objectOf(t, deployed, entry{"syncer Apply", replicas})).String(); got != ".spec.replicas" {
		t.Errorf("fields: %s", got)
	}
}
