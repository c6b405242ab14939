package apply_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/watch"
)

// Objects that must stay when others are deleted, and runs that must run once more or never again.

var cronJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}

// nightly is a CronJob that reads settings.
func nightly(settings, metadata string) string {
	return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS" + metadata + "}\nspec:\n  schedule: \"0 3 1 1 *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: " + settings + "}}]}]}}}}\n"
}

// held lists the changes of an apply that wait, with the reason in one word.
func held(applied apply.Applied) string {
	var out []string
	for _, change := range applied.Held {
		out = append(out, string(change.Held.Reason)+" "+change.ID.Kind+"/"+change.ID.Name)
	}
	return strings.Join(out, ", ")
}

// going reports whether an object is gone, or is being deleted.
func (b *bench) going(resource schema.GroupVersionResource, namespace, name string) bool {
	obj := b.get(resource, namespace, name)
	return obj == nil || obj.GetDeletionTimestamp() != nil
}

func TestNamespaceStaysForWhatIsInIt(t *testing.T) {
	b := newBench(t)
	own := b.namespace + "-own"
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + own + "}\n"
	inside := strings.ReplaceAll(join(settings("one", "1"), settings("two", "1"), settings("three", "1")), "$NS", own)
	b.sync(b.set(join(namespace, inside)))
	if got := held(b.sync(b.set(inside))); got != "InUse Namespace/"+own || b.going(namespaces, "", own) {
		t.Errorf("held are %q, and the namespace goes: %t", got, b.going(namespaces, "", own))
	}
	claim := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: " + own + ", annotations: {syncer.dev/prune: disabled}}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
	b.sync(b.set(join(namespace, claim)))
	applied, err := apply.Carry(b.ctx, b.cluster, b.plan(nil), apply.Options{Spec: b.record().Spec})
	if err != nil || b.going(namespaces, "", own) {
		t.Errorf("the namespace of a claim that is kept goes (held are %q, %v)", held(applied), err)
	}
}

func TestDefinitionStaysForItsObjects(t *testing.T) {
	b := newBench(t)
	mine := join(custom(b.group(), "v1", "Widget", b.namespace, "mine", "size: 1"), settings("beside", "1"))
	b.sync(b.set(join(crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"), mine)))
	if got := held(b.sync(b.set(mine))); !strings.HasPrefix(got, "InUse CustomResourceDefinition/") {
		t.Errorf("held are %q", got)
	}
}

// Garbage collection would delete the run with its schedule.
func TestScheduleStaysForItsRun(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(nightly("none", ""), settings("beside", "1"))))
	b.create(jobs, fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: nightly-1, namespace: $NS, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: %s, controller: true}]}\nspec:\n  template:\n    metadata: {annotations: {lab.syncer.dev/run-seconds: \"600\"}}\n    spec: {restartPolicy: Never, containers: [{name: m, image: x}]}\n", b.get(cronJobs, b.namespace, "nightly").GetUID()))
	b.awaitRun(jobs, "nightly-1", health.Running)
	if got := held(b.sync(b.set(settings("beside", "1")))); got != "Running CronJob/nightly" || b.going(cronJobs, b.namespace, "nightly") {
		t.Errorf("held are %q", got)
	}
	b.delete(jobs, b.namespace, "nightly-1")
	b.eventually("the run is gone", func() bool { return b.get(jobs, b.namespace, "nightly-1") == nil })
	if got := held(b.sync(b.set(settings("beside", "1")))); got != "" {
		t.Errorf("after the run are held %q", got)
	}
}

