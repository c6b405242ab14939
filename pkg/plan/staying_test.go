package plan_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/watch"
)

// Objects that must stay when others are deleted, and runs that must run once more or never again.

// nightly is a CronJob that reads settings.
func nightly(settings, metadata string) string {
	return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS" + metadata + "}\nspec:\n  schedule: \"0 3 1 1 *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: " + settings + "}}]}]}}}}\n"
}

// going reports whether an object is gone, or is being deleted.
func going(b *bench.Bench, resource schema.GroupVersionResource, namespace, name string) bool {
	obj := b.Get(resource, namespace, name)
	return obj == nil || obj.GetDeletionTimestamp() != nil
}

func TestNamespaceStaysForWhatIsInIt(t *testing.T) {
	b := bench.New(t)
	own := b.Namespace + "-own"
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + own + "}\n"
	inside := strings.ReplaceAll(bench.Join(bench.Settings("one", "1"), bench.Settings("two", "1"), bench.Settings("three", "1")), "$NS", own)
	pass.Sync(b, b.Set(bench.Join(namespace, inside)))
	if got := bench.Held(pass.Sync(b, b.Set(inside)).Held); got != "InUse Namespace/"+own || going(b, bench.Namespaces, "", own) {
		t.Errorf("held are %q, and the namespace goes: %t", got, going(b, bench.Namespaces, "", own))
	}
	claim := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: " + own + ", annotations: {syncer.dev/prune: disabled}}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
	pass.Sync(b, b.Set(bench.Join(namespace, claim)))
	applied, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, nil), apply.Options{Spec: b.Record().Spec})
	if err != nil || going(b, bench.Namespaces, "", own) {
		t.Errorf("the namespace of a claim that is kept goes (held are %q, %v)", bench.Held(applied.Held), err)
	}
}

func TestDefinitionStaysForItsObjects(t *testing.T) {
	b := bench.New(t)
	mine := bench.Join(bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "mine", "size: 1"), bench.Settings("beside", "1"))
	pass.Sync(b, b.Set(bench.Join(bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"), mine)))
	if got := bench.Held(pass.Sync(b, b.Set(mine)).Held); !strings.HasPrefix(got, "InUse CustomResourceDefinition/") {
		t.Errorf("held are %q", got)
	}
}

// Garbage collection would delete the run with its schedule.
func TestScheduleStaysForItsRun(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(nightly("none", ""), bench.Settings("beside", "1"))))
	b.Create(bench.Jobs, fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: nightly-1, namespace: $NS, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: %s, controller: true}]}\nspec:\n  template:\n    metadata: {annotations: {lab.syncer.dev/run-seconds: \"600\"}}\n    spec: {restartPolicy: Never, containers: [{name: m, image: x}]}\n", b.Get(bench.CronJobs, b.Namespace, "nightly").GetUID()))
	b.AwaitRun(bench.Jobs, "nightly-1", health.Running)
	if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "Running CronJob/nightly" || going(b, bench.CronJobs, b.Namespace, "nightly") {
		t.Errorf("held are %q", got)
	}
	b.Delete(bench.Jobs, b.Namespace, "nightly-1")
	b.Eventually("the run is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "nightly-1") == nil })
	if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "" {
		t.Errorf("after the run are held %q", got)
	}
}

// The TTL controller deletes in the foreground, so that a finished Job stays for a while, marked as deleted.
func TestJobOnItsWayOutIsNotRunAgain(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Backfill("once", 1), bench.Settings("beside", "1")))
	pass.Sync(b, set)
	b.Eventually("the run ends", hasEnded(b, bench.Jobs, "once"))
	pass.Sync(b, set)
	list, err := b.Admin.Resource(bench.Pods).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%d pods, %v", len(list.Items), err)
	}
	pod := list.Items[0].GetName()
	b.Edit(bench.Pods, pod, `{"metadata":{"finalizers":["example.com/slow"]}}`)
	t.Cleanup(func() { bench.LetGo(b, bench.Pods, pod) })
	foreground := metav1.DeletePropagationForeground
	if err := b.Admin.Resource(bench.Jobs).Namespace(b.Namespace).Delete(b.Ctx, "once", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	labelled := strings.Replace(bench.Backfill("once", 1), "namespace: $NS}", "namespace: $NS, labels: {team: b}}", 1)
	for _, set := range []string{bench.Backfill("once", 1), labelled} {
		if got := bench.Actions(pass.Plan(b, b.Set(bench.Join(set, bench.Settings("beside", "1")))).Changes()); got != "" {
			t.Errorf("an apply would do %s", got)
		}
	}
}

