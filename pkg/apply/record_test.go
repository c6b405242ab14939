package apply_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

const kindsAnnotation = "applyset.kubernetes.io/contains-group-kinds"

func (b *bench) pinned() v1alpha1.PipelineSyncSpec {
	spec := b.spec()
	spec.Images = []v1alpha1.PinnedImage{{
		Reference: "registry.example.com/orders:1.4", Digest: "sha256:" + strings.Repeat("ab", 32),
		ResolvedAt: metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Commit: "c0ffee",
	}}
	return spec
}

// dying is a transport that ends a context, as a kill does, at the first real write of a kind. After that it passes nothing.
type dying struct {
	inner    http.RoundTripper
	resource string
	cancel   context.CancelFunc
	dead     atomic.Bool
}

func (d *dying) RoundTrip(req *http.Request) (*http.Response, error) {
	write := req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == ""
	if d.dead.Load() || write && strings.Contains(req.URL.Path, "/"+d.resource+"/") {
		d.dead.Store(true)
		d.cancel()
		return nil, context.Canceled
	}
	return d.inner.RoundTrip(req)
}

func TestPinsAreWrittenBeforeTheFirstObject(t *testing.T) {
	b := newBench(t)
	first := b.set(settings("old", "1"))
	b.sync(first)
	ctx, kill := context.WithCancel(b.ctx)
	mortal := b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return &dying{inner: inner, resource: "configmaps", cancel: kill}
		})
	})
	set := b.set(join(settings("a", "1"), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n"))
	planned, err := plan.Make(ctx, mortal, requestOf(b, set, b.record()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply.Carry(ctx, mortal, planned, apply.Options{Spec: b.pinned()}); !errors.Is(err, context.Canceled) {
		t.Fatalf("the apply was not cut: %v", err)
	}
	if b.get(configMaps, b.namespace, "a") != nil {
		t.Fatal("the object was written")
	}
	record := b.record()
	if diff := cmp.Diff(b.pinned().Images, record.Spec.Images); diff != "" {
		t.Errorf("the pins (-want +got):\n%s", diff)
	}
	if got := record.Annotations[kindsAnnotation]; got != "ConfigMap,ServiceAccount" {
		t.Errorf("the record names the kinds %s", got)
	}
	if got := inventoryNames(record.Status.Inventory); got != "ConfigMap/old" {
		t.Errorf("the inventory: %s", got)
	}

	// The next pass finds the objects that this one wrote, including a kind that the inventory does not name.
	planned = b.plan(first)
	if got := actions(planned.Changes()); got != "Prune ServiceAccount/runner" {
		t.Errorf("the way back: %s", got)
	}
	planned = b.plan(set)
	if got := actions(planned.Changes()); got != "Create ConfigMap/a, Prune ConfigMap/old" {
		t.Errorf("the way on: %s", got)
	}
}

func TestSpecAndStatusAreWrittenApart(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	status := v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c0ffee", Inventory: b.record().Status.Inventory}
	if _, err := b.cluster.Records().SaveStatus(b.ctx, b.target, status, ""); err != nil {
		t.Fatal(err)
	}
	before := b.record()
	applied, err := apply.Carry(b.ctx, b.cluster, b.plan(set), apply.Options{Spec: b.pinned()})
	if err != nil {
		t.Fatal(err)
	}
	after := b.record()
	unread := cmpopts.IgnoreFields(v1alpha1.PipelineSyncStatus{}, "ConfirmedApply") // it shows the reader that an apply was begun
	unsure := cmpopts.IgnoreFields(v1alpha1.InventoryEntry{}, "Unconfirmed")
	if diff := cmp.Diff(before.Status, after.Status, unread, unsure); diff != "" {
		t.Errorf("writing the spec changed the status:\n%s", diff)
	}
	if applied.Record.Generation != after.Generation || after.Generation != before.Generation+1 {
		t.Errorf("generation %d after %d, the apply says %d", after.Generation, before.Generation, applied.Record.Generation)
	}
	if _, err := b.cluster.Records().SaveStatus(b.ctx, b.target, v1alpha1.PipelineSyncStatus{LastAppliedCommit: "beef"}, ""); err != nil {
		t.Fatal(err)
	}
	last := b.record()
	if diff := cmp.Diff(after.Spec, last.Spec); diff != "" {
		t.Errorf("writing the status changed the spec:\n%s", diff)
	}
	if diff := cmp.Diff(after.Annotations, last.Annotations); diff != "" {
		t.Errorf("writing the status changed the annotations:\n%s", diff)
	}
	if last.Status.LastAppliedCommit != "beef" || last.Status.Inventory != nil || last.Generation != after.Generation {
		t.Errorf("the status is %+v in generation %d", last.Status, last.Generation)
	}
}

func TestAccountLeavesTheRecord(t *testing.T) {
	for name, created := range map[string]bool{"of a first deployment": false, "that a create owns": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			spec := b.spec()
			spec.ServiceAccount = "team/deployer"
			if created {
				record := b.object("apiVersion: syncer.dev/v1alpha1\nkind: PipelineSync\nmetadata: {name: orders.prod}\nspec: {owner: test, pipeline: orders, environment: prod, serviceAccount: team/deployer, source: {url: x, commit: c0ffee}}\n")
				if _, err := b.admin.Resource(records).Namespace(b.records).Create(b.ctx, record, metav1.CreateOptions{FieldManager: manifest.FieldManager}); err != nil {
					t.Fatal(err)
				}
			}
			for i, c := range []struct {
				spec v1alpha1.PipelineSyncSpec
				want string
			}{{spec, "team/deployer"}, {b.spec(), ""}, {b.spec(), ""}, {spec, "team/deployer"}} {
				if _, err := apply.Carry(b.ctx, b.cluster, b.plan(b.set(settings("one", fmt.Sprint(i)))), apply.Options{Spec: c.spec}); err != nil {
					t.Fatal(err)
				}
				if got := b.record().Spec.ServiceAccount; got != c.want {
					t.Errorf("after %d deployments, the record says account %q", i+1, got)
				}
			}
		})
	}
}

func TestRecordIsAnApplySetParent(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("a", "1"), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n")))
	record := b.get(records, b.records, "orders.prod")

	// KEP-3659: applyset-<base64(sha256(<name>.<namespace>.<kind>.<group>))>-v1, in the URL alphabet without padding.
	sum := sha256.Sum256([]byte("orders.prod." + b.records + ".PipelineSync.syncer.dev"))
	id := "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
	if got := record.GetLabels()["applyset.kubernetes.io/id"]; got != id {
		t.Errorf("the parent's ID is %s, want %s", got, id)
	}
	if got := b.get(configMaps, b.namespace, "a").GetLabels()["applyset.kubernetes.io/part-of"]; got != id {
		t.Errorf("the member is part of %s, want %s", got, id)
	}
	if got := record.GetAnnotations()[kindsAnnotation]; got != "ConfigMap,CronJob.batch" {
		t.Errorf("it contains the kinds %s", got)
	}
	if got, _, ok := strings.Cut(record.GetAnnotations()["applyset.kubernetes.io/tooling"], "/"); got != "syncer" || !ok {
		t.Errorf("the tooling is %q", record.GetAnnotations()["applyset.kubernetes.io/tooling"])
	}
}

// kubectl checks ID, tooling and kinds of a parent before it prunes by it.
func TestKubectlReadsTheApplySet(t *testing.T) {
	b := newBench(t)
	b.records = b.namespace // kubectl prunes only in the namespace of the parent
	b.restart()
	b.sync(b.set(join(settings("kept", "1"), settings("dropped", "1"))))
	kubectl := func(args ...string) (string, error) {
		bin := os.Getenv("SYNCER_BIN")
		if bin == "" {
			bin = filepath.Join("..", "..", "bin")
		}
		cmd := exec.CommandContext(b.ctx, filepath.Join(bin, "controlplane", "kubectl"), args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+b.plane.Kubeconfig, "KUBECTL_APPLYSET=true")
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(settings("kept", "1"), "$NS", b.namespace))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	apply := []string{"apply", "--server-side", "--prune", "--applyset=pipelinesyncs.syncer.dev/orders.prod", "-n", b.records, "--dry-run=server", "-f", "-"}
	out, err := kubectl(apply...)
	if err == nil || !strings.Contains(out, `is managed by tooling "syncer"`) {
		t.Fatalf("kubectl took over syncer's ApplySet: %v\n%s", err, out)
	}
	// If the tooling is kubectl's, all other requirements are met.
	_, err = b.admin.Resource(records).Namespace(b.records).Patch(b.ctx, "orders.prod", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"applyset.kubernetes.io/tooling":"kubectl/v1.36"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err = kubectl(apply...)
	if err != nil || !strings.Contains(out, "configmap/dropped pruned") {
		t.Errorf("kubectl does not find the members: %v\n%s", err, out)
	}
}

func TestRecordsNeedAnInstallation(t *testing.T) {
	b := newBench(t)
	t.Run("namespace", func(t *testing.T) {
		server, err := cluster.Connect(cluster.Options{Kubeconfig: b.plane.Kubeconfig, Namespace: "nowhere"})
		if err != nil {
			t.Fatal(err)
		}
		planned, err := plan.Make(b.ctx, server, requestOf(b, b.set(settings("a", "1")), nil))
		if err != nil {
			t.Fatal(err)
		}
		_, err = apply.Carry(b.ctx, server, planned, apply.Options{Spec: b.spec()})
		wantError(t, err, "orders@prod", "namespace nowhere is not there; run `syncer install`")
		if b.get(configMaps, b.namespace, "a") != nil {
			t.Error("the object was written all the same")
		}
		_, err = plan.Make(b.ctx, server, requestOf(b, b.set("apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\n"), nil))
		wantError(t, err, "nowhere", "run `syncer install`")
	})
	t.Run("definition", func(t *testing.T) {
		// The other requests need the record's kind: this client requests a path that the server does not have.
		server := b.connectBy(func(config *rest.Config) {
			config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return without{inner} })
		})
		if _, err := server.Records().Get(b.ctx, b.target); !errors.Is(err, cluster.ErrNotInstalled) {
			t.Errorf("Record: %v", err)
		}
		if _, err := server.Records().List(b.ctx); !errors.Is(err, cluster.ErrNotInstalled) {
			t.Errorf("Records: %v", err)
		}
		if _, err := server.Records().SaveStatus(b.ctx, b.target, v1alpha1.PipelineSyncStatus{}, ""); !errors.Is(err, cluster.ErrNotInstalled) {
			t.Errorf("SaveStatus: %v", err)
		}
	})
}

