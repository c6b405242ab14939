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
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/takeover"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	autoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
)

// service is a Deployment with every kind of list that a change of ownership could duplicate.
func service(metadata string, env ...string) string {
	return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS` + metadata + `}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
        ports: [{containerPort: 80}]
        env: [` + strings.Join(env, ", ") + `]
`
}

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
func (b *bench) web(permission string, less ...string) manifest.Set {
	var kept []string
	for line := range strings.Lines(strings.ReplaceAll(ourWeb, "ADOPT", permission)) {
		if !slices.ContainsFunc(less, func(text string) bool { return strings.Contains(line, text) }) {
			kept = append(kept, line)
		}
	}
	return b.set(strings.Join(kept, ""))
}

func traced(labels, annotations string) string {
	return strings.NewReplacer("TRACELABELS", labels, "TRACEANNOTATIONS", annotations).Replace(theirWeb)
}

func mustPath(text string) manifest.Path {
	path, err := manifest.ParsePath(text)
	if err != nil {
		panic(err)
	}
	return path
}

// kubectl runs the real kubectl with a manifest on its standard input.
func (b *bench) kubectl(text string, args ...string) {
	b.t.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	cmd := exec.CommandContext(b.ctx, filepath.Join(bin, "controlplane", "kubectl"), append([]string{"--kubeconfig", b.plane.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(text, "$NS", b.namespace))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// createAs creates an object as a client that creates and updates.
func (b *bench) createAs(manager, text string) {
	b.t.Helper()
	obj := b.object(text)
	if _, err := b.admin.Resource(deployments).Namespace(b.namespace).Create(b.ctx, obj, metav1.CreateOptions{FieldManager: manager}); err != nil {
		b.t.Fatal(err)
	}
}

// applyAs applies an object on the server as another client does.
func (b *bench) applyAs(manager, text string) {
	b.t.Helper()
	obj := b.object(text)
	if _, err := b.admin.Resource(deployments).Namespace(b.namespace).Apply(b.ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
		b.t.Fatal(err)
	}
}

// patchAs writes an object with a merge patch, as the given manager.
func (b *bench) patchAs(manager string, resource schema.GroupVersionResource, name, patch string, subresources ...string) {
	b.t.Helper()
	_, err := b.admin.Resource(resource).Namespace(b.namespace).Patch(b.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresources...)
	if err != nil {
		b.t.Fatal(err)
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
	deploy func(*bench)
	refuse string // a part of the refusal's text
}{
	{
		"kubectl apply",
		func(b *bench) { b.kubectl(traced("", ""), "apply", "-f", "-") },
		"it is managed by kubectl apply, so orders@prod does not take it; stop applying it with kubectl, then annotate it in git with `syncer.dev/adopt: enabled`",
	},
	{
		"kubectl create, then apply",
		func(b *bench) {
			first := strings.ReplaceAll(traced("", ""), "v1\n        env", "v0\n        env")
			b.kubectl(first, "create", "--save-config", "-f", "-")
			b.kubectl(traced("", ""), "apply", "-f", "-")
		},
		"it is managed by kubectl apply, so",
	},
	{
		"kubectl apply, then marked for Helm by hand",
		func(b *bench) {
			b.kubectl(traced("", ""), "apply", "-f", "-")
			b.kubectl(traced("", ""), "annotate", "deployment", "web", "-n", b.namespace, "meta.helm.sh/release-name=shop", "meta.helm.sh/release-namespace="+b.namespace)
			b.kubectl(traced("", ""), "label", "deployment", "web", "-n", b.namespace, helmLabel)
		},
		"it is managed by Helm (release $NS/shop)",
	},
	{
		"Helm",
		func(b *bench) {
			b.createAs("helm", strings.ReplaceAll(traced(helmLabels, helmNotes), "value: theirs", "value: first"))
			b.patchAs("helm", deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example.com/web:v1",
				"env":[{"name":"MODE","value":"theirs"},{"name":"OLD","value":"theirs"}],
				"ports":[{"containerPort":8080,"name":"http"},{"containerPort":9090,"name":"old"}]}]}}}}`)
		},
		"it is managed by Helm (release $NS/shop), so orders@prod does not take it; delete the records of the release, not the release (`kubectl -n $NS delete secret -l owner=helm,name=shop`)",
	},
	{
		"Helm 4, on the server",
		func(b *bench) { b.applyAs("helm", traced(helmLabels, helmNotes)) },
		"it is managed by Helm (release $NS/shop)",
	},
	{
		"Flux Kustomization",
		func(b *bench) { b.applyAs("kustomize-controller", traced(fluxLabels, "")) },
		"it is managed by Flux (Kustomization flux-system/apps), so orders@prod does not take it; set `prune: false` in the Kustomization",
	},
	{
		"Flux HelmRelease",
		func(b *bench) {
			b.createAs("helm-controller", traced(helmLabels+", helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system", helmNotes))
		},
		"it is managed by Flux (HelmRelease flux-system/shop), so orders@prod does not take it; suspend the HelmRelease before it is deleted (`flux -n flux-system suspend helmrelease shop`)",
	},
	{
		"Argo CD",
		func(b *bench) {
			b.kubectl(traced("", argoNotes), "apply", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop), so orders@prod does not take it; take it out of the Application without deleting it (`argocd app delete shop --cascade=false`",
	},
	{
		"Argo CD, on the server",
		func(b *bench) {
			b.kubectl(traced("argocd.argoproj.io/instance: shop", ""), "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop)",
	},
	{
		"Argo CD, by the common label",
		func(b *bench) {
			b.kubectl(traced("app.kubernetes.io/instance: shop", ""), "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
		},
		"it is managed by Argo CD (Application shop)",
	},
	{
		"Flux over kubectl",
		func(b *bench) {
			b.kubectl(traced("", ""), "apply", "-f", "-")
			b.applyAs("kustomize-controller", traced(fluxLabels, ""))
		},
		"it is managed by Flux (Kustomization flux-system/apps)",
	},
}

const helmLabel = "app.kubernetes.io/managed-by=Helm"

func TestObjectOfAnotherToolIsRefused(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			b := newBench(t)
			tool.deploy(b)
			b.settled()
			before := b.get(deployments, b.namespace, "web").GetResourceVersion()
			_, err := b.trySyncFirst(b.web(""))
			wantError(t, err, "Deployment/"+b.namespace+"/web: ", strings.ReplaceAll(tool.refuse, "$NS", b.namespace))
			if _, ok := errors.AsType[*takeover.Error](err); !ok {
				t.Errorf("the error is %#v", err)
			}
			if after := b.get(deployments, b.namespace, "web").GetResourceVersion(); after != before {
				t.Errorf("it was written: %s, then %s", before, after)
			}
		})
	}
}

// settled waits until the Deployment's controller reports nothing more.
func (b *bench) settled() {
	b.t.Helper()
	b.eventually("the controller is done", func() bool {
		live := b.get(deployments, b.namespace, "web")
		conditions, _ := value(live, "status", "conditions").([]any)
		return value(live, "status", "observedGeneration") == live.GetGeneration() && slices.ContainsFunc(conditions, func(condition any) bool {
			fields, _ := condition.(map[string]any)
			return fields["reason"] == "NewReplicaSetAvailable"
		})
	})
}

// trySyncFirst is a sync that saves nothing when it fails.
func (b *bench) trySyncFirst(set manifest.Set) (apply.Applied, error) {
	b.t.Helper()
	planned, err := b.tryPlan(set)
	if err != nil {
		return apply.Applied{}, err
	}
	return apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
}

func TestAdoptedObjectHasOneOwner(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			b := newBench(t)
			tool.deploy(b)
			b.settled()
			made := b.get(deployments, b.namespace, "web")
			set := b.web(adopt)

			planned := b.plan(set)
			if got := actions(planned.Changes()); got != "Update Deployment/web" {
				t.Fatalf("the plan: %s", got)
			}
			fields := planned.Changes()[0].Fields
			if now := b.get(deployments, b.namespace, "web").GetResourceVersion(); now != made.GetResourceVersion() {
				t.Error("the plan wrote the object")
			}
			b.sync(set)
			live := b.get(deployments, b.namespace, "web")
			if live.GetUID() != made.GetUID() {
				t.Error("it was made anew")
			}
			b.wantOnlyGit(live)
			// The result matches the plan.
			if got, want := paths(fields), paths(manifest.Diff(made, live, nil)); got != want {
				t.Errorf("the plan said %s\nand it was %s", got, want)
			}
			b.wantRest(set)

			b.sync(b.web(adopt, "env:", "team: data"))
			live = b.get(deployments, b.namespace, "web")
			if env := value(container(live), "env"); env != nil {
				t.Errorf("a field that git dropped is still there: %v", env)
			}
			if label := live.GetLabels()["team"]; label != "" {
				t.Errorf("a label that git dropped is still there: %v", label)
			}
			b.wantRest(b.web(adopt, "env:", "team: data"))
		})
	}
}