func TestSettingsStayForWhatIsNotChangedYet(t *testing.T) {
	b := bench.New(t)
	wave := `, annotations: {argocd.argoproj.io/sync-wave: "1"}`
	migrate := bench.Backfill("migrate", 1)
	pass.Sync(b, b.Set(migrate))
	b.Eventually("the run ends", hasEnded(b, bench.Jobs, "migrate"))
	pass.Sync(b, b.Set(bench.Join(migrate, nightly("settings-2222222222", wave), bench.Settings("settings-2222222222", "1"))))
	slow := strings.ReplaceAll(strings.ReplaceAll(migrate, "backfill:1", "backfill:2"), `run-seconds: "1"`, `run-seconds: "600"`)
	got := bench.Held(pass.Sync(b, b.Set(bench.Join(slow, nightly("settings-4444444444", wave), bench.Settings("settings-4444444444", "2")))).Held)
	if !strings.Contains(got, "Dependency CronJob/nightly") || !strings.Contains(got, "InUse ConfigMap/settings-2222222222") {
		t.Errorf("held are %q", got)
	}
}

func TestSettingsStayForWhatIsLeftAlone(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(nightly("settings-2222222222", ""), bench.Settings("settings-2222222222", "1"))))
	b.Edit(bench.CronJobs, "nightly", `{"metadata":{"annotations":{"syncer.dev/reconcile":"disabled"}}}`)
	if got := bench.Held(pass.Sync(b, b.Set(bench.Join(nightly("settings-4444444444", ""), bench.Settings("settings-4444444444", "2")))).Held); got != "InUse ConfigMap/settings-2222222222" {
		t.Errorf("held are %q", got)
	}
}

func TestSettingsStayForARunBetweenTwoPods(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("old", "1"), bench.Settings("beside", "1"))))
	b.Create(bench.Jobs, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: retries, namespace: $NS}\nspec:\n  backoffLimit: 3\n  template:\n    metadata: {annotations: {lab.syncer.dev/run-seconds: \"1\", lab.syncer.dev/outcome: failed}}\n    spec: {restartPolicy: Never, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: old}}]}]}\n")
	b.Eventually("its first pod failed", func() bool {
		failed, _ := bench.Value(b.Get(bench.Jobs, b.Namespace, "retries"), "status", "failed").(int64)
		return failed > 0
	})
	if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "InUse ConfigMap/old" {
		t.Errorf("held are %q", got)
	}
}

