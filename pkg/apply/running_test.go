package apply_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/watch"
)

func rules(r plan.Policies) func(*plan.Request) { return func(req *plan.Request) { req.Policies = r } }

// awaitRun waits until an object is in a state of its run.
func (b *bench) awaitRun(resource schema.GroupVersionResource, name string, state health.State) *unstructured.Unstructured {
	b.t.Helper()
	var live *unstructured.Unstructured
	b.eventually(name+" is "+string(state), func() bool {
		live = b.get(resource, b.namespace, name)
		return live != nil && (*health.Judge)(nil).Run(live).State == state
	})
	return live
}

// The kinds of work that the laboratory can run, with a change that would interrupt a run.
var work = map[string]struct {
	doc      func(name string, seconds int, more ...string) string
	resource schema.GroupVersionResource
	from, to string
	change   manifest.Action
}{
	"SparkApplication": {sparkApp, sparkApps, "spark:1", "spark:2", manifest.Update},
	"Job":              {backfill, jobs, "backfill:1", "backfill:2", manifest.Replace},
}

func TestRunningWorkSurvivesADeploy(t *testing.T) {
	for kind, w := range work {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			doc := w.doc("daily", 5)
			b.sync(b.set(join(doc, settings("beside", "1"), settings("old", "1"))))
			before := b.awaitRun(w.resource, "daily", health.Running)

			changed := b.set(join(strings.ReplaceAll(doc, w.from, w.to), settings("beside", "2")))
			applied := b.sync(changed)
			if got := actions(applied.Changes); got != "Update ConfigMap/beside" {
				t.Errorf("applied: %s", got)
			}
			held := map[string]manifest.Held{}
			for _, change := range applied.Held {
				held[change.ID.Name] = *change.Held
			}
			if h := held["daily"]; len(held) != 2 || h.Action != w.change || h.Reason != manifest.HeldRunning || !strings.HasPrefix(h.Message, "the ") {
				t.Errorf("held: %+v", held)
			}
			if h := held["old"]; h.Action != manifest.Prune || h.Reason != manifest.HeldInUse {
				t.Errorf("what the run may need: %+v", h)
			}
			if b.get(configMaps, b.namespace, "old") == nil {
				t.Error("what the run may need is gone")
			}
			after := b.get(w.resource, b.namespace, "daily")
			if after.GetUID() != before.GetUID() || after.GetGeneration() != before.GetGeneration() || (*health.Judge)(nil).Run(after).State != health.Running {
				t.Errorf("the run did not survive: generation %d, %+v", after.GetGeneration(), (*health.Judge)(nil).Run(after))
			}

			if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
				t.Fatal(err)
			}
			if live := b.get(w.resource, b.namespace, "daily"); (*health.Judge)(nil).Run(live).State != health.Ended {
				t.Errorf("the wait ended while it is %+v", (*health.Judge)(nil).Run(live))
			}
			if got := actions(b.sync(changed).Changes); got != "Prune ConfigMap/old, "+string(w.change)+" "+kind+"/daily" {
				t.Errorf("after the run: %s", got)
			}
			if live := b.get(w.resource, b.namespace, "daily"); !strings.Contains(images(live), w.to) {
				t.Errorf("it runs %s", images(live))
			}
			b.awaitRun(w.resource, "daily", health.Running)
			b.sync(changed)
			b.nothingToDo(changed)
		})
	}
}

// images are the values of every field named image.
func images(obj *unstructured.Unstructured) string {
	var out []string
	for _, field := range manifest.Leaves(obj.Object) {
		if strings.HasSuffix(field.Path.String(), ".image") {
			out = append(out, field.Value.(string))
		}
	}
	return strings.Join(out, " ")
}

func TestOnRunningReplace(t *testing.T) {
	for kind, w := range work {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			doc := w.doc("daily", 600)
			b.sync(b.set(doc))
			before := b.awaitRun(w.resource, "daily", health.Running)
			applied := b.sync(b.set(strings.ReplaceAll(doc, w.from, w.to)), rules(plan.Policies{OnRunning: v1alpha1.Replace}))
			if got := actions(applied.Changes); got != string(w.change)+" "+kind+"/daily" || len(applied.Held) > 0 {
				t.Errorf("applied: %s, held: %v", got, applied.Held)
			}
			live := b.get(w.resource, b.namespace, "daily")
			if !strings.Contains(images(live), w.to) || (live.GetUID() == before.GetUID()) != (w.change == manifest.Update) {
				t.Errorf("it runs %s as %s", images(live), live.GetUID())
			}
		})
	}
}

