package apply_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/takeover"
)

var (
	autoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
)

// theirWeb is the object that a tool deployed: `extra`, OLD and port 9090 are not in git. TRACES stands for the traces of
// the tool.
const theirWeb = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: $NS
  labels: {team: data, extra: theirs, TRACELABELS}
  annotations: {note: theirs, TRACEANNOTATIONS}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example.com/web:v1
        env: [{name: MODE, value: theirs}, {name: OLD, value: theirs}]
        ports: [{containerPort: 8080, name: http}, {containerPort: 9090, name: old}]
`

// ourWeb is the object in git. ADOPT is the annotation or nothing.
const ourWeb = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: $NS
  labels: {team: data}
  annotations: {ADOPT}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example.com/web:v1
        env: [{name: MODE, value: ours}]
        ports: [{containerPort: 8080, name: http}]
`

const adopt = "syncer.dev/adopt: enabled"

// web is git's Deployment with or without the permission to adopt it. It leaves out the lines that contain one of the texts.
func webSet(b *bench.Bench, permission string, less ...string) manifest.Set {
	var kept []string
	for line := range strings.Lines(strings.ReplaceAll(ourWeb, "ADOPT", permission)) {
		if !slices.ContainsFunc(less, func(text string) bool { return strings.Contains(line, text) }) {
			kept = append(kept, line)
		}
	}
	return b.Set(strings.Join(kept, ""))
}

func traced(labels, annotations string) string {
	return strings.NewReplacer("TRACELABELS", labels, "TRACEANNOTATIONS", annotations).Replace(theirWeb)
}