func TestRunThatBeginsBeforeItsPruneGoesOn(t *testing.T) {
	b := bench.New(t)
	suspended := strings.Replace(sparkApp("daily", 600), "spec:\n", "spec:\n  suspend: true\n", 1)
	pass.Sync(b, b.Set(bench.Join(suspended, bench.Settings("beside", "1"))))
	plan := pass.Plan(b, b.Set(bench.Settings("beside", "1")))
	b.Edit(bench.SparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.AwaitRun(bench.SparkApps, "daily", health.Running)
	applied, err := apply.Carry(b.Ctx, b.Cluster, plan, apply.Options{Spec: b.Spec()})
	if got := bench.Held(applied.Held); err != nil || got != "Running SparkApplication/daily" || going(b, bench.SparkApps, b.Namespace, "daily") {
		t.Errorf("held are %q, %v", got, err)
	}
}

func TestSkippedRunKeepsItsSettings(t *testing.T) {
	b := bench.New(t)
	skips := strings.Replace(sparkApp("daily", 600), "annotations: {", "annotations: {syncer.dev/on-running: skip, ", 1)
	suspended := strings.Replace(skips, "spec:\n", "spec:\n  suspend: true\n", 1)
	pass.Sync(b, b.Set(bench.Join(suspended, bench.Settings("old", "1"))))
	plan := pass.Plan(b, b.Set(bench.Join(strings.ReplaceAll(suspended, "spark:1", "spark:2"), bench.Settings("new", "1"))))
	b.Edit(bench.SparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.AwaitRun(bench.SparkApps, "daily", health.Running)
	if _, err := apply.Carry(b.Ctx, b.Cluster, plan, apply.Options{Spec: b.Spec()}); err != nil || going(b, bench.ConfigMaps, b.Namespace, "old") {
		t.Errorf("the settings of the run go (%v)", err)
	}
}

// The dry run of a change that needs the new form of its kind comes late. A run is respected all the same.
func TestDeferredChangeWaitsForARun(t *testing.T) {
	b := bench.New(t)
	judge, err := health.New([]health.Declared{{Group: b.Group(), Kind: "Training", Running: "object.spec.busy", Healthy: "!object.spec.busy"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Cluster, err = cluster.Connect(cluster.Options{Kubeconfig: b.Plane.Kubeconfig, Namespace: b.Records, Judge: judge}); err != nil {
		t.Fatal(err)
	}
	training := bench.Custom(b.Group(), "v1", "Training", b.Namespace, "nightly", "busy: true, epochs: 1")
	pass.Sync(b, b.Set(bench.Join(bench.Definition(b.Group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}"), training)))
	wider := bench.Definition(b.Group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}, rate: {type: integer}")
	changed := strings.Replace(training, "epochs: 1", "epochs: 2, rate: 3", 1)
	if got := bench.Held(pass.Sync(b, b.Set(bench.Join(wider, changed))).Held); got != "Running Training/nightly" {
		t.Errorf("held are %q", got)
	}
}

// A report says that it was not run again, and advises to delete it.
func TestDeletedAfterItsRunRunsAgain(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(sparkApp("daily", 1), "spec:\n", "spec:\n  suspend: true\n", 1)
	pass.Sync(b, b.Set(doc))
	b.Status(bench.SparkApps, "daily", `{"status": {"submissionID": "first", "driverInfo": {}, "applicationState": {"state": "FAILED", "errorMessage": "no such table"}}}`)
	mended := b.Set(strings.ReplaceAll(doc, "spark:1", "spark:2"))
	pass.Sync(b, mended)
	pass.Sync(b, mended)
	b.Delete(bench.SparkApps, b.Namespace, "daily")
	b.Eventually("it is gone", func() bool { return b.Get(bench.SparkApps, b.Namespace, "daily") == nil })
	if got := bench.Actions(pass.Plan(b, mended).Changes()); got != "Create SparkApplication/daily (drifted)" {
		t.Errorf("an apply would do %q", got)
	}
}

// The events of the old Job may be as recent as the record of the intended change.
func TestInterruptedReplacementIsMade(t *testing.T) {
	b := bench.New(t)
	doc := bench.Backfill("once", 3, "ttlSecondsAfterFinished: 600")
	pass.Sync(b, b.Set(doc))
	b.AwaitRun(bench.Jobs, "once", health.Running)
	changed := b.Set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	if err := watch.AwaitChange(b.Ctx, b.Cluster, pass.Sync(b, changed).Held); err != nil {
		t.Fatal(err)
	}
	breaks := b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.Refusing{Inner: inner, Method: http.MethodPatch, Path: "/jobs/once"}
		})
	})
	applied, err := apply.Carry(b.Ctx, breaks, pass.Plan(b, changed), apply.Options{Spec: b.Spec()})
	if err == nil {
		t.Fatal("nothing broke")
	}
	b.Save(applied.Inventory)
	if got := bench.Actions(pass.Sync(b, changed).Changes); got != "Create Job/once" {
		t.Errorf("the next pass does %q", got)
	}
}

func TestReplacementSurvivesAHarmlessWrite(t *testing.T) {
	b := bench.New(t)
	doc := bench.Backfill("once", 1)
	pass.Sync(b, b.Set(doc))
	b.AwaitRun(bench.Jobs, "once", health.Ended)
	plan := pass.Plan(b, b.Set(strings.ReplaceAll(doc, "backfill:1", "backfill:2")))
	b.Edit(bench.Jobs, "once", `{"metadata":{"annotations":{"note":"x"}}}`)
	if applied, err := apply.Carry(b.Ctx, b.Cluster, plan, apply.Options{Spec: b.Spec()}); err != nil || bench.Actions(applied.Changes) != "Replace Job/once" {
		t.Errorf("applied %q, %v", bench.Actions(applied.Changes), err)
	}
}
