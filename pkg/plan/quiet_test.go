package plan_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

var mutatingWebhooks = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}

// additions lists the additions of others in a plan.
func additions(planned *plan.Plan) string {
	var out []string
	for _, change := range planned.Changes() {
		for _, a := range change.Added {
			out = append(out, change.ID.Name+" "+a.Path+" by "+a.Manager.Name)
		}
	}
	return strings.Join(out, ", ")
}

// quiet lists the rules that kept a difference out.
func quiet(planned *plan.Plan) string {
	var out []string
	for _, q := range planned.Quiet() {
		out = append(out, q.Rule+" "+q.Path)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// by writes a deployment as another manager, through a subresource or none.
func patchWeb(b *bench.Bench, manager, patch string, subresource ...string) {
	b.T.Helper()
	_, err := b.Admin.Resource(bench.Deployments).Namespace(b.Namespace).Patch(b.Ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresource...)
	if err != nil {
		b.T.Fatal(err)
	}
}

// An addition of another manager is reported until it is gone. A newer commit does not hide it.
func TestAnAdditionOutlivesACommit(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Settings("a", "1")))
	b.Edit(bench.ConfigMaps, "a", `{"data":{"more":"x"},"metadata":{"annotations":{"note":"y"}}}`)
	const both = "a data.more by kubectl-edit, a metadata.annotations.note by kubectl-edit"
	if got := additions(pass.Plan(b, b.Set(bench.Settings("a", "1")))); got != both {
		t.Errorf("found %s", got)
	}
	pass.Sync(b, b.Set(bench.Settings("a", "2")))
	b.Restart()
	if got := additions(pass.Plan(b, b.Set(bench.Settings("a", "2")))); got != both {
		t.Errorf("after a commit: %s", got)
	}
	// Git takes one of them over.
	taken := strings.Replace(bench.Settings("a", "2"), "\ndata: {", "\ndata: {more: x, ", 1)
	pass.Sync(b, b.Set(taken))
	if got := additions(pass.Plan(b, b.Set(taken))); got != "a metadata.annotations.note by kubectl-edit" {
		t.Errorf("after git has it: %s", got)
	}
	b.Edit(bench.ConfigMaps, "a", `{"metadata":{"annotations":{"note":null}}}`)
	if got := additions(pass.Plan(b, b.Set(taken))); got != "" {
		t.Errorf("after it is gone: %s", got)
	}
}

// Fields that others had set before syncer are no additions.
func TestWhatWasThereBeforeIsNotAdded(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS, labels: {theirs: x}}\ndata: {other: theirs}\n")
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	if got := additions(pass.Plan(b, set, pass.Full)); got != "" {
		t.Errorf("found %s", got)
	}
	b.Edit(bench.ConfigMaps, "a", `{"data":{"new":"z"}}`)
	if got := additions(pass.Plan(b, set)); got != "a data.new by kubectl-edit" {
		t.Errorf("found %s", got)
	}
	pass.Sync(b, b.Set(bench.Settings("a", "2")))
	if got := additions(pass.Plan(b, b.Set(bench.Settings("a", "2")))); got != "a data.new by kubectl-edit" {
		t.Errorf("after a commit: %s", got)
	}
}

func TestControllersAreQuiet(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(bench.Service(""), "replicas: 1", "replicas: 3", 1)
	set := b.Set(doc)
	pass.Sync(b, set)
	patchWeb(b, "kube-controller-manager", `{"spec":{"replicas":5}}`, "scale")
	patchWeb(b, "kubectl-rollout", `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`)
	patchWeb(b, "some-controller", `{"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"5"},"finalizers":["example.com/clean"]}}`)
	patchWeb(b, "kubectl-edit", `{"metadata":{"annotations":{"hand":"made"}}}`)
	planned := pass.Plan(b, set, pass.Full)
	if got := bench.Actions(planned.Changes()); got != "" {
		t.Errorf("an apply would do %s", got)
	}
	if got := additions(planned); got != "web metadata.annotations.hand by kubectl-edit" {
		t.Errorf("found %s", got)
	}
	got := quiet(planned)
	for _, want := range []string{
		"HorizontalPodAutoscaler spec.replicas", `rollout restart spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]`,
		`Kubernetes' notes metadata.annotations["deployment.kubernetes.io/desired-replicas"]`, "finalizers metadata.finalizers[0]",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("quiet are %s, and not %s", got, want)
		}
	}
	pass.Sync(b, b.Set(strings.Replace(doc, "web:1", "web:2", 1)))
	if got := replicasOf(b, "web"); got != 5 {
		t.Errorf("a commit made it %d replicas", got)
	}
	// A change by hand is treated differently.
	patchWeb(b, "kubectl", `{"spec":{"replicas":7}}`, "scale")
	newer := b.Set(strings.Replace(doc, "web:1", "web:2", 1))
	for _, how := range []func(*plan.Request){pass.Full, func(*plan.Request) {}} {
		if got := bench.Actions(pass.Plan(b, newer, how).Changes()); got != "Update Deployment/web (drifted)" {
			t.Errorf("an apply would do %q", got)
		}
	}
	// A scale to zero leaves no manager as the owner.
	patchWeb(b, "keda", `{"spec":{"replicas":4}}`, "scale")
	if got := bench.Actions(pass.Plan(b, newer).Changes()); got != "" {
		t.Errorf("an apply would do %q", got)
	}
	patchWeb(b, "kubectl", `{"spec":{"replicas":0}}`, "scale")
	if got := bench.Actions(pass.Plan(b, newer).Changes()); got != "Update Deployment/web (drifted)" {
		t.Errorf("an apply would do %q", got)
	}
}