// wantRest checks that a set is in the cluster as it is, by a full comparison that writes nothing.
func (b *bench) wantRest(set manifest.Set) {
	b.t.Helper()
	var planned *plan.Plan
	requests := b.requests(func() { planned = b.plan(set, full) })
	for _, e := range requests {
		if isWrite(e) {
			b.t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if got := actions(planned.Changes()); got != "" {
		b.t.Errorf("the second plan: %s %v", got, planned.Changes()[0].Fields)
	}
}

// wantOnlyGit checks that the Deployment matches git, and that syncer alone owns the fields of git.
func (b *bench) wantOnlyGit(live *unstructured.Unstructured) {
	b.t.Helper()
	labels := live.GetLabels()
	delete(labels, partOf)
	if len(labels) != 1 || labels["team"] != "data" {
		b.t.Errorf("its labels are %v", labels)
	}
	notes := live.GetAnnotations()
	delete(notes, "deployment.kubernetes.io/revision")
	if len(notes) != 1 || notes["syncer.dev/adopt"] != "enabled" {
		b.t.Errorf("its annotations are %v", notes)
	}
	if got := named(value(container(live), "env")); got != "MODE=ours" {
		b.t.Errorf("its variables are %s", got)
	}
	if got := named(value(container(live), "ports")); got != "http=" {
		b.t.Errorf("its ports are %s", got)
	}
	for _, entry := range live.GetManagedFields() {
		switch {
		case entry.Manager == manifest.FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply:
		case entry.Manager == "kube-controller-manager":
		default:
			b.t.Errorf("%s (%s) owns %s", entry.Manager, entry.Operation, entry.FieldsV1.GetRawString())
		}
	}
}

func container(deployment *unstructured.Unstructured) *unstructured.Unstructured {
	list, _ := value(deployment, "spec", "template", "spec", "containers").([]any)
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
	b := newBench(t)
	b.kubectl(traced("", ""), "apply", "-f", "-")
	b.patchAs("kubectl-edit", deployments, "web", `{"metadata":{"annotations":{"person":"theirs"}},"spec":{"minReadySeconds":7}}`)
	b.patchAs("autoscaler", deployments, "web", `{"spec":{"replicas":3}}`, "scale")
	b.patchAs("kustomize-controller", deployments, "web", `{"status":{"conditions":[{"type":"Seen","status":"True"}]}}`, "status")
	b.sync(b.web(adopt, "replicas: 0"))

	live := b.get(deployments, b.namespace, "web")
	if got := value(live, "spec", "replicas"); got != int64(3) {
		t.Errorf("replicas are %v", got)
	}
	if got := value(live, "spec", "minReadySeconds"); got != int64(7) {
		t.Errorf("minReadySeconds is %v", got)
	}
	if got := live.GetAnnotations()["person"]; got != "theirs" {
		t.Errorf("the annotation is %q", got)
	}
	if live.GetAnnotations()["note"] != "" || live.GetLabels()["extra"] != "" {
		t.Error("what the tool set and git does not is still there")
	}
	for path, manager := range map[string]string{"spec.replicas": "autoscaler", "spec.minReadySeconds": "kubectl-edit", `metadata.annotations["person"]`: "kubectl-edit"} {
		parsed := mustPath(path)
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
	b.wantRest(b.web(adopt, "replicas: 0"))
}

// A field that an ignore rule leaves to others keeps the value that the tool gave it.
func TestAdoptionHonoursIgnoreRules(t *testing.T) {
	b := newBench(t)
	b.kubectl(strings.ReplaceAll(traced("", ""), "replicas: 0", "replicas: 4"), "apply", "-f", "-")
	ignoring := func(req *plan.Request) {
		req.Policies.Ignore = []ignore.Rule{{Kind: "Deployment", Paths: []manifest.Path{mustPath("spec.replicas")}}}
	}
	planned := b.plan(b.web(adopt), ignoring)
	if got := paths(planned.Changes()[0].Fields); strings.Contains(got, "replicas") {
		t.Errorf("the plan: %s", got)
	}
	if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	if got := value(b.get(deployments, b.namespace, "web"), "spec", "replicas"); got != int64(4) {
		t.Errorf("replicas are %v", got)
	}
}

// A process that is killed between the upgrade and the apply leaves an object that the next pass continues with, also when
// git has dropped the permission in between.
func TestInterruptedAdoptionHeals(t *testing.T) {
	for name, permission := range map[string]string{"with permission": adopt, "without": "other: note"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.kubectl(traced(helmLabels, helmNotes), "apply", "-f", "-")
			b.cluster = b.connectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return powerless{inner} })
			})
			planned := b.plan(b.web(adopt))
			if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); !errors.Is(err, errDied) {
				t.Fatalf("it did not die: %v", err)
			}
			live := b.get(deployments, b.namespace, "web")
			if live.GetLabels()[partOf] != "" || manifest.OwnedFields(live, manifest.FieldManager) == "" {
				t.Fatalf("it died elsewhere: %v", live.GetManagedFields())
			}

			b.restart()
			set := b.web(permission)
			b.sync(set)
			live = b.get(deployments, b.namespace, "web")
			if permission == adopt {
				b.wantOnlyGit(live)
			}
			if notes := live.GetAnnotations(); notes["note"] != "" || notes[lastApplied] != "" || live.GetLabels()["extra"] != "" {
				t.Errorf("what the tool set is still there: %v %v", live.GetLabels(), notes)
			}
			b.wantRest(set)
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
	b := newBench(t)
	b.kubectl(traced("", ""), "apply", "-f", "-")
	planned := b.plan(b.web(adopt))
	b.patchAs("kubectl-edit", deployments, "web", `{"metadata":{"annotations":{"person":"theirs"}}}`)
	b.kubectl(strings.ReplaceAll(traced("", ""), "extra: theirs", "late: theirs"), "apply", "-f", "-")
	if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	live := b.get(deployments, b.namespace, "web")
	if got := live.GetAnnotations()["person"]; got != "theirs" {
		t.Errorf("the annotation is %q", got)
	}
	if labels := live.GetLabels(); labels["late"] != "" || labels["extra"] != "" {
		t.Errorf("its labels are %v", labels)
	}
}