// kubectl runs the real kubectl with a manifest on its standard input.
func kubectl(b *bench.Bench, text string, args ...string) {
	b.T.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	cmd := exec.CommandContext(b.Ctx, filepath.Join(bin, "controlplane", "kubectl"), append([]string{"--kubeconfig", b.Plane.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(text, "$NS", b.Namespace))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.T.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// createAs creates an object as a client that creates and updates.
func createAs(b *bench.Bench, manager, text string) {
	b.T.Helper()
	obj := b.Object(text)
	if _, err := b.Admin.Resource(bench.Deployments).Namespace(b.Namespace).Create(b.Ctx, obj, metav1.CreateOptions{FieldManager: manager}); err != nil {
		b.T.Fatal(err)
	}
}

// applyAs applies an object on the server as another client does.
func applyAs(b *bench.Bench, manager, text string) {
	b.T.Helper()
	obj := b.Object(text)
	if _, err := b.Admin.Resource(bench.Deployments).Namespace(b.Namespace).Apply(b.Ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
		b.T.Fatal(err)
	}
}

// patchAs writes an object with a merge patch, as the given manager.
func patchAs(b *bench.Bench, manager string, resource schema.GroupVersionResource, name, patch string, subresources ...string) {
	b.T.Helper()
	_, err := b.Admin.Resource(resource).Namespace(b.Namespace).Patch(b.Ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresources...)
	if err != nil {
		b.T.Fatal(err)
	}
}

const (
	helmLabels = "app.kubernetes.io/managed-by: Helm"
	helmNotes  = "meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: $NS"
	fluxLabels = "kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system"
	argoNotes  = `argocd.argoproj.io/tracking-id: "shop:apps/Deployment:$NS/web"`
)

// tools are the ways in which an object became managed by another tool.
var tools = []struct {
	name   string
	deploy func(*bench.Bench)
	refuse string // a part of the refusal's text
}{
	{
		"kubectl apply",
		func(b *bench.Bench) { kubectl(b, traced("", ""), "apply", "-f", "-") },
		"it is managed by kubectl apply, so orders@prod does not take it; stop applying it with kubectl, then annotate it in git with `syncer.dev/adopt: enabled`",
	},
	{
		"kubectl create, then apply",
		func(b *bench.Bench) {
			first := strings.ReplaceAll(traced("", ""), "v1\n        env", "v0\n        env")
			kubectl(b, first, "create", "--save-config", "-f", "-")
			kubectl(b, traced("", ""), "apply", "-f", "-")
		},
		"it is managed by kubectl apply, so",
	},
	{
		"kubectl apply, then marked for Helm by hand",
		func(b *bench.Bench) {
			kubectl(b, traced("", ""), "apply", "-f", "-")
			kubectl(b, traced("", ""), "annotate", "deployment", "web", "-n", b.Namespace, "meta.helm.sh/release-name=shop", "meta.helm.sh/release-namespace="+b.Namespace)
			kubectl(b, traced("", ""), "label", "deployment", "web", "-n", b.Namespace, helmLabel)
		},
		"it is managed by Helm (release $NS/shop)",
	},
	{
		"Helm",
		func(b *bench.Bench) {
			createAs(b, "helm", strings.ReplaceAll(traced(helmLabels, helmNotes), "value: theirs", "value: first"))
			patchAs(b, "helm", bench.Deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example.com/web:v1",
				"env":[{"name":"MODE","value":"theirs"},{"name":"OLD","value":"theirs"}],
				"ports":[{"containerPort":8080,"name":"http"},{"containerPort":9090,"name":"old"}]}]}}}}`)
		},
		"it is managed by Helm (release $NS/shop), so orders@prod does not take it; delete the records of the release, not the release (`kubectl -n $NS delete secret -l owner=helm,name=shop`)",
	},
	{
		"Helm 4, on the server",
		func(b *bench.Bench) { applyAs(b, "helm", traced(helmLabels, helmNotes)) },
		"it is managed by Helm (release $NS/shop)",
	},
	{
		"Flux Kustomization",
		func(b *bench.Bench) { applyAs(b, "kustomize-controller", traced(fluxLabels, "")) },
		"it is managed by Flux (Kustomization flux-system/apps), so orders@prod does not take it; set `prune: false` in the Kustomization",
	},
	{
		"Flux HelmRelease",
		func(b *bench.Bench) {
			createAs(b, "helm-controller", traced(helmLabels+", helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system", helmNotes))
		},
		"it is managed by Flux (HelmRelease flux-system/shop), so orders@prod does not take it; suspend the HelmRelease before it is deleted (`flux -n flux-system suspend helmrelease shop`)",
	},
	{
		"Argo CD",
		func(b *bench.Bench) {
			kubectl(b, traced("", argoNotes), "apply", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop), so orders@prod does not take it; take it out of the Application without deleting it (`argocd app delete shop --cascade=false`",
	},
	{
		"Argo CD, on the server",
		func(b *bench.Bench) {
			kubectl(b, traced("argocd.argoproj.io/instance: shop", ""), "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop)",
	},
	{
		"Argo CD, by the common label",
		func(b *bench.Bench) {
			kubectl(b, traced("app.kubernetes.io/instance: shop", ""), "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop)",
	},
	{
		"Flux over kubectl",
		func(b *bench.Bench) {
			kubectl(b, traced("", ""), "apply", "-f", "-")
			applyAs(b, "kustomize-controller", traced(fluxLabels, ""))
		},
		"it is managed by Flux (Kustomization flux-system/apps)",
	},
}

const helmLabel = "app.kubernetes.io/managed-by=Helm"

func TestObjectOfAnotherToolIsRefused(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			b := bench.New(t)
			tool.deploy(b)
			settled(b)
			before := b.Get(bench.Deployments, b.Namespace, "web").GetResourceVersion()
			_, err := trySyncFirst(b, webSet(b, ""))
			bench.WantError(t, err, "Deployment/"+b.Namespace+"/web: ", strings.ReplaceAll(tool.refuse, "$NS", b.Namespace))
			if _, ok := errors.AsType[*takeover.Error](err); !ok {
				t.Errorf("the error is %#v", err)
			}
			if after := b.Get(bench.Deployments, b.Namespace, "web").GetResourceVersion(); after != before {
				t.Errorf("it was written: %s, then %s", before, after)
			}
		})
	}
}

// settled waits until the Deployment's controller reports nothing more.
func settled(b *bench.Bench) {
	b.T.Helper()
	b.Eventually("the controller is done", func() bool {
		live := b.Get(bench.Deployments, b.Namespace, "web")
		conditions, _ := bench.Value(live, "status", "conditions").([]any)
		return bench.Value(live, "status", "observedGeneration") == live.GetGeneration() && slices.ContainsFunc(conditions, func(condition any) bool {
			fields, _ := condition.(map[string]any)
			return fields["reason"] == "NewReplicaSetAvailable"
		})
	})
}

// trySyncFirst is a sync that saves nothing when it fails.
func trySyncFirst(b *bench.Bench, set manifest.Set) (apply.Applied, error) {
	b.T.Helper()
	planned, err := pass.TryPlan(b, set)
	if err != nil {
		return apply.Applied{}, err
	}
	return apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
}

func TestAdoptedObjectHasOneOwner(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			b := bench.New(t)
			tool.deploy(b)
			settled(b)
			made := b.Get(bench.Deployments, b.Namespace, "web")
			set := webSet(b, adopt)

			planned := pass.Plan(b, set)
			if got := bench.Actions(planned.Changes()); got != "Update Deployment/web" {
				t.Fatalf("the plan: %s", got)
			}
			fields := planned.Changes()[0].Fields
			if now := b.Get(bench.Deployments, b.Namespace, "web").GetResourceVersion(); now != made.GetResourceVersion() {
				t.Error("the plan wrote the object")
			}
			pass.Sync(b, set)
			live := b.Get(bench.Deployments, b.Namespace, "web")
			if live.GetUID() != made.GetUID() {
				t.Error("it was made anew")
			}
			wantOnlyGit(b, live)
			// The result matches the plan.
			if got, want := paths(fields), paths(manifest.Diff(made, live, nil)); got != want {
				t.Errorf("the plan said %s\nand it was %s", got, want)
			}
			wantRest(b, set)

			pass.Sync(b, webSet(b, adopt, "env:", "team: data"))
			live = b.Get(bench.Deployments, b.Namespace, "web")
			if env := bench.Value(container(live), "env"); env != nil {
				t.Errorf("a field that git dropped is still there: %v", env)
			}
			if label := live.GetLabels()["team"]; label != "" {
				t.Errorf("a label that git dropped is still there: %v", label)
			}
			wantRest(b, webSet(b, adopt, "env:", "team: data"))
		})
	}
}

// wantRest checks that a set is in the cluster as it is, by a full comparison that writes nothing.
func wantRest(b *bench.Bench, set manifest.Set) {
	b.T.Helper()
	var planned *plan.Plan
	requests := b.Requests(func() { planned = pass.Plan(b, set, pass.Full) })
	for _, e := range requests {
		if bench.IsWrite(e) {
			b.T.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if got := bench.Actions(planned.Changes()); got != "" {
		b.T.Errorf("the second plan: %s %v", got, planned.Changes()[0].Fields)
	}
}

// wantOnlyGit checks that the Deployment matches git, and that syncer alone owns the fields of git.
func wantOnlyGit(b *bench.Bench, live *unstructured.Unstructured) {
	b.T.Helper()
	labels := live.GetLabels()
	delete(labels, v1alpha1.LabelMember)
	if len(labels) != 1 || labels["team"] != "data" {
		b.T.Errorf("its labels are %v", labels)
	}
	notes := live.GetAnnotations()
	delete(notes, "deployment.kubernetes.io/revision")
	if len(notes) != 1 || notes["syncer.dev/adopt"] != "enabled" {
		b.T.Errorf("its annotations are %v", notes)
	}
	if got := named(bench.Value(container(live), "env")); got != "MODE=ours" {
		b.T.Errorf("its variables are %s", got)
	}
	if got := named(bench.Value(container(live), "ports")); got != "http=" {
		b.T.Errorf("its ports are %s", got)
	}
	for _, entry := range live.GetManagedFields() {
		switch {
		case entry.Manager == manifest.FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply:
		case entry.Manager == "kube-controller-manager":
		default:
			b.T.Errorf("%s (%s) owns %s", entry.Manager, entry.Operation, entry.FieldsV1.GetRawString())
		}
	}
}

func container(deployment *unstructured.Unstructured) *unstructured.Unstructured {
	list, _ := bench.Value(deployment, "spec", "template", "spec", "containers").([]any)
	if len(list) != 1 {
		return nil
	}
	fields, _ := list[0].(map[string]any)
	return &unstructured.Unstructured{Object: fields}
}

// named writes a list of items with names and values.
func named(list any) string {
	items, _ := list.([]any)
	var out []string
	for _, item := range items {
		fields, _ := item.(map[string]any)
		name, _ := fields["name"].(string)
		text, _ := fields["value"].(string)
		out = append(out, name+"="+text)
	}
	return strings.Join(out, " ")
}

func paths(fields []manifest.FieldChange) string {
	var out []string
	for _, field := range fields {
		// Another manager than syncer writes it.
		if !strings.HasPrefix(field.Path, "status") && !strings.Contains(field.Path, "deployment.kubernetes.io/revision") {
			out = append(out, field.Path)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A field that another manager wrote on the tool's object stays, and keeps its owner.
func TestAdoptionLeavesOtherManagersTheirFields(t *testing.T) {
	b := bench.New(t)
	kubectl(b, traced("", ""), "apply", "-f", "-")
	patchAs(b, "kubectl-edit", bench.Deployments, "web", `{"metadata":{"annotations":{"person":"theirs"}},"spec":{"minReadySeconds":7}}`)
	patchAs(b, "autoscaler", bench.Deployments, "web", `{"spec":{"replicas":3}}`, "scale")
	patchAs(b, "kustomize-controller", bench.Deployments, "web", `{"status":{"conditions":[{"type":"Seen","status":"True"}]}}`, "status")
	pass.Sync(b, webSet(b, adopt, "replicas: 0"))

	live := b.Get(bench.Deployments, b.Namespace, "web")
	if got := bench.Value(live, "spec", "replicas"); got != int64(3) {
		t.Errorf("replicas are %v", got)
	}
	if got := bench.Value(live, "spec", "minReadySeconds"); got != int64(7) {
		t.Errorf("minReadySeconds is %v", got)
	}
	if got := live.GetAnnotations()["person"]; got != "theirs" {
		t.Errorf("the annotation is %q", got)
	}
	if live.GetAnnotations()["note"] != "" || live.GetLabels()["extra"] != "" {
		t.Error("what the tool set and git does not is still there")
	}
	for path, manager := range map[string]string{"spec.replicas": "autoscaler", "spec.minReadySeconds": "kubectl-edit", `metadata.annotations["person"]`: "kubectl-edit"} {
		parsed := bench.MustPath(path)
		if owner, _ := manifest.ManagerOf(live, parsed, manifest.FieldManager); owner.Name != manager {
			t.Errorf("%s is of %q", path, owner.Name)
		}
		if manifest.Owns(live, parsed, manifest.FieldManager) {
			t.Errorf("%s is syncer's", path)
		}
	}
	if !slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == "kustomize-controller" && e.Subresource == "status"
	}) {
		t.Error("the entry of the status is gone")
	}
	wantRest(b, webSet(b, adopt, "replicas: 0"))
}

// A field that an ignore rule leaves to others keeps the value that the tool gave it.
func TestAdoptionHonoursIgnoreRules(t *testing.T) {
	b := bench.New(t)
	kubectl(b, strings.ReplaceAll(traced("", ""), "replicas: 0", "replicas: 4"), "apply", "-f", "-")
	ignoring := func(req *plan.Request) {
		req.Policies.Ignore = []ignore.Rule{{Kind: "Deployment", Paths: []manifest.Path{bench.MustPath("spec.replicas")}}}
	}
	planned := pass.Plan(b, webSet(b, adopt), ignoring)
	if got := paths(planned.Changes()[0].Fields); strings.Contains(got, "replicas") {
		t.Errorf("the plan: %s", got)
	}
	if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	if got := bench.Value(b.Get(bench.Deployments, b.Namespace, "web"), "spec", "replicas"); got != int64(4) {
		t.Errorf("replicas are %v", got)
	}
}

// A process that is killed between the upgrade and the apply leaves an object that the next pass continues with, also when
// git has dropped the permission in between.
func TestInterruptedAdoptionHeals(t *testing.T) {
	for name, permission := range map[string]string{"with permission": adopt, "without": "other: note"} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			kubectl(b, traced(helmLabels, helmNotes), "apply", "-f", "-")
			b.Cluster = b.ConnectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return powerless{inner} })
			})
			planned := pass.Plan(b, webSet(b, adopt))
			if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); !errors.Is(err, errDied) {
				t.Fatalf("it did not die: %v", err)
			}
			live := b.Get(bench.Deployments, b.Namespace, "web")
			if live.GetLabels()[v1alpha1.LabelMember] != "" || manifest.OwnedFields(live, manifest.FieldManager) == "" {
				t.Fatalf("it died elsewhere: %v", live.GetManagedFields())
			}

			b.Restart()
			set := webSet(b, permission)
			pass.Sync(b, set)
			live = b.Get(bench.Deployments, b.Namespace, "web")
			if permission == adopt {
				wantOnlyGit(b, live)
			}
			if notes := live.GetAnnotations(); notes["note"] != "" || notes[lastApplied] != "" || live.GetLabels()["extra"] != "" {
				t.Errorf("what the tool set is still there: %v %v", live.GetLabels(), notes)
			}
			wantRest(b, set)
		})
	}
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

var errDied = errors.New("the power is gone")

// powerless passes all requests except the apply of a Deployment.
type powerless struct{ inner http.RoundTripper }

func (d powerless) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Content-Type") == string(types.ApplyPatchType) && strings.Contains(req.URL.Path, "/deployments/") && req.URL.Query().Get("dryRun") == "" {
		return nil, errDied
	}
	return d.inner.RoundTrip(req)
}

// An object that is written at the moment of its adoption is judged again.
func TestAdoptionOfAnObjectThatChanges(t *testing.T) {
	b := bench.New(t)
	kubectl(b, traced("", ""), "apply", "-f", "-")
	planned := pass.Plan(b, webSet(b, adopt))
	patchAs(b, "kubectl-edit", bench.Deployments, "web", `{"metadata":{"annotations":{"person":"theirs"}}}`)
	kubectl(b, strings.ReplaceAll(traced("", ""), "extra: theirs", "late: theirs"), "apply", "-f", "-")
	if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	live := b.Get(bench.Deployments, b.Namespace, "web")
	if got := live.GetAnnotations()["person"]; got != "theirs" {
		t.Errorf("the annotation is %q", got)
	}
	if labels := live.GetLabels(); labels["late"] != "" || labels["extra"] != "" {
		t.Errorf("its labels are %v", labels)
	}
}

// A member belongs to syncer, also if another tool applies it too.
func TestClientSideApplyOfAMemberIsDrift(t *testing.T) {
	b := bench.New(t)
	set := webSet(b, "note: ours")
	pass.Sync(b, set)
	kubectl(b, traced("", ""), "apply", "-f", "-")
	planned := pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "Update Deployment/web (drifted)" {
		t.Fatalf("the plan: %s", got)
	}
	pass.Sync(b, set)
	if got := b.Get(bench.Deployments, b.Namespace, "web").GetAnnotations()["note"]; got != "ours" {
		t.Errorf("the annotation is %q", got)
	}

	// This holds also when its label is gone, because the inventory has it.
	kubectl(b, "", "label", "deployment", "web", "-n", b.Namespace, v1alpha1.LabelMember+"-")
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Update Deployment/web (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

// Traces in git do not belong to a tool: a chart that was rendered in CI sets the label that Helm sets.
func TestObjectWithoutATraceIsTakenOver(t *testing.T) {
	for name, text := range map[string]string{
		"a chart's label":         "metadata: {name: found, namespace: $NS, labels: {app.kubernetes.io/managed-by: Helm, app.kubernetes.io/instance: shop}}\n",
		"nothing":                 "metadata: {name: found, namespace: $NS}\n",
		"a manager of a person's": "metadata: {name: found, namespace: $NS, annotations: {note: theirs}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\n"+text)
			pass.Sync(b, b.Set(bench.Settings("found", "ours")))
		})
	}
}

// An older version of a kind has fields under other paths. The adoption takes the fields with the same paths.
func TestAdoptionOfAnotherVersion(t *testing.T) {
	b := bench.New(t)
	kubectl(b, `apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: $NS, labels: {extra: theirs}}
