package apply_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

func annotated(doc string, annotations ...string) string {
	return strings.Replace(doc, "namespace: $NS", "namespace: $NS, annotations: {"+strings.Join(annotations, ", ")+"}", 1)
}

func wave(n int) string { return fmt.Sprintf("argocd.argoproj.io/sync-wave: %q", fmt.Sprint(n)) }

func dependsOn(objects ...string) string {
	return fmt.Sprintf("config.kubernetes.io/depends-on: %q", strings.Join(objects, ","))
}

// written lists the writes, in the order of the API server's log.
func written(events []lab.AuditEvent) string {
	var out []string
	for _, e := range events {
		if isWrite(e) && !isDryRun(e) && e.Object.Resource != records.Resource && e.Object.Name != "syncer-inventory-key" {
			out = append(out, e.Object.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestWavesAndDependenciesOrderObjects(t *testing.T) {
	b := newBench(t)
	set := b.set(join(
		annotated(settings("late", "1"), wave(2)),
		annotated(settings("a-after-b", "1"), dependsOn("/namespaces/"+b.namespace+"/ConfigMap/b")),
		settings("b", "1"),
		annotated(settings("early", "1"), wave(-1)),
	))
	if got := written(b.requests(func() { b.sync(set) })); got != "early b a-after-b late" {
		t.Errorf("the order is %s", got)
	}
	b.nothingToDo(set)
	if got := written(b.requests(func() { b.sync(b.set(settings("b", "1"))) })); got != "late a-after-b early" {
		t.Errorf("the order of the prunes is %s", got)
	}
}

// A migration must have run successfully before the users of its tables are changed.
func TestWaveWaitsForTheHealthOfTheOneBefore(t *testing.T) {
	for name, c := range map[string]struct{ first, second string }{
		"wave":       {backfill("migrate", 2), annotated(settings("app", "1"), wave(1))},
		"annotation": {backfill("migrate", 2), annotated(settings("app", "1"), dependsOn("batch/namespaces/$NS/Job/migrate"))},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			set := b.set(join(c.first, c.second))
			applied := b.sync(set)
			if got := actions(applied.Changes); got != "Create Job/migrate" || len(applied.Held) != 1 {
				t.Fatalf("applied: %s, held: %v", got, applied.Held)
			}
			if held := applied.Held[0].Held; held.Reason != manifest.HeldDependency || !strings.Contains(held.Message, "Job/"+b.namespace+"/migrate") {
				t.Errorf("held: %+v", held)
			}
			if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
				t.Fatal(err)
			}
			if run := (*health.Judge)(nil).Run(b.get(jobs, b.namespace, "migrate")); run.State != health.Ended {
				t.Errorf("the wait ended while it is %+v", run)
			}
			if got := actions(b.sync(set).Changes); got != "Create ConfigMap/app" {
				t.Errorf("after it: %s", got)
			}
		})
	}
}

func TestDependencyOutsideTheSet(t *testing.T) {
	b := newBench(t)
	set := b.set(annotated(settings("app", "1"), dependsOn("/namespaces/"+b.namespace+"/ConfigMap/theirs")))
	applied := b.sync(set)
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "ConfigMap/"+b.namespace+"/theirs is not in the cluster") {
		t.Fatalf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
	b.create(configMaps, settings("theirs", "1"))
	if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	if got := actions(b.sync(set).Changes); got != "Create ConfigMap/app" {
		t.Errorf("when it is there: %s", got)
	}
}

// The record of the target that owns a run shows the outcome after the run removed itself. The cluster does not have the run
// any more.
func TestDependencyOnARunThatRemovedItself(t *testing.T) {
	failing := strings.Replace(backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	for name, c := range map[string]struct {
		job   string
		after func(b, schema *bench, job *unstructured.Unstructured)
		held  string
	}{
		"well, by its events": {job: backfill("migrate", 1, "ttlSecondsAfterFinished: 0")},
		"well, by the record": {job: backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), after: func(b, schema *bench, job *unstructured.Unstructured) {
			schema.noteFates()
			b.forgetEvents(job)
		}},
		"events forgotten": {job: backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), after: func(b, _ *bench, job *unstructured.Unstructured) {
			b.forgetEvents(job)
		}},
		"failed, by its events": {job: failing, held: "failed before it removed itself, by the record of schema@prod"},
		"failed, by the record": {job: failing, held: "failed before it removed itself, by the record of schema@prod", after: func(b, schema *bench, job *unstructured.Unstructured) {
			schema.noteFates()
			b.forgetEvents(job)
		}},
		"deleted while it ran": {job: backfill("migrate", 600, "ttlSecondsAfterFinished: 0"), held: "was deleted before it ended"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			schema := b.other("schema")
			user := func(value string) manifest.Set {
				return b.set(annotated(settings("user", value), dependsOn("batch/namespaces/"+b.namespace+"/Job/migrate")))
			}
			if got := b.sync(user("1")).Held; len(got) != 1 || !strings.Contains(got[0].Held.Message, "is not in the cluster") {
				t.Fatalf("before the run: %v", got)
			}
			schema.sync(schema.set(c.job))
			var job *unstructured.Unstructured
			b.eventually("the job is seen", func() bool { job = b.get(jobs, b.namespace, "migrate"); return job != nil })
			if c.held == "was deleted before it ended" {
				b.awaitRun(jobs, "migrate", health.Running)
				if got := b.sync(user("1")).Held; len(got) != 1 || !strings.Contains(got[0].Held.Message, "runs (") {
					t.Fatalf("during the run: %v", got)
				}
				b.eventually("its events tell of it", func() bool { return b.eventsOf(job) > 0 })
				b.delete(jobs, b.namespace, "migrate")
			}
			b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "migrate") == nil })
			if c.after != nil {
				c.after(b, schema, job)
			}
			applied := b.sync(user("1"))
			if c.held == "" {
				if got := actions(applied.Changes); got != "Create ConfigMap/user" {
					t.Errorf("applied: %s, held: %+v", got, applied.Held)
				}
				if got := actions(b.sync(user("2")).Changes); got != "Update ConfigMap/user" {
					t.Errorf("a change: %s", got)
				}
				return
			}
			if len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Job/"+b.namespace+"/migrate "+c.held) {
				t.Errorf("applied: %s, held: %+v", actions(applied.Changes), applied.Held)
			}
		})
	}
}