// A member belongs to syncer, also if another tool applies it too.
func TestClientSideApplyOfAMemberIsDrift(t *testing.T) {
	b := newBench(t)
	set := b.web("note: ours")
	b.sync(set)
	b.kubectl(traced("", ""), "apply", "-f", "-")
	planned := b.plan(set)
	if got := actions(planned.Changes()); got != "Update Deployment/web (drifted)" {
		t.Fatalf("the plan: %s", got)
	}
	b.sync(set)
	if got := b.get(deployments, b.namespace, "web").GetAnnotations()["note"]; got != "ours" {
		t.Errorf("the annotation is %q", got)
	}

	// This holds also when its label is gone, because the inventory has it.
	b.kubectl("", "label", "deployment", "web", "-n", b.namespace, partOf+"-")
	if got := actions(b.plan(set).Changes()); got != "Update Deployment/web (drifted)" {
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
			b := newBench(t)
			b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\n"+text)
			b.sync(b.set(settings("found", "ours")))
		})
	}
}

// An older version of a kind has fields under other paths. The adoption takes the fields with the same paths.
func TestAdoptionOfAnotherVersion(t *testing.T) {
	b := newBench(t)
	b.kubectl(`apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: $NS, labels: {extra: theirs}}
spec: {minReplicas: 2, maxReplicas: 3, targetCPUUtilizationPercentage: 70, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`, "apply", "-f", "-")
	set := b.set(`apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: $NS, annotations: {syncer.dev/adopt: enabled}}
spec:
  maxReplicas: 4
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`)
	b.sync(set)
	live := b.get(autoscalers, b.namespace, "web")
	if value(live, "spec", "minReplicas") != int64(1) || value(live, "spec", "maxReplicas") != int64(4) || live.GetLabels()["extra"] != "" {
		t.Errorf("it is %v", live.Object)
	}
	b.wantRest(set)
}