// The TTL controller deletes in the foreground, so that a finished Job stays for a while, marked as deleted.
func TestJobOnItsWayOutIsNotRunAgain(t *testing.T) {
	b := newBench(t)
	set := b.set(join(backfill("once", 1), settings("beside", "1")))
	b.sync(set)
	b.eventually("the run ends", b.ended(jobs, "once"))
	b.sync(set)
	list, err := b.admin.Resource(pods).Namespace(b.namespace).List(b.ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%d pods, %v", len(list.Items), err)
	}
	pod := list.Items[0].GetName()
	b.edit(pods, pod, `{"metadata":{"finalizers":["example.com/slow"]}}`)
	t.Cleanup(func() { b.letGo(pods, pod) })
	foreground := metav1.DeletePropagationForeground
	if err := b.admin.Resource(jobs).Namespace(b.namespace).Delete(b.ctx, "once", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	labelled := strings.Replace(backfill("once", 1), "namespace: $NS}", "namespace: $NS, labels: {team: b}}", 1)
	for _, set := range []string{backfill("once", 1), labelled} {
		if got := actions(b.plan(b.set(join(set, settings("beside", "1")))).Changes()); got != "" {
			t.Errorf("an apply would do %s", got)
		}
	}
}

func TestSettingsStayForWhatIsNotChangedYet(t *testing.T) {
	b := newBench(t)
	wave := `, annotations: {argocd.argoproj.io/sync-wave: "1"}`
	migrate := backfill("migrate", 1)
	b.sync(b.set(migrate))
	b.eventually("the run ends", b.ended(jobs, "migrate"))
	b.sync(b.set(join(migrate, nightly("settings-2222222222", wave), settings("settings-2222222222", "1"))))
	slow := strings.ReplaceAll(strings.ReplaceAll(migrate, "backfill:1", "backfill:2"), `run-seconds: "1"`, `run-seconds: "600"`)
	got := held(b.sync(b.set(join(slow, nightly("settings-4444444444", wave), settings("settings-4444444444", "2")))))
	if !strings.Contains(got, "Dependency CronJob/nightly") || !strings.Contains(got, "InUse ConfigMap/settings-2222222222") {
		t.Errorf("held are %q", got)
	}
}

func TestSettingsStayForWhatIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(nightly("settings-2222222222", ""), settings("settings-2222222222", "1"))))
	b.edit(cronJobs, "nightly", `{"metadata":{"annotations":{"syncer.dev/reconcile":"disabled"}}}`)
	if got := held(b.sync(b.set(join(nightly("settings-4444444444", ""), settings("settings-4444444444", "2"))))); got != "InUse ConfigMap/settings-2222222222" {
		t.Errorf("held are %q", got)
	}
}

func TestSettingsStayForARunBetweenTwoPods(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("old", "1"), settings("beside", "1"))))
	b.create(jobs, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: retries, namespace: $NS}\nspec:\n  backoffLimit: 3\n  template:\n    metadata: {annotations: {lab.syncer.dev/run-seconds: \"1\", lab.syncer.dev/outcome: failed}}\n    spec: {restartPolicy: Never, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: old}}]}]}\n")
	b.eventually("its first pod failed", func() bool {
		failed, _ := value(b.get(jobs, b.namespace, "retries"), "status", "failed").(int64)
		return failed > 0
	})
	if got := held(b.sync(b.set(settings("beside", "1")))); got != "InUse ConfigMap/old" {
		t.Errorf("held are %q", got)
	}
}