func TestLocksOfLeadersAreQuiet(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("lock", "1"), "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: lock, namespace: $NS}\nspec: {leaseDurationSeconds: 15}\n"))
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "lock", `{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"{}","note":"x"}}}`)
	b.Edit(bench.Leases, "lock", `{"spec":{"holderIdentity":"web-0"},"metadata":{"annotations":{"note":"x"}}}`)
	if got := additions(pass.Plan(b, set)); got != "lock metadata.annotations.note by kubectl-edit, lock metadata.annotations.note by kubectl-edit" {
		t.Errorf("found %s", got)
	}
}

func TestInjectedCertificatesAreQuiet(t *testing.T) {
	b := bench.New(t)
	hook := func(bundle string) string {
		return "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: inject-" + b.Namespace + "}\nwebhooks:\n- name: a.example.com\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Ignore\n  clientConfig: {url: \"https://127.0.0.1:1/\"" + bundle + "}\n  rules: [{apiGroups: [none.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothing]}]\n"
	}
	const injected = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJoRENDQVNxZ0F3SUJBZ0lRVkFjPQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="
	for _, bundle := range []string{"", `, caBundle: ""`} {
		set := b.Set(hook(bundle))
		pass.Sync(b, set)
		_, err := b.Admin.Resource(mutatingWebhooks).Patch(b.Ctx, "inject-"+b.Namespace, types.JSONPatchType,
			[]byte(`[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"`+injected+`"}]`), metav1.PatchOptions{FieldManager: "cainjector"})
		if err != nil {
			t.Fatal(err)
		}
		planned := pass.Plan(b, set, pass.Full)
		if got := bench.Actions(planned.Changes()) + additions(planned); got != "" || !strings.Contains(quiet(planned), "caBundle ") {
			t.Errorf("with %q: %s; quiet are %s", bundle, got, quiet(planned))
		}
	}
}

// Some drifted fields can be corrected and others left.
func TestDriftIsLeftByField(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(bench.Settings("a", "1"), "\ndata: {", "\ndata: {free: git, ", 1)
	set := b.Set(doc)
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"hand","free":"hand"}}`)
	planned := pass.Plan(b, set)
	left := planned.Leave(func(_ manifest.Change, field *manifest.FieldChange) bool {
		return field != nil && field.Path == "data.free"
	})
	if len(left) != 1 || len(left[0].Fields) != 1 || left[0].Fields[0].Path != "data.free" || bench.Actions(planned.Pending()) != "Update ConfigMap/a (drifted)" || len(planned.Pending()[0].Fields) != 1 {
		t.Fatalf("left %+v, pending %+v", left, planned.Pending())
	}
	applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
	if err != nil {
		t.Fatal(err)
	}
	b.Save(applied.Inventory)
	if got := pass.Plan(b, set).Pending(); len(got) != 1 || len(got[0].Fields) != 1 || got[0].Fields[0].Path != "data.free" {
		t.Errorf("what was left is no drift any more: %+v", got)
	}
	live := b.Get(bench.ConfigMaps, b.Namespace, "a")
	if bench.Value(live, "data", "key") != "1" || bench.Value(live, "data", "free") != "hand" {
		t.Errorf("the data is %v", live.Object["data"])
	}
}
