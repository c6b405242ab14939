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

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

const kindsAnnotation = "applyset.kubernetes.io/contains-group-kinds"

func pinned(b *bench.Bench) v1alpha1.PipelineSyncSpec {
	spec := b.Spec()
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
	b := bench.New(t)
	first := b.Set(bench.Settings("old", "1"))
	pass.Sync(b, first)
	ctx, kill := context.WithCancel(b.Ctx)
	mortal := b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return &dying{inner: inner, resource: "configmaps", cancel: kill}
		})
	})
	set := b.Set(bench.Join(bench.Settings("a", "1"), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n"))
	planned, err := plan.Make(ctx, mortal, pass.RequestOf(b, set, b.Record()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply.Carry(ctx, mortal, planned, apply.Options{Spec: pinned(b)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("the apply was not cut: %v", err)
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "a") != nil {
		t.Fatal("the object was written")
	}
	record := b.Record()
	if diff := cmp.Diff(pinned(b).Images, record.Spec.Images); diff != "" {
		t.Errorf("the pins (-want +got):\n%s", diff)
	}
	if got := record.Annotations[kindsAnnotation]; got != "ConfigMap,ServiceAccount" {
		t.Errorf("the record names the kinds %s", got)
	}
	if got := bench.Names(record.Status.Inventory); got != "ConfigMap/old" {
		t.Errorf("the inventory: %s", got)
	}

	// The next pass finds the objects that this one wrote, including a kind that the inventory does not name.
	planned = pass.Plan(b, first)
	if got := bench.Actions(planned.Changes()); got != "Prune ServiceAccount/runner" {
		t.Errorf("the way back: %s", got)
	}
	planned = pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "Create ConfigMap/a, Prune ConfigMap/old" {
		t.Errorf("the way on: %s", got)
	}
}

func TestSpecAndStatusAreWrittenApart(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	status := v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c0ffee", Inventory: b.Record().Status.Inventory}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, status, ""); err != nil {
		t.Fatal(err)
	}
	before := b.Record()
	applied, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, set), apply.Options{Spec: pinned(b)})
	if err != nil {
		t.Fatal(err)
	}
	after := b.Record()
	unread := cmpopts.IgnoreFields(v1alpha1.PipelineSyncStatus{}, "ConfirmedApply") // it shows the reader that an apply was begun
	unsure := cmpopts.IgnoreFields(v1alpha1.InventoryEntry{}, "Unconfirmed")
	if diff := cmp.Diff(before.Status, after.Status, unread, unsure); diff != "" {
		t.Errorf("writing the spec changed the status:\n%s", diff)
	}
	if applied.Record.Generation != after.Generation || after.Generation != before.Generation+1 {
		t.Errorf("generation %d after %d, the apply says %d", after.Generation, before.Generation, applied.Record.Generation)
	}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{LastAppliedCommit: "beef"}, ""); err != nil {
		t.Fatal(err)
	}
	last := b.Record()
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
			b := bench.New(t)
			spec := b.Spec()
			spec.ServiceAccount = "team/deployer"
			if created {
				record := b.Object("apiVersion: syncer.dev/v1alpha1\nkind: PipelineSync\nmetadata: {name: orders.prod}\nspec: {owner: test, pipeline: orders, environment: prod, serviceAccount: team/deployer, source: {url: x, commit: c0ffee}}\n")
				if _, err := b.Admin.Resource(bench.RecordResource).Namespace(b.Records).Create(b.Ctx, record, metav1.CreateOptions{FieldManager: manifest.FieldManager}); err != nil {
					t.Fatal(err)
				}
			}
			for i, c := range []struct {
				spec v1alpha1.PipelineSyncSpec
				want string
			}{{spec, "team/deployer"}, {b.Spec(), ""}, {b.Spec(), ""}, {spec, "team/deployer"}} {
				if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, b.Set(bench.Settings("one", fmt.Sprint(i)))), apply.Options{Spec: c.spec}); err != nil {
					t.Fatal(err)
				}
				if got := b.Record().Spec.ServiceAccount; got != c.want {
					t.Errorf("after %d deployments, the record says account %q", i+1, got)
				}
			}
		})
	}
}