// The managed fields were cleared, so no manager owns the fields of the tool.
func TestAdoptionWithoutManagedFields(t *testing.T) {
	b := newBench(t)
	b.kubectl(settings("found", "theirs"), "apply", "-f", "-")
	b.patchAs("cleaner", configMaps, "found", `{"metadata":{"managedFields":[{}]}}`)
	if fields := b.get(configMaps, b.namespace, "found").GetManagedFields(); len(fields) > 0 {
		t.Fatalf("it has %v", fields)
	}
	_, err := b.tryPlan(b.set(settings("found", "ours")))
	wantError(t, err, "it is managed by kubectl apply")

	set := b.set(strings.Replace(settings("found", "ours"), "metadata: {", "metadata: {annotations: {"+adopt+"}, ", 1))
	b.sync(set)
	if notes := b.get(configMaps, b.namespace, "found").GetAnnotations(); notes[lastApplied] != "" {
		t.Errorf("its annotations are %v", notes)
	}
	b.wantRest(set)
}

// The annotation of kubectl contains the values of a Secret.
func TestAdoptionShowsNoSecret(t *testing.T) {
	b := newBench(t)
	b.kubectl("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS}\nstringData: {a: canary-one, b: canary-two}\n", "apply", "-f", "-")
	set := b.set("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS, annotations: {" + adopt + "}}\nstringData: {a: canary-three}\n")
	planned := b.plan(set)
	shown, err := json.Marshal(planned.Changes()[0].Fields)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(planned.Changes()[0].Fields); !strings.Contains(got, "data.a data.b") || strings.Contains(string(shown), "canary") || strings.Contains(string(shown), "Y2FuYXJ5") {
		t.Errorf("the plan shows %s", shown)
	}
	b.sync(set)
	if data, _ := value(b.get(secrets, b.namespace, "s"), "data").(map[string]any); len(data) != 1 {
		t.Errorf("it has %d values", len(data))
	}
}

