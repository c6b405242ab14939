package cluster_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
)

const kindsAnnotation = "applyset.kubernetes.io/contains-group-kinds"

// promises are those of one ConfigMap.
var promises = cluster.Promises{Kinds: []schema.GroupKind{{Kind: "ConfigMap"}}, Writes: []string{"ConfigMap/a"}}

// save writes a spec to the present record of a target.
func save(b *bench.Bench, spec v1alpha1.PipelineSyncSpec, p cluster.Promises) cluster.Written {
	b.T.Helper()
	written, err := b.Cluster.Records().SaveSpec(b.Ctx, b.Target, b.Record(), spec, p)
	if err != nil {
		b.T.Fatal(err)
	}
	return written
}

func pinned(b *bench.Bench) v1alpha1.PipelineSyncSpec {
	spec := b.Spec()
	spec.Images = []v1alpha1.PinnedImage{{
		Reference: "registry.example.com/orders:1.4", Digest: "sha256:" + strings.Repeat("ab", 32),
		ResolvedAt: metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Commit: "c0ffee",
	}}
	return spec
}

func TestSpecAndStatusAreWrittenApart(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	before := b.Record()
	written := save(b, pinned(b), promises)
	after := b.Record()
	unread := cmpopts.IgnoreFields(v1alpha1.PipelineSyncStatus{}, "ConfirmedApply") // it shows the reader that an apply was begun
	unsure := cmpopts.IgnoreFields(v1alpha1.InventoryEntry{}, "Unconfirmed")
	if diff := cmp.Diff(before.Status, after.Status, unread, unsure); diff != "" {
		t.Errorf("writing the spec changed the status:\n%s", diff)
	}
	if written.Generation != after.Generation || after.Generation != before.Generation+1 || written.Version != after.ResourceVersion || written.UID != after.UID {
		t.Errorf("generation %d after %d, the write says %+v", after.Generation, before.Generation, written)
	}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{LastAppliedCommit: "beef"}, written.Version); err != nil {
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

// The spec names the apply that it begins. Until a status confirms this apply, the objects that it was to write are in doubt.
func TestBegunApplyIsInDoubtUntilTheStatusConfirmsIt(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	entries := b.Record().Status.Inventory
	written := save(b, b.Spec(), cluster.Promises{Kinds: promises.Kinds, Writes: []string{v1alpha1.ShortHash(entries[0].ID().Key())}})
	if got := b.Record().Status.Inventory; written.Apply == "" || len(got) != 1 || !got[0].Unconfirmed {
		t.Errorf("apply %q, inventory %+v", written.Apply, got)
	}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{Inventory: entries, ConfirmedApply: written.Apply}, ""); err != nil {
		t.Fatal(err)
	}
	if got := b.Record().Status.Inventory; got[0].Unconfirmed {
		t.Errorf("it is still in doubt: %+v", got)
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
				save(b, c.spec, promises)
				if got := b.Record().Spec.ServiceAccount; got != c.want {
					t.Errorf("after %d deployments, the record says account %q", i+1, got)
				}
			}
		})
	}
}

func TestRecordIsAnApplySetParent(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1"), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n"))
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
	if got := record.GetAnnotations()["applyset.kubernetes.io/additional-namespaces"]; got != b.Namespace {
		t.Errorf("it has objects in the namespaces %s", got)
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
	b.Deploy(b.Set(bench.Settings("kept", "1"), bench.Settings("dropped", "1")))
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
	b.EditRecord(`{"metadata":{"annotations":{"applyset.kubernetes.io/tooling":"kubectl/v1.36"}}}`)
	out, err = kubectl(apply...)
	if err != nil || !strings.Contains(out, "configmap/dropped pruned") {
		t.Errorf("kubectl does not find the members: %v\n%s", err, out)
	}
}

func TestRecordsNeedAnInstallation(t *testing.T) {
	t.Run("namespace", func(t *testing.T) {
		b := bench.New(t)
		b.Records = "nowhere"
		b.Restart()
		_, err := b.Cluster.Records().Create(b.Ctx, b.Target, b.Spec())
		bench.WantError(t, err, "orders@prod", "namespace nowhere is not there; run `syncer install`")
		_, err = b.Cluster.Key(b.Ctx, true)
		bench.WantError(t, err, "nowhere", "run `syncer install`")
	})
	t.Run("definition", func(t *testing.T) {
		b := bench.New(t)
		// The API server serves the record's kind. Each request goes to a path that the server does not have.
		b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.URL.Path = strings.Replace(req.URL.Path, "/apis/syncer.dev/", "/apis/gone.syncer.dev/", 1)
			return inner.RoundTrip(req)
		})
		records := b.Cluster.Records()
		_, errGet := records.Get(b.Ctx, b.Target)
		_, errList := records.List(b.Ctx)
		_, errSave := records.SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{}, "")
		_, errCreate := records.Create(b.Ctx, b.Target, b.Spec())
		for what, err := range map[string]error{"Get": errGet, "List": errList, "SaveStatus": errSave, "Create": errCreate} {
			if !errors.Is(err, cluster.ErrNotInstalled) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if owner, namespace := records.Owner(b.Ctx, "applyset-xyz-v1"); owner != "the ApplySet applyset-xyz-v1" || namespace != "" {
			t.Errorf("the owner is %s in %q", owner, namespace)
		}
	})
}