func TestOnRunningSkipIsPartOfTheNextRun(t *testing.T) {
	b := newBench(t)
	doc := strings.Replace(sparkApp("daily", 3), "annotations: {", "annotations: {syncer.dev/on-running: skip, ", 1)
	b.sync(b.set(join(doc, settings("beside", "1"))))
	b.awaitRun(sparkApps, "daily", health.Running)
	changed := b.set(join(strings.ReplaceAll(doc, "spark:1", "spark:2"), settings("beside", "2")))
	applied := b.sync(changed)
	if got := actions(applied.Changes); got != "Update ConfigMap/beside" || len(applied.Held) > 0 {
		t.Errorf("applied: %s, held: %v", got, applied.Held)
	}
	b.awaitRun(sparkApps, "daily", health.Ended)
	if got := actions(b.plan(changed, full).Changes()); got != "" {
		t.Errorf("when the run has ended: %s", got)
	}
	b.delete(sparkApps, b.namespace, "daily")
	b.eventually("it is gone", func() bool { return b.get(sparkApps, b.namespace, "daily") == nil })
	again := b.set(join(strings.ReplaceAll(doc, "spark:1", "spark:3"), settings("beside", "2")))
	if got := actions(b.sync(again).Changes); got != "Create SparkApplication/daily" {
		t.Errorf("the next change: %s", got)
	}
}

// The Spark operator restarts an application for nearly every field of its spec, and for no field of its metadata.
func TestChangesThatARunSurvivesGoOutAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		doc      func(name string, seconds int, more ...string) string
		resource schema.GroupVersionResource
		from, to string
	}{
		"spark: a label": {sparkApp, sparkApps, "namespace: $NS,", "namespace: $NS, labels: {team: b},"},
		"spark: its time to live": {func(n string, s int, m ...string) string {
			return sparkApp(n, s, append(m, "timeToLiveSeconds: 60")...)
		}, sparkApps, "timeToLiveSeconds: 60", "timeToLiveSeconds: 90"},
		"job: a label":      {backfill, jobs, "namespace: $NS}", "namespace: $NS, labels: {team: b}}"},
		"job: its deadline": {backfill, jobs, "backoffLimit: 0", "backoffLimit: 0\n  activeDeadlineSeconds: 900"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			doc := c.doc("daily", 600)
			b.sync(b.set(doc))
			before := b.awaitRun(c.resource, "daily", health.Running)
			applied := b.sync(b.set(strings.Replace(doc, c.from, c.to, 1)))
			if len(applied.Changes) != 1 || applied.Changes[0].Action != manifest.Update || len(applied.Held) > 0 {
				t.Errorf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
			}
			if after := b.get(c.resource, b.namespace, "daily"); after.GetUID() != before.GetUID() {
				t.Error("it is another object")
			}
		})
	}
}

// A run that begins between the plan and the write is respected as well.
func TestRunThatBeginsDuringTheApply(t *testing.T) {
	b := newBench(t)
	doc := sparkApp("daily", 600)
	suspended := strings.Replace(doc, "spec:\n", "spec:\n  suspend: true\n", 1)
	b.sync(b.set(suspended))
	changed := b.set(strings.ReplaceAll(suspended, "spark:1", "spark:2"))
	planned := b.plan(changed)
	if got := actions(planned.Changes()); got != "Update SparkApplication/daily" {
		t.Fatalf("the plan: %s", got)
	}
	b.edit(sparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.awaitRun(sparkApps, "daily", health.Running)
	applied, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
	if err != nil || len(applied.Held) != 1 || len(applied.Changes) > 0 {
		t.Errorf("applied: %s, held: %v, error: %v", actions(applied.Changes), applied.Held, err)
	}
	if live := b.get(sparkApps, b.namespace, "daily"); images(live) != "spark:1" {
		t.Errorf("it was changed to %s while it ran", images(live))
	}
}

// One change may wait for the end of an object's run, and another change of the same object may wait for something else.
func TestAwaitChangeNoticesEachReason(t *testing.T) {
	b := newBench(t)
	set := b.set(backfill("long", 600))
	b.sync(set)
	b.awaitRun(jobs, "long", health.Running)
	id := manifest.IDOf(set[0])
	waits := func(reason manifest.HoldReason) manifest.Change {
		return manifest.Change{Held: &manifest.Held{Reason: reason, For: []manifest.ID{id}}}
	}
	if err := watch.AwaitChange(b.ctx, b.cluster, []manifest.Change{waits(manifest.HeldRunning), waits(manifest.HeldHealth)}); err != nil {
		t.Errorf("a healthy object is waited for: %v", err)
	}
}

func TestRunThatLeavesGitEndsFirst(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(sparkApp("daily", 3), settings("stays", "1"))))
	b.awaitRun(sparkApps, "daily", health.Running)
	without := b.set(settings("stays", "1"))
	applied := b.sync(without)
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || applied.Held[0].Held.Action != manifest.Prune {
		t.Errorf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
	if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	if got := actions(b.sync(without).Changes); got != "Prune SparkApplication/daily" {
		t.Errorf("after its end: %s", got)
	}
}

