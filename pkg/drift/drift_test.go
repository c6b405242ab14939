package drift

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

var update = flag.Bool("update", false, "rewrite testdata/report.txt")

// now is when the reports of these tests are made.
var now = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func object(text string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	if err := k8syaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		panic(err)
	}
	return obj
}

// changed is what a plan says of an object that is there and differs.
func changed(live, want string) manifest.Change {
	change := manifest.Change{Action: manifest.Update, Drifted: true, Live: object(live), Want: object(want)}
	change.ID = manifest.IDOf(change.Want)
	change.Fields = manifest.Diff(change.Live, change.Want, nil)
	return change
}

const (
	head = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: data\n"
	// edited has managed fields as the API server writes them: a hand edit of replicas, image and a label.
	edited = head + `
  labels: {team: mine}
  managedFields:
  - {manager: syncer, operation: Apply, apiVersion: apps/v1, time: "2026-03-01T10:00:00Z", fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:paused": {}}}}
  - manager: kubectl-edit
    operation: Update
    apiVersion: apps/v1
    time: "2026-03-03T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {"f:labels": {"f:team": {}}}
      f:spec: {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}}
    subresource: scale
`
	original = head + "spec: {replicas: 2, paused: false, minReadySeconds: 5, template: {spec: {containers: [{name: web, image: 'web:1'}]}}}"
)