func TestRunThatBeginsBeforeItsPruneGoesOn(t *testing.T) {
	b := newBench(t)
	suspended := strings.Replace(sparkApp("daily", 600), "spec:\n", "spec:\n  suspend: true\n", 1)
	b.sync(b.set(join(suspended, settings("beside", "1"))))
	plan := b.plan(b.set(settings("beside", "1")))
	b.edit(sparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.awaitRun(sparkApps, "daily", health.Running)
	applied, err := apply.Carry(b.ctx, b.cluster, plan, apply.Options{Spec: b.spec()})
	if got := held(applied); err != nil || got != "Running SparkApplication/daily" || b.going(sparkApps, b.namespace, "daily") {
		t.Errorf("held are %q, %v", got, err)
	}
}

func TestSkippedRunKeepsItsSettings(t *testing.T) {
	b := newBench(t)
	skips := strings.Replace(sparkApp("daily", 600), "annotations: {", "annotations: {syncer.dev/on-running: skip, ", 1)
	suspended := strings.Replace(skips, "spec:\n", "spec:\n  suspend: true\n", 1)
	b.sync(b.set(join(suspended, settings("old", "1"))))
	plan := b.plan(b.set(join(strings.ReplaceAll(suspended, "spark:1", "spark:2"), settings("new", "1"))))
	b.edit(sparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.awaitRun(sparkApps, "daily", health.Running)
	if _, err := apply.Carry(b.ctx, b.cluster, plan, apply.Options{Spec: b.spec()}); err != nil || b.going(configMaps, b.namespace, "old") {
		t.Errorf("the settings of the run go (%v)", err)
	}
}

// The dry run of a change that needs the new form of its kind comes late. A run is respected all the same.
func TestDeferredChangeWaitsForARun(t *testing.T) {
	b := newBench(t)
	judge, err := health.New([]health.Declared{{Group: b.group(), Kind: "Training", Running: "object.spec.busy", Healthy: "!object.spec.busy"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.cluster, err = cluster.Connect(cluster.Options{Kubeconfig: b.plane.Kubeconfig, Namespace: b.records, Judge: judge}); err != nil {
		t.Fatal(err)
	}
	training := custom(b.group(), "v1", "Training", b.namespace, "nightly", "busy: true, epochs: 1")
	b.sync(b.set(join(crd(b.group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}"), training)))
	wider := crd(b.group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}, rate: {type: integer}")
	changed := strings.Replace(training, "epochs: 1", "epochs: 2, rate: 3", 1)
	if got := held(b.sync(b.set(join(wider, changed)))); got != "Running Training/nightly" {
		t.Errorf("held are %q", got)
	}
}

// A report says that it was not run again, and advises to delete it.
func TestDeletedAfterItsRunRunsAgain(t *testing.T) {
	b := newBench(t)
	doc := strings.Replace(sparkApp("daily", 1), "spec:\n", "spec:\n  suspend: true\n", 1)
	b.sync(b.set(doc))
	b.status(sparkApps, "daily", `{"status": {"submissionID": "first", "driverInfo": {}, "applicationState": {"state": "FAILED", "errorMessage": "no such table"}}}`)
	mended := b.set(strings.ReplaceAll(doc, "spark:1", "spark:2"))
	b.sync(mended)
	b.sync(mended)
	b.delete(sparkApps, b.namespace, "daily")
	b.eventually("it is gone", func() bool { return b.get(sparkApps, b.namespace, "daily") == nil })
	if got := actions(b.plan(mended).Changes()); got != "Create SparkApplication/daily (drifted)" {
		t.Errorf("an apply would do %q", got)
	}
}

// The events of the old Job may be as recent as the record of the intended change.
func TestInterruptedReplacementIsMade(t *testing.T) {
	b := newBench(t)
	doc := backfill("once", 3, "ttlSecondsAfterFinished: 600")
	b.sync(b.set(doc))
	b.awaitRun(jobs, "once", health.Running)
	changed := b.set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	if err := watch.AwaitChange(b.ctx, b.cluster, b.sync(changed).Held); err != nil {
		t.Fatal(err)
	}
	breaks := b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return refusing{inner, http.MethodPatch, "/jobs/once"}
		})
	})
	applied, err := apply.Carry(b.ctx, breaks, b.plan(changed), apply.Options{Spec: b.spec()})
	if err == nil {
		t.Fatal("nothing broke")
	}
	b.save(applied.Inventory)
	if got := actions(b.sync(changed).Changes); got != "Create Job/once" {
		t.Errorf("the next pass does %q", got)
	}
}

func TestReplacementSurvivesAHarmlessWrite(t *testing.T) {
	b := newBench(t)
	doc := backfill("once", 1)
	b.sync(b.set(doc))
	b.awaitRun(jobs, "once", health.Ended)
	plan := b.plan(b.set(strings.ReplaceAll(doc, "backfill:1", "backfill:2")))
	b.edit(jobs, "once", `{"metadata":{"annotations":{"note":"x"}}}`)
	if applied, err := apply.Carry(b.ctx, b.cluster, plan, apply.Options{Spec: b.spec()}); err != nil || actions(applied.Changes) != "Replace Job/once" {
		t.Errorf("applied %q, %v", actions(applied.Changes), err)
	}
}