func TestFinishedJobIsReplaced(t *testing.T) {
	b := newBench(t)
	doc := backfill("once", 1)
	b.sync(b.set(doc))
	before := b.awaitRun(jobs, "once", health.Ended)
	changed := b.set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	planned := b.plan(changed)
	if got := actions(planned.Changes()); got != "Replace Job/once" || len(planned.Changes()[0].Fields) == 0 {
		t.Errorf("the plan: %s %v", got, planned.Changes()[0].Fields)
	}
	b.sync(changed)
	if live := b.get(jobs, b.namespace, "once"); live.GetUID() == before.GetUID() || images(live) != "backfill:2" {
		t.Errorf("it is %s with %s", live.GetUID(), images(live))
	}
	b.awaitRun(jobs, "once", health.Ended)
	b.sync(changed)
	b.nothingToDo(changed)
}

// A new label on a Job that ran and is gone is no reason to run it again.
func TestOnlyItsSpecRunsAGoneJobAgain(t *testing.T) {
	b := newBench(t)
	doc := backfill("once", 1, "ttlSecondsAfterFinished: 0")
	b.sync(b.set(doc))
	b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "once") == nil })
	labelled := b.set(strings.Replace(doc, "namespace: $NS}", "namespace: $NS, labels: {team: b}}", 1))
	for range 2 {
		if got := actions(b.sync(labelled).Changes); got != "" {
			t.Fatalf("a label: %s", got)
		}
	}
	if got := actions(b.plan(b.set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))).Changes()); got != "Create Job/once" {
		t.Errorf("its image: %s", got)
	}
}

// If a syncer is killed after it created a Job, and restarts when the Job has run and removed itself, it must not run the
// Job again.
func TestJobThatRanWhileSyncerWasDeadIsNotRunAgain(t *testing.T) {
	b := newBench(t)
	set := b.set(backfill("once", 1, "ttlSecondsAfterFinished: 0"))
	if _, err := apply.Carry(b.ctx, b.cluster, b.plan(set), apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err) // its status is never written
	}
	b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "once") == nil })
	b.restart()
	for range 2 {
		if got := actions(b.sync(set).Changes); got != "" {
			t.Fatalf("it runs again: %s", got)
		}
	}
}

// A syncer that was killed before it created the Job must create it.
func TestJobThatWasNeverCreatedIsRun(t *testing.T) {
	b := newBench(t)
	set := b.set(backfill("once", 1, "ttlSecondsAfterFinished: 0"))
	whole := b.cluster
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return refusing{inner, http.MethodPatch, "/jobs/once"}
		})
	})
	if _, err := apply.Carry(b.ctx, b.cluster, b.plan(set), apply.Options{Spec: b.spec()}); err == nil {
		t.Fatal("nothing refused the job")
	}
	b.cluster = whole
	if got := actions(b.sync(set).Changes); got != "Create Job/once" {
		t.Errorf("it never ran: %s", got)
	}
}

func TestRerunOnChange(t *testing.T) {
	b := newBench(t)
	doc := strings.Replace(sparkApp("daily", 1), "annotations: {", `annotations: {lab.syncer.dev/outcome: failed, `, 1)
	b.sync(b.set(doc))
	before := b.awaitRun(sparkApps, "daily", health.Ended)
	b.sync(b.set(strings.ReplaceAll(doc, "spark:1", "spark:2")), rules(plan.Policies{Rerun: v1alpha1.OnChange}))
	if live := b.get(sparkApps, b.namespace, "daily"); live.GetUID() == before.GetUID() || images(live) != "spark:2" {
		t.Errorf("it is %s with %s", live.GetUID(), images(live))
	}
}

// syncer finds an operator that does not run a corrected application again, and can make it run.
func TestApplicationThatItsOperatorDoesNotRunAgain(t *testing.T) {
	b := newBench(t)
	// No operator handles it: its status stays as it is set here.
	doc := strings.Replace(sparkApp("daily", 1), "spec:\n", "spec:\n  suspend: true\n", 1)
	b.sync(b.set(doc))
	b.status(sparkApps, "daily", `{"status": {"submissionID": "first", "driverInfo": {}, "applicationState": {"state": "FAILED", "errorMessage": "no such table"}}}`)
	mended := b.set(strings.ReplaceAll(doc, "spark:1", "spark:2"))
	b.sync(mended)
	var planned *plan.Plan
	b.eventually("the operator has had its time", func() bool {
		planned = b.plan(mended)
		return len(planned.NotRerun()) > 0
	})
	if got := planned.NotRerun(); len(got) != 1 || got[0].Name != "daily" || len(planned.Pending()) > 0 {
		t.Errorf("not rerun: %v, pending: %s", got, actions(planned.Pending()))
	}
	applied := b.sync(mended, rules(plan.Policies{Rerun: v1alpha1.OnChange}))
	if got := actions(applied.Changes); got != "Replace SparkApplication/daily" {
		t.Errorf("with OnChange: %s", got)
	}
	if got := b.plan(mended, rules(plan.Policies{Rerun: v1alpha1.OnChange})); len(got.NotRerun()) > 0 || len(got.Pending()) > 0 {
		t.Errorf("afterwards: %v, %s", got.NotRerun(), actions(got.Pending()))
	}
}