// without sends every request for the record's group to a group that the real API server does not have.
type without struct{ inner http.RoundTripper }

func (w without) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Path = strings.Replace(req.URL.Path, "/apis/syncer.dev/", "/apis/gone.syncer.dev/", 1)
	return w.inner.RoundTrip(req)
}

func TestRecordsListsEveryOwner(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"zebra", "ant"} {
		o := b.other(name)
		o.sync(o.set(settings(name, "1")))
	}
	all, err := b.cluster.Records().List(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Name != "ant.prod" || all[1].Name != "zebra.prod" {
		t.Errorf("%d records: %+v", len(all), all)
	}
}

// If two syncers read one record, the second to write finds out, and changes no decision of the first.
func TestTwoWritersOfOneRecord(t *testing.T) {
	for name, first := range map[string]bool{"a first deployment": true, "a later one": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if !first {
				b.sync(b.set(settings("one", "0")))
			}
			ours, theirs := b.plan(b.set(settings("one", "1"))), b.plan(b.set(settings("one", "2")))
			if _, err := apply.Carry(b.ctx, b.cluster, theirs, apply.Options{Spec: b.pinned()}); err != nil {
				t.Fatal(err)
			}
			_, err := apply.Carry(b.ctx, b.cluster, ours, apply.Options{Spec: b.spec()})
			wantError(t, err, "writing the record of orders@prod: another syncer wrote it in the meantime")
			if !answer.IsPassing(err) {
				t.Error("the error does not pass")
			}
			if got := b.record().Spec.Images; len(got) != len(b.pinned().Images) {
				t.Errorf("the pins are %v", got)
			}
			if got := value(b.get(configMaps, b.namespace, "one"), "data", "key"); got != "2" {
				t.Errorf("the object has %v", got)
			}
		})
	}
}