func TestRecordIsAnApplySetParent(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("a", "1"), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n")))
	record := b.Get(bench.RecordResource, b.Records, "orders.prod")

	// KEP-3659: applyset-<base64(sha256(<name>.<namespace>.<kind>.<group>))>-v1, in the URL alphabet without padding.
	sum := sha256.Sum256([]byte("orders.prod." + b.Records + ".PipelineSync.syncer.dev"))
	id := "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
	if got := record.GetLabels()["applyset.kubernetes.io/id"]; got != id {
		t.Errorf("the parent's ID is %s, want %s", got, id)
	}
	if got := b.Get(bench.ConfigMaps, b.Namespace, "a").GetLabels()["applyset.kubernetes.io/part-of"]; got != id {
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
	b := bench.New(t)
	b.Records = b.Namespace // kubectl prunes only in the namespace of the parent
	b.Restart()
	pass.Sync(b, b.Set(bench.Join(bench.Settings("kept", "1"), bench.Settings("dropped", "1"))))
	kubectl := func(args ...string) (string, error) {
		bin := os.Getenv("SYNCER_BIN")
		if bin == "" {
			bin = filepath.Join("..", "..", "bin")
		}
		cmd := exec.CommandContext(b.Ctx, filepath.Join(bin, "controlplane", "kubectl"), args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+b.Plane.Kubeconfig, "KUBECTL_APPLYSET=true")
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(bench.Settings("kept", "1"), "$NS", b.Namespace))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	apply := []string{"apply", "--server-side", "--prune", "--applyset=pipelinesyncs.syncer.dev/orders.prod", "-n", b.Records, "--dry-run=server", "-f", "-"}
	out, err := kubectl(apply...)
	if err == nil || !strings.Contains(out, `is managed by tooling "syncer"`) {
		t.Fatalf("kubectl took over syncer's ApplySet: %v\n%s", err, out)
	}
	// If the tooling is kubectl's, all other requirements are met.
	_, err = b.Admin.Resource(bench.RecordResource).Namespace(b.Records).Patch(b.Ctx, "orders.prod", types.MergePatchType,
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
	b := bench.New(t)
	t.Run("namespace", func(t *testing.T) {
		server, err := cluster.Connect(cluster.Options{Kubeconfig: b.Plane.Kubeconfig, Namespace: "nowhere"})
		if err != nil {
			t.Fatal(err)
		}
		planned, err := plan.Make(b.Ctx, server, pass.RequestOf(b, b.Set(bench.Settings("a", "1")), nil))
		if err != nil {
			t.Fatal(err)
		}
		_, err = apply.Carry(b.Ctx, server, planned, apply.Options{Spec: b.Spec()})
		bench.WantError(t, err, "orders@prod", "namespace nowhere is not there; run `syncer install`")
		if b.Get(bench.ConfigMaps, b.Namespace, "a") != nil {
			t.Error("the object was written all the same")
		}
		_, err = plan.Make(b.Ctx, server, pass.RequestOf(b, b.Set("apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\n"), nil))
		bench.WantError(t, err, "nowhere", "run `syncer install`")
	})
	t.Run("definition", func(t *testing.T) {
		// The other requests need the record's kind: this client requests a path that the server does not have.
		server := b.ConnectBy(func(config *rest.Config) {
			config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return without{inner} })
		})
		if _, err := server.Records().Get(b.Ctx, b.Target); !errors.Is(err, cluster.ErrNotInstalled) {
			t.Errorf("Record: %v", err)
		}
		if _, err := server.Records().List(b.Ctx); !errors.Is(err, cluster.ErrNotInstalled) {
			t.Errorf("Records: %v", err)
		}
		if _, err := server.Records().SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{}, ""); !errors.Is(err, cluster.ErrNotInstalled) {
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
	b := bench.New(t)
	for _, name := range []string{"zebra", "ant"} {
		o := b.Other(name)
		pass.Sync(o, o.Set(bench.Settings(name, "1")))
	}
	all, err := b.Cluster.Records().List(b.Ctx)
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
			b := bench.New(t)
			if !first {
				pass.Sync(b, b.Set(bench.Settings("one", "0")))
			}
			ours, theirs := pass.Plan(b, b.Set(bench.Settings("one", "1"))), pass.Plan(b, b.Set(bench.Settings("one", "2")))
			if _, err := apply.Carry(b.Ctx, b.Cluster, theirs, apply.Options{Spec: pinned(b)}); err != nil {
				t.Fatal(err)
			}
			_, err := apply.Carry(b.Ctx, b.Cluster, ours, apply.Options{Spec: b.Spec()})
			bench.WantError(t, err, "writing the record of orders@prod: another syncer wrote it in the meantime")
			if !answer.IsPassing(err) {
				t.Error("the error does not pass")
			}
			if got := b.Record().Spec.Images; len(got) != len(pinned(b).Images) {
				t.Errorf("the pins are %v", got)
			}
			if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "one"), "data", "key"); got != "2" {
				t.Errorf("the object has %v", got)
			}
		})
	}
}
