package plan_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
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
		if bench.IsWrite(e) && !bench.IsDryRun(e) && e.Object.Resource != bench.RecordResource.Resource && e.Object.Name != "syncer-inventory-key" {
			out = append(out, e.Object.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestWavesAndDependenciesOrderObjects(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(
		annotated(bench.Settings("late", "1"), wave(2)),
		annotated(bench.Settings("a-after-b", "1"), dependsOn("/namespaces/"+b.Namespace+"/ConfigMap/b")),
		bench.Settings("b", "1"),
		annotated(bench.Settings("early", "1"), wave(-1)),
	))
	if got := written(b.Requests(func() { pass.Sync(b, set) })); got != "early b a-after-b late" {
		t.Errorf("the order is %s", got)
	}
	pass.NothingToDo(b, set)
	if got := written(b.Requests(func() { pass.Sync(b, b.Set(bench.Settings("b", "1"))) })); got != "late a-after-b early" {
		t.Errorf("the order of the prunes is %s", got)
	}
}

// A migration must have run successfully before the users of its tables are changed.
func TestWaveWaitsForTheHealthOfTheOneBefore(t *testing.T) {
	for name, c := range map[string]struct{ first, second string }{
		"wave":       {bench.Backfill("migrate", 2), annotated(bench.Settings("app", "1"), wave(1))},
		"annotation": {bench.Backfill("migrate", 2), annotated(bench.Settings("app", "1"), dependsOn("batch/namespaces/$NS/Job/migrate"))},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			set := b.Set(bench.Join(c.first, c.second))
			applied := pass.Sync(b, set)
			if got := bench.Actions(applied.Changes); got != "Create Job/migrate" || len(applied.Held) != 1 {
				t.Fatalf("applied: %s, held: %v", got, applied.Held)
			}
			if held := applied.Held[0].Held; held.Reason != manifest.HeldDependency || !strings.Contains(held.Message, "Job/"+b.Namespace+"/migrate") {
				t.Errorf("held: %+v", held)
			}
			if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
				t.Fatal(err)
			}
			if run := (*health.Judge)(nil).Run(b.Get(bench.Jobs, b.Namespace, "migrate")); run.State != health.Ended {
				t.Errorf("the wait ended while it is %+v", run)
			}
			if got := bench.Actions(pass.Sync(b, set).Changes); got != "Create ConfigMap/app" {
				t.Errorf("after it: %s", got)
			}
		})
	}
}

func TestDependencyOutsideTheSet(t *testing.T) {
	b := bench.New(t)
	set := b.Set(annotated(bench.Settings("app", "1"), dependsOn("/namespaces/"+b.Namespace+"/ConfigMap/theirs")))
	applied := pass.Sync(b, set)
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "ConfigMap/"+b.Namespace+"/theirs is not in the cluster") {
		t.Fatalf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
	}
	b.Create(bench.ConfigMaps, bench.Settings("theirs", "1"))
	if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	if got := bench.Actions(pass.Sync(b, set).Changes); got != "Create ConfigMap/app" {
		t.Errorf("when it is there: %s", got)
	}
}

// The record of the target that owns a run shows the outcome after the run removed itself. The cluster does not have the run
// any more.
func TestDependencyOnARunThatRemovedItself(t *testing.T) {
	failing := strings.Replace(bench.Backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	for name, c := range map[string]struct {
		job   string
		after func(b, schema *bench.Bench, job *unstructured.Unstructured)
		held  string
	}{
		"well, by its events": {job: bench.Backfill("migrate", 1, "ttlSecondsAfterFinished: 0")},
		"well, by the record": {job: bench.Backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), after: func(b, schema *bench.Bench, job *unstructured.Unstructured) {
			noteFates(schema)
			forgetEvents(b, job)
		}},
		"events forgotten": {job: bench.Backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), after: func(b, _ *bench.Bench, job *unstructured.Unstructured) {
			forgetEvents(b, job)
		}},
		"failed, by its events": {job: failing, held: "failed before it removed itself, by the record of schema@prod"},
		"failed, by the record": {job: failing, held: "failed before it removed itself, by the record of schema@prod", after: func(b, schema *bench.Bench, job *unstructured.Unstructured) {
			noteFates(schema)
			forgetEvents(b, job)
		}},
		"deleted while it ran": {job: bench.Backfill("migrate", 600, "ttlSecondsAfterFinished: 0"), held: "was deleted before it ended"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			schema := b.Other("schema")
			user := func(value string) manifest.Set {
				return b.Set(annotated(bench.Settings("user", value), dependsOn("batch/namespaces/"+b.Namespace+"/Job/migrate")))
			}
			if got := pass.Sync(b, user("1")).Held; len(got) != 1 || !strings.Contains(got[0].Held.Message, "is not in the cluster") {
				t.Fatalf("before the run: %v", got)
			}
			pass.Sync(schema, schema.Set(c.job))
			var job *unstructured.Unstructured
			b.Eventually("the job is seen", func() bool { job = b.Get(bench.Jobs, b.Namespace, "migrate"); return job != nil })
			if c.held == "was deleted before it ended" {
				b.AwaitRun(bench.Jobs, "migrate", health.Running)
				if got := pass.Sync(b, user("1")).Held; len(got) != 1 || !strings.Contains(got[0].Held.Message, "runs (") {
					t.Fatalf("during the run: %v", got)
				}
				b.Eventually("its events tell of it", func() bool { return eventsOf(b, job) > 0 })
				b.Delete(bench.Jobs, b.Namespace, "migrate")
			}
			b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "migrate") == nil })
			if c.after != nil {
				c.after(b, schema, job)
			}
			applied := pass.Sync(b, user("1"))
			if c.held == "" {
				if got := bench.Actions(applied.Changes); got != "Create ConfigMap/user" {
					t.Errorf("applied: %s, held: %+v", got, applied.Held)
				}
				if got := bench.Actions(pass.Sync(b, user("2")).Changes); got != "Update ConfigMap/user" {
					t.Errorf("a change: %s", got)
				}
				return
			}
			if len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Job/"+b.Namespace+"/migrate "+c.held) {
				t.Errorf("applied: %s, held: %+v", bench.Actions(applied.Changes), applied.Held)
			}
		})
	}
}

