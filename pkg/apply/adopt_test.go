package apply_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// service is a Deployment with lists of every kind that a change of hands could double.
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

// kubectl applies a document on the client's side, with the real program.
func (b *bench) kubectl(doc string, args ...string) {
	b.t.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	cmd := exec.CommandContext(b.ctx, filepath.Join(bin, "controlplane", "kubectl"), append([]string{"--kubeconfig", b.plane.Kubeconfig, "apply", "-f", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(doc, "$NS", b.namespace))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// applyAs server-side applies a document as another tool.
func (b *bench) applyAs(manager string, resource schema.GroupVersionResource, doc string) {
	b.t.Helper()
	obj := b.object(doc)
	body, err := obj.MarshalJSON()
	if err != nil {
		b.t.Fatal(err)
	}
	force := true
	if _, err := b.admin.Resource(resource).Namespace(b.namespace).Patch(b.ctx, obj.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &force}); err != nil {
		b.t.Fatal(err)
	}
}

// createAs creates an object as a tool that updates.
func (b *bench) createAs(manager string, resource schema.GroupVersionResource, doc string) {
	b.t.Helper()
	if _, err := b.admin.Resource(resource).Namespace(b.namespace).Create(b.ctx, b.object(doc), metav1.CreateOptions{FieldManager: manager}); err != nil {
		b.t.Fatal(err)
	}
}

func managers(obj *unstructured.Unstructured) string {
	var out []string
	for _, e := range obj.GetManagedFields() {
		out = append(out, e.Manager+" "+string(e.Operation)+" "+e.Subresource)
	}
	return strings.Join(out, ", ")
}

func TestObjectsOfOtherToolsAreAdopted(t *testing.T) {
	const zone, mode = `{name: TZ, value: UTC}`, `{name: MODE, value: fast}`
	for name, c := range map[string]struct {
		deploy func(*bench)
		want   []string // of the refusal
	}{
		"kubectl apply": {
			deploy: func(b *bench) { b.kubectl(service("", zone, mode)) },
			want:   []string{"managed by kubectl apply"},
		},
		"Helm": {
			deploy: func(b *bench) {
				b.createAs("helm", deployments, service(`, labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: shop}`, zone, mode))
			},
			want: []string{"managed by Helm (release shop)", "helm.sh/resource-policy: keep"},
		},
		"Flux": {
			deploy: func(b *bench) {
				b.applyAs("kustomize-controller", deployments, service(`, labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}`, zone, mode))
			},
			want: []string{"managed by Flux (apps)"},
		},
		"Argo CD": {
			deploy: func(b *bench) {
				b.applyAs("argocd-controller", deployments, service(`, annotations: {argocd.argoproj.io/tracking-id: "shop:apps/Deployment:x/web"}`, zone, mode))
			},
			want: []string{"managed by Argo CD (shop:apps/Deployment:x/web)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.deploy(b)
			// Somebody else owns a field that git does not set.
			b.edit(deployments, "web", `{"metadata": {"annotations": {"example.com/note": "mine"}}}`)

			_, err := b.trySyncOrPlan(b.set(service("", zone, mode)))
			if _, ok := errors.AsType[*apply.AdoptionError](err); !ok {
				t.Fatalf("not refused: %v", err)
			}
			wantError(t, err, append(c.want, "Deployment/"+b.namespace+"/web: ", "annotate it in git with syncer.dev/adopt: enabled")...)
			if got := managers(b.get(deployments, b.namespace, "web")); strings.Contains(got, "syncer") {
				t.Errorf("the refused object was written: %s", got)
			}

			const adopt = `, annotations: {syncer.dev/adopt: enabled}`
			set := b.set(service(adopt, zone, mode))
			b.sync(set)
			live := b.get(deployments, b.namespace, "web")
			if got := managers(live); strings.Count(got, "syncer Apply ") != 1 || strings.Contains(got, "helm") || strings.Contains(got, "controller Apply") || strings.Contains(got, "client-side") {
				t.Errorf("the managers are %s", got)
			}
			if got := len(manifest.Find(live.Object, mustPath("spec.template.spec.containers[name=main].env[*]"))); got != 2 {
				t.Errorf("there are %d variables", got)
			}
			for key := range live.GetAnnotations() {
				if strings.Contains(key, "last-applied") || strings.Contains(key, "helm") || strings.Contains(key, "argoproj") {
					t.Errorf("the annotation %s is still there", key)
				}
			}
			for key := range live.GetLabels() {
				if strings.Contains(key, "fluxcd") || strings.Contains(key, "managed-by") {
					t.Errorf("the label %s is still there", key)
				}
			}
			if live.GetAnnotations()["example.com/note"] != "mine" {
				t.Error("a field of somebody else is gone")
			}
			b.sync(set)
			b.nothingToDo(set)

			// What git drops now really goes.
			b.sync(b.set(service(adopt, zone)))
			live = b.get(deployments, b.namespace, "web")
			if got := len(manifest.Find(live.Object, mustPath("spec.template.spec.containers[name=main].env[*]"))); got != 1 {
				t.Errorf("there are %d variables when git has one", got)
			}
		})
	}
}

// trySyncOrPlan gives the error of whichever comes first.
func (b *bench) trySyncOrPlan(set manifest.Set) (apply.Applied, error) {
	b.t.Helper()
	if _, err := b.tryPlan(set); err != nil {
		return apply.Applied{}, err
	}
	return b.trySync(set)
}

func mustPath(text string) manifest.Path {
	path, err := manifest.ParsePath(text)
	if err != nil {
		panic(err)
	}
	return path
}

// Another tool's write to an object that is syncer's already is drift, and no reason to refuse it.
func TestOwnObjectThatSomebodyAppliesIsDrift(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("one", "1"))
	b.sync(set)
	b.kubectl("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: $NS}\ndata: {key: other}\n")
	if got := actions(b.plan(set).Changes); got != "Update ConfigMap/one (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

// Killed between taking the fields over and the apply, the next pass goes on.
func TestAdoptionSurvivesACrash(t *testing.T) {
	b := newBench(t)
	b.kubectl(service("", `{name: TZ, value: UTC}`, `{name: MODE, value: fast}`))
	set := b.set(service(`, annotations: {syncer.dev/adopt: enabled}`, `{name: TZ, value: UTC}`))
	whole := b.cluster
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return &afterFirst{inner: inner, method: http.MethodPatch, path: "/deployments/web"}
		})
	})
	if _, err := b.cluster.Apply(b.ctx, b.plan(set), b.spec()); err == nil {
		t.Fatal("nothing died")
	}
	if got := managers(b.get(deployments, b.namespace, "web")); !strings.Contains(got, "syncer Apply") {
		t.Fatalf("it died too early: %s", got)
	}
	b.cluster = whole
	b.sync(set)
	b.sync(set)
	b.nothingToDo(set)
	if got := len(manifest.Find(b.get(deployments, b.namespace, "web").Object, mustPath("spec.template.spec.containers[name=main].env[*]"))); got != 1 {
		t.Errorf("there are %d variables when git has one", got)
	}
}

// afterFirst is a network that dies after the first real write of an object.
type afterFirst struct {
	inner        http.RoundTripper
	method, path string
	writes       atomic.Int32
}

func (a *afterFirst) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == a.method && strings.HasSuffix(req.URL.Path, a.path) && req.URL.Query().Get("dryRun") == "" && a.writes.Add(1) > 1 {
		return nil, errors.New("the network says no")
	}
	return a.inner.RoundTrip(req)
}