// noteFates records the outcomes of a target's runs that are gone, as each of its passes does.
func (b *bench) noteFates() {
	b.t.Helper()
	b.eventually("the events tell how it ended", func() bool {
		entries := b.record().Status.Inventory
		inventory.Fates(b.ctx, b.cluster, entries, inventory.Members{})
		b.save(entries)
		return entries[0].Completed
	})
}

func (b *bench) eventsOf(obj *unstructured.Unstructured) int {
	b.t.Helper()
	list, err := b.admin.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(b.namespace).List(b.ctx,
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(obj.GetUID())})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(list.Items)
}

// forgetEvents deletes the events of an object, as the API server does after an hour.
func (b *bench) forgetEvents(of *unstructured.Unstructured) {
	b.t.Helper()
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	err := b.admin.Resource(events).Namespace(b.namespace).DeleteCollection(b.ctx, metav1.DeleteOptions{},
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(of.GetUID())})
	if err != nil {
		b.t.Fatal(err)
	}
}

// An object that waits for a run of its own set still waits after the run has failed and removed itself.
func TestDependencyOnAnOwnRunThatFailedAndRemovedItself(t *testing.T) {
	b := newBench(t)
	failing := strings.Replace(backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	set := b.set(join(failing, annotated(settings("app", "1"), dependsOn("batch/namespaces/"+b.namespace+"/Job/migrate"))))
	b.sync(set)
	b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "migrate") == nil })
	b.noteFates()
	applied := b.sync(set)
	if len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "migrate failed before it removed itself") {
		t.Errorf("applied: %s, held: %+v", actions(applied.Changes), applied.Held)
	}
}

// The wait for an object ends when the object is gone: it may have succeeded, and its record shows this.
func TestWaitForADependencyEndsWithIt(t *testing.T) {
	b := newBench(t)
	schema := b.other("schema")
	schema.sync(schema.set(backfill("migrate", 2, "ttlSecondsAfterFinished: 0")))
	b.awaitRun(jobs, "migrate", health.Running)
	set := b.set(annotated(settings("user", "1"), dependsOn("batch/namespaces/"+b.namespace+"/Job/migrate")))
	for applied := b.sync(set); len(applied.Held) > 0; applied = b.sync(set) {
		if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
			t.Fatal(err)
		}
	}
	if b.get(configMaps, b.namespace, "user") == nil {
		t.Error("it was not applied")
	}
}

func TestOrderErrors(t *testing.T) {
	b := newBench(t)
	on := func(name string) string { return dependsOn("/namespaces/" + b.namespace + "/ConfigMap/" + name) }
	for name, c := range map[string]struct{ docs, want string }{
		"circle":    {join(annotated(settings("a", "1"), on("b")), annotated(settings("b", "1"), on("a"))), "goes in a circle: ConfigMap/" + b.namespace + "/a on ConfigMap/" + b.namespace + "/b on ConfigMap/" + b.namespace + "/a"},
		"itself":    {annotated(settings("a", "1"), on("a")), "goes in a circle: "},
		"no object": {annotated(settings("a", "1"), dependsOn("somewhere")), `"somewhere" names no object; write GROUP/KIND/NAME`},
		"no number": {annotated(settings("a", "1"), `argocd.argoproj.io/sync-wave: "first"`), `"first" is not a whole number`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.tryPlan(b.set(c.docs))
			wantError(t, err, "ConfigMap/"+b.namespace+"/a: annotation ", c.want)
		})
	}
}