func TestRecordsListsEveryOwner(t *testing.T) {
	b := bench.New(t)
	for _, name := range []string{"zebra", "ant"} {
		o := b.Other(name)
		o.Deploy(o.Set(bench.Settings(name, "1")))
	}
	all, err := b.Cluster.Records().List(b.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Name != "ant.prod" || all[1].Name != "zebra.prod" {
		t.Errorf("%d records: %+v", len(all), all)
	}
}

// A record leads from the ID of an ApplySet to its target, in syncer's own namespace and elsewhere.
func TestOwnerOfAnApplySetIsNamed(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	elsewhere := bench.NewAlone(t)
	for name, records := range map[string]*cluster.Records{"own namespace": b.Cluster.Records(), "another namespace": elsewhere.Cluster.Records()} {
		if owner, namespace := records.Owner(b.Ctx, v1alpha1.ApplySetID(b.Records, b.Target)); owner != "orders@prod" || namespace != b.Records {
			t.Errorf("%s: the owner is %s in %q", name, owner, namespace)
		}
	}
}

// If two syncers read one record, only the first of them can write or delete it.
func TestRecordIsWrittenAsItWasRead(t *testing.T) {
	b := bench.New(t)
	records := b.Cluster.Records()
	if _, err := records.Create(b.Ctx, b.Target, b.Spec()); err != nil {
		t.Fatal(err)
	}
	_, errCreate := records.Create(b.Ctx, b.Target, b.Spec())
	before := b.Record()
	save(b, pinned(b), promises)
	_, errSpec := records.SaveSpec(b.Ctx, b.Target, before, b.Spec(), promises)
	_, errStatus := records.SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{}, before.ResourceVersion)
	errDelete := records.Delete(b.Ctx, b.Target, before.UID, before.ResourceVersion)
	for what, err := range map[string]error{"Create": errCreate, "SaveSpec": errSpec, "SaveStatus": errStatus, "Delete": errDelete} {
		bench.WantError(t, err, "writing the record of orders@prod: another syncer wrote it in the meantime")
		if !errors.As(err, new(*answer.OvertakenError)) || apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	after := b.Record()
	if after == nil || len(after.Spec.Images) != 1 {
		t.Fatalf("the record is %+v", after)
	}
	for range 2 { // a record that is gone already is deleted
		if err := records.Delete(b.Ctx, b.Target, after.UID, after.ResourceVersion); err != nil {
			t.Error(err)
		}
	}
	if b.Record() != nil {
		t.Error("the record is still there")
	}
}

// A missing right is named by each function that needs it.
func TestRecordsNameAMissingRight(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	record := b.Record()
	user := "nobody-" + b.Namespace
	kubeconfig, err := b.Plane.AddUser(user)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger := b.Connect(kubeconfig)
	records := stranger.Records()
	_, errGet := records.Get(b.Ctx, b.Target)
	_, errList := records.List(b.Ctx)
	_, errSave := records.SaveStatus(b.Ctx, b.Target, v1alpha1.PipelineSyncStatus{}, "")
	_, errKey := stranger.Key(b.Ctx, true)
	for right, c := range map[string]struct {
		err   error
		doing string
	}{
		"get pipelinesyncs.syncer.dev":          {errGet, "reading the record " + b.Records + "/orders.prod"},
		"list pipelinesyncs.syncer.dev":         {errList, "listing the records in namespace " + b.Records},
		"patch pipelinesyncs/status.syncer.dev": {errSave, "writing the record of orders@prod"},
		"delete pipelinesyncs.syncer.dev":       {records.Delete(b.Ctx, b.Target, record.UID, record.ResourceVersion), "deleting the record of orders@prod"},
		"create events.events.k8s.io":           {records.WriteEvent(b.Ctx, record, cluster.Event{Reason: "Applied", Action: "Apply"}), "writing an event about the record orders.prod"},
		"get secrets":                           {errKey, "reading Secret " + b.Records + "/syncer-inventory-key"},
	} {
		bench.WantError(t, c.err, c.doing, "give "+user+" a Role or ClusterRole that allows to "+right)
	}
}

// An event is about the record, and a note that the API server would refuse is cut between two characters.
func TestEventIsAboutTheRecord(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	for _, event := range []cluster.Event{
		{Reason: "Applied", Action: "Apply", Note: "two objects"},
		{Warning: true, Reason: "Failed", Action: "Apply", Note: strings.Repeat("é", 1000)},
	} {
		if err := b.Cluster.Records().WriteEvent(b.Ctx, b.Record(), event); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.Admin.Resource(bench.Events).Namespace(b.Records).List(b.Ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(b.Record().UID)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i := range list.Items {
		kind, _ := bench.Value(&list.Items[i], "type").(string)
		got[kind], _ = bench.Value(&list.Items[i], "message").(string)
	}
	if len(got) != 2 || got["Normal"] != "two objects" || got["Warning"] != strings.Repeat("é", 510)+"..." {
		t.Errorf("the events are %q", got)
	}
}