func TestModified(t *testing.T) {
	at := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	live := edited + "spec: {replicas: 7, paused: true, template: {spec: {containers: [{name: web, image: 'web:2'}]}}}"
	findings := Compare("sessions", "prod", []manifest.Change{changed(live, original)}, "syncer")
	for i := range findings {
		if findings[i].Message == "" {
			t.Errorf("%s has no message", findings[i].Path)
		}
		findings[i].Message = ""
	}
	base := Finding{Pipeline: "sessions", Environment: "prod", Kind: Modified, Severity: Warning, Object: manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data", Name: "web"}}
	finding := func(path string, desired, live any, byHand bool) Finding {
		f := base
		f.Path, f.Desired, f.Live = path, desired, live
		if byHand {
			f.Manager, f.Operation, f.Subresource, f.Time = "kubectl-edit", "Update", "scale", &at
		}
		if strings.HasSuffix(path, ".image") {
			f.Severity = Critical
		}
		return f
	}
	own, applied := finding("spec.paused", false, true, false), time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	own.Manager, own.Operation, own.Time = "syncer", "Apply", &applied // another process under its name
	want := []Finding{
		finding("metadata.labels.team", nil, "mine", true),
		finding("spec.minReadySeconds", int64(5), nil, false), // removed: nobody is known to have done it
		own,
		finding("spec.replicas", int64(2), int64(7), true),
		finding("spec.template.spec.containers[name=web].image", "web:1", "web:2", true),
	}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesSayWhatHappened(t *testing.T) {
	live := edited + "spec: {replicas: 7, paused: false, template: {spec: {containers: [{name: web, image: 'web:1'}]}}}"
	changes := []manifest.Change{
		changed(live, original),
		{ID: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: "gone"}, Action: manifest.Create},
		{ID: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: "old"}, Action: manifest.Prune},
	}
	var got []string
	for _, f := range Compare("sessions", "prod", changes, "syncer") {
		got = append(got, string(f.Kind)+" "+string(f.Severity)+": "+f.Message)
	}
	want := []string{
		"Missing critical: ConfigMap/data/gone is in git and not in the cluster; `syncer sync --correct` creates it again",
		"Orphaned warning: ConfigMap/data/old is no longer in git; the next sync deletes it",
		"Modified warning: kubectl-edit set metadata.labels.team of Deployment/data/web; git does not have it",
		"Modified warning: somebody removed spec.minReadySeconds from Deployment/data/web; git sets it",
		"Modified warning: kubectl-edit changed spec.replicas of Deployment/data/web; commit the change or run `syncer sync --correct`",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoFinding(t *testing.T) {
	same := changed(original, original)
	same.Action = manifest.None
	if findings := Compare("p", "e", []manifest.Change{same}, "syncer"); len(findings) != 0 {
		t.Errorf("got %v", findings)
	}
}

// A change that needs a new object, or that waits, is drift all the same.
func TestEveryDifferenceIsFound(t *testing.T) {
	for _, action := range []manifest.Action{manifest.Update, manifest.Replace, manifest.Hold} {
		change := changed(head+"spec: {replicas: 7}", head+"spec: {replicas: 2}")
		change.Action = action
		if findings := Compare("p", "e", []manifest.Change{change}, "syncer"); len(findings) != 1 || findings[0].Path != "spec.replicas" {
			t.Errorf("%s: %v", action, findings)
		}
	}
}

// What somebody took in the meantime is drift; what only git changed waits.
func TestAHeldChangeIsNoDrift(t *testing.T) {
	held := changed(edited+"spec: {replicas: 7, paused: true}", original)
	held.Drifted = false
	held.Hold(manifest.HeldRunning, "it runs", held.ID)
	var got []string
	for _, f := range Compare("p", "e", []manifest.Change{held}, "syncer") {
		got = append(got, string(f.Kind)+" "+f.Path+" "+f.Manager)
	}
	if want := "Held  , Modified metadata.labels.team kubectl-edit, Modified spec.replicas kubectl-edit"; strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
	if edits := HeldEdits("p", "e", []manifest.Change{held}, "syncer"); len(edits) != 2 {
		t.Errorf("got %v", edits)
	}
	if edits := HeldEdits("p", "e", []manifest.Change{held}, "newcomer"); len(edits) != 0 {
		t.Errorf("what another tool applied is drift: %v", edits)
	}
}

func TestSecretsStayMasked(t *testing.T) {
	const canary = "canary-3c"
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: "
	findings := Compare("p", "e", []manifest.Change{changed(secret+"{a: "+canary+"1, b: "+canary+"}", secret+"{a: "+canary+"2}")}, "syncer")
	if len(findings) != 2 {
		t.Fatalf("got %v", findings)
	}
	report := Report{GeneratedAt: now, Findings: findings}
	var text bytes.Buffer
	if err := Text(&text, report, Style{}); err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if out := text.String() + string(doc) + fmt.Sprint(Summary(findings, nil, nil, now)); strings.Contains(out, canary) {
		t.Errorf("a value is shown: %s", out)
	}
}

func TestSort(t *testing.T) {
	findings := []Finding{
		{Pipeline: "b"}, {Pipeline: "a", Environment: "prod", Path: "z"}, {Pipeline: "a", Environment: "prod", Path: "y", Kind: "Modified"},
		{Pipeline: "a", Environment: "prod", Path: "y", Kind: "Missing"}, {Pipeline: "a", Environment: "dev", Object: manifest.ID{Kind: "Z"}},
		{Pipeline: "a", Environment: "dev", Object: manifest.ID{Kind: "A"}},
	}
	Sort(findings)
	var got []string
	for _, f := range findings {
		got = append(got, f.Pipeline+f.Environment+f.Object.Kind+f.Path+string(f.Kind))
	}
	if want := "adevA adevZ aprodyMissing aprodyModified aprodz b"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func TestSummaryKeepsFifty(t *testing.T) {
	if s := Summary(nil, nil, nil, now); s != nil {
		t.Errorf("got %v", s)
	}
	findings := make([]Finding, 60)
	for i := range findings {
		findings[i] = Finding{Kind: Modified, Severity: Warning, Path: fmt.Sprint(i), Message: "m", Object: manifest.ID{APIVersion: "v1", Kind: "K", Namespace: "n", Name: "x"}}
	}
	s := Summary(findings, nil, nil, now)
	if s.Total != 60 || len(s.Findings) != 50 || s.Findings[49].Path != "49" || s.Findings[0].Object.Name != "x" || s.Findings[0].Kind != "Modified" {
		t.Errorf("got %v", s)
	}
}

func TestNoFindingsAreAnEmptyListInJSON(t *testing.T) {
	doc, err := json.Marshal(Finding{Object: manifest.ID{Kind: "K"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"pipeline", "environment", "kind", "severity", "object", "path", "desired", "live", "manager", "operation", "subresource", "time", "file", "line", "message"} {
		if !strings.Contains(string(doc), `"`+key+`":`) {
			t.Errorf("%s is not in %s", key, doc)
		}
	}
}

func TestText(t *testing.T) {
	live := edited + "spec: {replicas: 7, paused: true, template: {spec: {containers: [{name: web, image: 'web:2'}]}}}"
	settings := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: data}\n"
	findings := Compare("sessions", "prod", []manifest.Change{
		changed(live, original),
		changed(settings+`data: {a: "line\nline", empty: "", long: "`+strings.Repeat("é", 300)+`"}`, settings+"data: {a: x, empty: full, long: z}"),
		{ID: manifest.ID{APIVersion: "v1", Kind: "ServiceAccount", Namespace: "data", Name: "spark"}, Action: manifest.Create},
	}, "syncer")
	findings = append(findings, Compare("ingest", "dev", []manifest.Change{
		{ID: manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data", Name: "old"}, Action: manifest.Prune},
	}, "syncer")...)
	Sort(findings)
	var out bytes.Buffer
	if err := Text(&out, Report{GeneratedAt: now, Findings: findings}, Style{Width: 80}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/report.txt", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(out.String()) {
		if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 80 {
			t.Errorf("%d columns: %s", width, line)
		}
	}
}

func TestTextOfNoDrift(t *testing.T) {
	var out bytes.Buffer
	if err := Text(&out, Report{GeneratedAt: now}, Style{}); err != nil || out.String() != "no drift: the cluster is as the commits last applied say\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestValue(t *testing.T) {
	for want, value := range map[string]any{
		"plain":           "plain",
		"7":               int64(7),
		"true":            true,
		`""`:              "",
		`"a\nb"`:          "a\nb",
		`{"a":[1,"x"]}`:   map[string]any{"a": []any{int64(1), "x"}},
		"null":            nil,
		"with spaces":     "with spaces",
		`"\u001b[31mred"`: "\x1b[31mred",
	} {
		if got := Value(value); got != want {
			t.Errorf("%v: %s, want %s", value, got, want)
		}
	}
	if got := Value(strings.Repeat("é", 500)); !utf8.ValidString(got) || utf8.RuneCountInString(got) != longestValue+3 {
		t.Errorf("%d runes", utf8.RuneCountInString(got))
	}
}

// An object never differs from itself, whatever it holds.
func FuzzCompareWithItself(f *testing.F) {
	f.Add(edited + "spec: {a: [1, {name: x}, {name: x}], b: null, c: 1.5}")
	f.Add("kind: Secret\napiVersion: v1\ndata: {a: b}")
	f.Add("spec: {l: [{name: a}, {name: b}, [1, [2]], {}], e: {}, f: []}")
	f.Fuzz(func(t *testing.T, text string) {
		obj := &unstructured.Unstructured{}
		if k8syaml.Unmarshal([]byte(text), &obj.Object) != nil || obj.Object == nil {
			return
		}
		live := &unstructured.Unstructured{Object: obj.DeepCopy().Object}
		change := manifest.Change{Action: manifest.Update, Live: live, Want: obj, Fields: manifest.Diff(live, obj, nil)}
		if findings := Compare("p", "e", []manifest.Change{change}, "syncer"); len(findings) > 0 {
			t.Errorf("%s differs from itself: %v", text, findings)
		}
	})
}

// An object that was made anew, or disowned, may be as git says in every field.
func TestLostObjectIsAFindingOfItsOwn(t *testing.T) {
	id := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"}
	live := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	for kind, want := range map[manifest.LossKind]string{
		manifest.Recreated: "kubectl-replace deleted ConfigMap/shop/settings and created it again, so that no field of it is syncer's any more; `syncer sync --correct` takes it back",
		manifest.Disowned:  "kubectl-replace cleared the managed fields of ConfigMap/shop/settings, so that no field of it is syncer's any more; `syncer sync --correct` takes it back",
	} {
		change := manifest.Change{ID: id, Action: manifest.Update, Drifted: true, Live: live, Want: live, Lost: &manifest.Loss{Kind: kind, By: manifest.Manager{Name: "kubectl-replace", Operation: "Update"}}}
		found := Compare("p", "dev", []manifest.Change{change}, "syncer")
		if len(found) != 1 || found[0].Kind != Modified || found[0].Path != "" || found[0].Message != want || found[0].Manager != "kubectl-replace" {
			t.Errorf("%s: %+v", kind, found)
		}
	}
}