// noteFates records the outcomes of a target's runs that are gone, as each of its passes does.
func noteFates(b *bench.Bench) {
	b.T.Helper()
	b.Eventually("the events tell how it ended", func() bool {
		entries := b.Record().Status.Inventory
		inventory.Fates(b.Ctx, b.Cluster, entries, inventory.Members{})
		b.Save(entries)
		return entries[0].Completed
	})
}

func eventsOf(b *bench.Bench, obj *unstructured.Unstructured) int {
	b.T.Helper()
	list, err := b.Admin.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(b.Namespace).List(b.Ctx,
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(obj.GetUID())})
	if err != nil {
		b.T.Fatal(err)
	}
	return len(list.Items)
}

// forgetEvents deletes the events of an object, as the API server does after an hour.
func forgetEvents(b *bench.Bench, of *unstructured.Unstructured) {
	b.T.Helper()
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	err := b.Admin.Resource(events).Namespace(b.Namespace).DeleteCollection(b.Ctx, metav1.DeleteOptions{},
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(of.GetUID())})
	if err != nil {
		b.T.Fatal(err)
	}
}

// An object that waits for a run of its own set still waits after the run has failed and removed itself.
func TestDependencyOnAnOwnRunThatFailedAndRemovedItself(t *testing.T) {
	b := bench.New(t)
	failing := strings.Replace(bench.Backfill("migrate", 1, "ttlSecondsAfterFinished: 0"), "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	set := b.Set(bench.Join(failing, annotated(bench.Settings("app", "1"), dependsOn("batch/namespaces/"+b.Namespace+"/Job/migrate"))))
	pass.Sync(b, set)
	b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "migrate") == nil })
	noteFates(b)
	applied := pass.Sync(b, set)
	if len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "migrate failed before it removed itself") {
		t.Errorf("applied: %s, held: %+v", bench.Actions(applied.Changes), applied.Held)
	}
}

// The wait for an object ends when the object is gone: it may have succeeded, and its record shows this.
func TestWaitForADependencyEndsWithIt(t *testing.T) {
	b := bench.New(t)
	schema := b.Other("schema")
	pass.Sync(schema, schema.Set(bench.Backfill("migrate", 2, "ttlSecondsAfterFinished: 0")))
	b.AwaitRun(bench.Jobs, "migrate", health.Running)
	set := b.Set(annotated(bench.Settings("user", "1"), dependsOn("batch/namespaces/"+b.Namespace+"/Job/migrate")))
	for applied := pass.Sync(b, set); len(applied.Held) > 0; applied = pass.Sync(b, set) {
		if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
			t.Fatal(err)
		}
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "user") == nil {
		t.Error("it was not applied")
	}
}

func TestOrderErrors(t *testing.T) {
	b := bench.New(t)
	on := func(name string) string { return dependsOn("/namespaces/" + b.Namespace + "/ConfigMap/" + name) }
	for name, c := range map[string]struct{ docs, want string }{
		"circle":    {bench.Join(annotated(bench.Settings("a", "1"), on("b")), annotated(bench.Settings("b", "1"), on("a"))), "goes in a circle: ConfigMap/" + b.Namespace + "/a on ConfigMap/" + b.Namespace + "/b on ConfigMap/" + b.Namespace + "/a"},
		"itself":    {annotated(bench.Settings("a", "1"), on("a")), "goes in a circle: "},
		"no object": {annotated(bench.Settings("a", "1"), dependsOn("somewhere")), `"somewhere" names no object; write GROUP/KIND/NAME`},
		"no number": {annotated(bench.Settings("a", "1"), `argocd.argoproj.io/sync-wave: "first"`), `"first" is not a whole number`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pass.TryPlan(b, b.Set(c.docs))
			bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/a: annotation ", c.want)
		})
	}
}