spec: {minReplicas: 2, maxReplicas: 3, targetCPUUtilizationPercentage: 70, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`, "apply", "-f", "-")
	set := b.Set(`apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: $NS, annotations: {syncer.dev/adopt: enabled}}
spec:
  maxReplicas: 4
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`)
	pass.Sync(b, set)
	live := b.Get(autoscalers, b.Namespace, "web")
	if bench.Value(live, "spec", "minReplicas") != int64(1) || bench.Value(live, "spec", "maxReplicas") != int64(4) || live.GetLabels()["extra"] != "" {
		t.Errorf("it is %v", live.Object)
	}
	wantRest(b, set)
}

// The managed fields were cleared, so no manager owns the fields of the tool.
func TestAdoptionWithoutManagedFields(t *testing.T) {
	b := bench.New(t)
	kubectl(b, bench.Settings("found", "theirs"), "apply", "-f", "-")
	patchAs(b, "cleaner", bench.ConfigMaps, "found", `{"metadata":{"managedFields":[{}]}}`)
	if fields := b.Get(bench.ConfigMaps, b.Namespace, "found").GetManagedFields(); len(fields) > 0 {
		t.Fatalf("it has %v", fields)
	}
	_, err := pass.TryPlan(b, b.Set(bench.Settings("found", "ours")))
	bench.WantError(t, err, "it is managed by kubectl apply")

	set := b.Set(strings.Replace(bench.Settings("found", "ours"), "metadata: {", "metadata: {annotations: {"+adopt+"}, ", 1))
	pass.Sync(b, set)
	if notes := b.Get(bench.ConfigMaps, b.Namespace, "found").GetAnnotations(); notes[lastApplied] != "" {
		t.Errorf("its annotations are %v", notes)
	}
	wantRest(b, set)
}

// The annotation of kubectl contains the values of a Secret.
func TestAdoptionShowsNoSecret(t *testing.T) {
	b := bench.New(t)
	kubectl(b, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS}\nstringData: {a: canary-one, b: canary-two}\n", "apply", "-f", "-")
	set := b.Set("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS, annotations: {" + adopt + "}}\nstringData: {a: canary-three}\n")
	planned := pass.Plan(b, set)
	shown, err := json.Marshal(planned.Changes()[0].Fields)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(planned.Changes()[0].Fields); !strings.Contains(got, "data.a data.b") || strings.Contains(string(shown), "canary") || strings.Contains(string(shown), "Y2FuYXJ5") {
		t.Errorf("the plan shows %s", shown)
	}
	pass.Sync(b, set)
	if data, _ := bench.Value(b.Get(bench.Secrets, b.Namespace, "s"), "data").(map[string]any); len(data) != 1 {
		t.Errorf("it has %d values", len(data))
	}
}

// A running Job continues when it is adopted. A change of its pods waits for its end.
func TestAdoptionRespectsRunningWork(t *testing.T) {
	b := bench.New(t)
	kubectl(b, bench.Backfill("once", 60), "apply", "-f", "-")
	b.Eventually("it runs", func() bool {
		return bench.Value(b.Get(bench.Jobs, b.Namespace, "once"), "status", "active") == int64(1)
	})
	made := b.Get(bench.Jobs, b.Namespace, "once")
	allowed := strings.Replace(bench.Backfill("once", 60), "metadata: {name", "metadata: {annotations: {"+adopt+"}, name", 1)

	held := pass.Plan(b, b.Set(strings.Replace(allowed, "backfill:1", "backfill:2", 1)))
	if got := bench.Actions(held.Changes()); got != "Hold Job/once" {
		t.Errorf("the plan of another run: %s", got)
	}
	if _, err := apply.Carry(b.Ctx, b.Cluster, held, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	for _, entry := range b.Get(bench.Jobs, b.Namespace, "once").GetManagedFields() {
		if entry.Manager == manifest.FieldManager {
			t.Error("it was taken over while its change waits")
		}
	}

	pass.Sync(b, b.Set(allowed))
	live := b.Get(bench.Jobs, b.Namespace, "once")
	if live.GetUID() != made.GetUID() || live.GetGeneration() != made.GetGeneration() || live.GetAnnotations()[lastApplied] != "" {
		t.Errorf("it is %v", live.Object)
	}
	wantRest(b, b.Set(allowed))
}

// The objects that syncer installs for itself are its own, also where kubectl applied them before.
func TestInstallAdopts(t *testing.T) {
	b := bench.New(t)
	kubectl(b, bench.Settings("part", "theirs"), "apply", "-f", "-")
	if _, err := apply.Install(b.Ctx, b.Cluster, b.Set(bench.Settings("part", "ours"))); err != nil {
		t.Fatal(err)
	}
	live := b.Get(bench.ConfigMaps, b.Namespace, "part")
	if bench.Value(live, "data", "key") != "ours" || live.GetAnnotations()[lastApplied] != "" {
		t.Errorf("it is %v", live.Object)
	}
}