// A running Job continues when it is adopted. A change of its pods waits for its end.
func TestAdoptionRespectsRunningWork(t *testing.T) {
	b := newBench(t)
	b.kubectl(backfill("once", 60), "apply", "-f", "-")
	b.eventually("it runs", func() bool { return value(b.get(jobs, b.namespace, "once"), "status", "active") == int64(1) })
	made := b.get(jobs, b.namespace, "once")
	allowed := strings.Replace(backfill("once", 60), "metadata: {name", "metadata: {annotations: {"+adopt+"}, name", 1)

	held := b.plan(b.set(strings.Replace(allowed, "backfill:1", "backfill:2", 1)))
	if got := actions(held.Changes()); got != "Hold Job/once" {
		t.Errorf("the plan of another run: %s", got)
	}
	if _, err := apply.Carry(b.ctx, b.cluster, held, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	for _, entry := range b.get(jobs, b.namespace, "once").GetManagedFields() {
		if entry.Manager == manifest.FieldManager {
			t.Error("it was taken over while its change waits")
		}
	}

	b.sync(b.set(allowed))
	live := b.get(jobs, b.namespace, "once")
	if live.GetUID() != made.GetUID() || live.GetGeneration() != made.GetGeneration() || live.GetAnnotations()[lastApplied] != "" {
		t.Errorf("it is %v", live.Object)
	}
	b.wantRest(b.set(allowed))
}

// The objects that syncer installs for itself are its own, also where kubectl applied them before.
func TestInstallAdopts(t *testing.T) {
	b := newBench(t)
	b.kubectl(settings("part", "theirs"), "apply", "-f", "-")
	if _, err := apply.Install(b.ctx, b.cluster, b.set(settings("part", "ours"))); err != nil {
		t.Fatal(err)
	}
	live := b.get(configMaps, b.namespace, "part")
	if value(live, "data", "key") != "ours" || live.GetAnnotations()[lastApplied] != "" {
		t.Errorf("it is %v", live.Object)
	}
}
