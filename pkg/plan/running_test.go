package plan_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/watch"
)

// The kinds of work that the laboratory can run, with a change that would interrupt a run.
var work = map[string]struct {
	doc      func(name string, seconds int, more ...string) string
	resource schema.GroupVersionResource
	from, to string
	change   manifest.Action
}{
	"SparkApplication": {sparkApp, bench.SparkApps, "spark:1", "spark:2", manifest.Update},
	"Job":              {bench.Backfill, bench.Jobs, "backfill:1", "backfill:2", manifest.Replace},
}

func TestRunningWorkSurvivesADeploy(t *testing.T) {
	for kind, w := range work {
		t.Run(kind, func(t *testing.T) {
			b := bench.New(t)
			doc := w.doc("daily", 5)
			pass.Sync(b, b.Set(bench.Join(doc, bench.Settings("beside", "1"), bench.Settings("old", "1"))))
			before := b.AwaitRun(w.resource, "daily", health.Running)

			changed := b.Set(bench.Join(strings.ReplaceAll(doc, w.from, w.to), bench.Settings("beside", "2")))
			applied := pass.Sync(b, changed)
			if got := bench.Actions(applied.Changes); got != "Update ConfigMap/beside" {
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
			if b.Get(bench.ConfigMaps, b.Namespace, "old") == nil {
				t.Error("what the run may need is gone")
			}
			after := b.Get(w.resource, b.Namespace, "daily")
			if after.GetUID() != before.GetUID() || after.GetGeneration() != before.GetGeneration() || (*health.Judge)(nil).Run(after).State != health.Running {
				t.Errorf("the run did not survive: generation %d, %+v", after.GetGeneration(), (*health.Judge)(nil).Run(after))
			}

			if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
				t.Fatal(err)
			}
			if live := b.Get(w.resource, b.Namespace, "daily"); (*health.Judge)(nil).Run(live).State != health.Ended {
				t.Errorf("the wait ended while it is %+v", (*health.Judge)(nil).Run(live))
			}
			if got := bench.Actions(pass.Sync(b, changed).Changes); got != "Prune ConfigMap/old, "+string(w.change)+" "+kind+"/daily" {
				t.Errorf("after the run: %s", got)
			}
			if live := b.Get(w.resource, b.Namespace, "daily"); !strings.Contains(bench.Images(live), w.to) {
				t.Errorf("it runs %s", bench.Images(live))
			}
			b.AwaitRun(w.resource, "daily", health.Running)
			pass.Sync(b, changed)
			pass.NothingToDo(b, changed)
		})
	}
}

// images are the values of every field named image.

func TestOnRunningReplace(t *testing.T) {
	for kind, w := range work {
		t.Run(kind, func(t *testing.T) {
			b := bench.New(t)
			doc := w.doc("daily", 600)
			pass.Sync(b, b.Set(doc))
			before := b.AwaitRun(w.resource, "daily", health.Running)
			applied := pass.Sync(b, b.Set(strings.ReplaceAll(doc, w.from, w.to)), pass.Under(plan.Policies{OnRunning: v1alpha1.Replace}))
			if got := bench.Actions(applied.Changes); got != string(w.change)+" "+kind+"/daily" || len(applied.Held) > 0 {
				t.Errorf("applied: %s, held: %v", got, applied.Held)
			}
			live := b.Get(w.resource, b.Namespace, "daily")
			if !strings.Contains(bench.Images(live), w.to) || (live.GetUID() == before.GetUID()) != (w.change == manifest.Update) {
				t.Errorf("it runs %s as %s", bench.Images(live), live.GetUID())
			}
		})
	}
}

func TestOnRunningSkipIsPartOfTheNextRun(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(sparkApp("daily", 3), "annotations: {", "annotations: {syncer.dev/on-running: skip, ", 1)
	pass.Sync(b, b.Set(bench.Join(doc, bench.Settings("beside", "1"))))
	b.AwaitRun(bench.SparkApps, "daily", health.Running)
	changed := b.Set(bench.Join(strings.ReplaceAll(doc, "spark:1", "spark:2"), bench.Settings("beside", "2")))
	applied := pass.Sync(b, changed)
	if got := bench.Actions(applied.Changes); got != "Update ConfigMap/beside" || len(applied.Held) > 0 {
		t.Errorf("applied: %s, held: %v", got, applied.Held)
	}
	b.AwaitRun(bench.SparkApps, "daily", health.Ended)
	if got := bench.Actions(pass.Plan(b, changed, pass.Full).Changes()); got != "" {
		t.Errorf("when the run has ended: %s", got)
	}
	b.Delete(bench.SparkApps, b.Namespace, "daily")
	b.Eventually("it is gone", func() bool { return b.Get(bench.SparkApps, b.Namespace, "daily") == nil })
	again := b.Set(bench.Join(strings.ReplaceAll(doc, "spark:1", "spark:3"), bench.Settings("beside", "2")))
	if got := bench.Actions(pass.Sync(b, again).Changes); got != "Create SparkApplication/daily" {
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
		"spark: a label": {sparkApp, bench.SparkApps, "namespace: $NS,", "namespace: $NS, labels: {team: b},"},
		"spark: its time to live": {func(n string, s int, m ...string) string {
			return sparkApp(n, s, append(m, "timeToLiveSeconds: 60")...)
		}, bench.SparkApps, "timeToLiveSeconds: 60", "timeToLiveSeconds: 90"},
		"job: a label":      {bench.Backfill, bench.Jobs, "namespace: $NS}", "namespace: $NS, labels: {team: b}}"},
		"job: its deadline": {bench.Backfill, bench.Jobs, "backoffLimit: 0", "backoffLimit: 0\n  activeDeadlineSeconds: 900"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			doc := c.doc("daily", 600)
			pass.Sync(b, b.Set(doc))
			before := b.AwaitRun(c.resource, "daily", health.Running)
			applied := pass.Sync(b, b.Set(strings.Replace(doc, c.from, c.to, 1)))
			if len(applied.Changes) != 1 || applied.Changes[0].Action != manifest.Update || len(applied.Held) > 0 {
				t.Errorf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
			}
			if after := b.Get(c.resource, b.Namespace, "daily"); after.GetUID() != before.GetUID() {
				t.Error("it is another object")
			}
		})
	}
}

// A run that begins between the plan and the write is respected as well.
func TestRunThatBeginsDuringTheApply(t *testing.T) {
	b := bench.New(t)
	doc := sparkApp("daily", 600)
	suspended := strings.Replace(doc, "spec:\n", "spec:\n  suspend: true\n", 1)
	pass.Sync(b, b.Set(suspended))
	changed := b.Set(strings.ReplaceAll(suspended, "spark:1", "spark:2"))
	planned := pass.Plan(b, changed)
	if got := bench.Actions(planned.Changes()); got != "Update SparkApplication/daily" {
		t.Fatalf("the plan: %s", got)
	}
	b.Edit(bench.SparkApps, "daily", `{"spec": {"suspend": false}}`)
	b.AwaitRun(bench.SparkApps, "daily", health.Running)
	applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
	if err != nil || len(applied.Held) != 1 || len(applied.Changes) > 0 {
		t.Errorf("applied: %s, held: %v, error: %v", bench.Actions(applied.Changes), applied.Held, err)
	}
	if live := b.Get(bench.SparkApps, b.Namespace, "daily"); bench.Images(live) != "spark:1" {
		t.Errorf("it was changed to %s while it ran", bench.Images(live))
	}
}

func TestRunThatLeavesGitEndsFirst(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(sparkApp("daily", 3), bench.Settings("stays", "1"))))
	b.AwaitRun(bench.SparkApps, "daily", health.Running)
	without := b.Set(bench.Settings("stays", "1"))
	applied := pass.Sync(b, without)
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || applied.Held[0].Held.Action != manifest.Prune {
		t.Errorf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
	}
	if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	if got := bench.Actions(pass.Sync(b, without).Changes); got != "Prune SparkApplication/daily" {
		t.Errorf("after its end: %s", got)
	}
}

func TestFinishedJobIsReplaced(t *testing.T) {
	b := bench.New(t)
	doc := bench.Backfill("once", 1)
	pass.Sync(b, b.Set(doc))
	before := b.AwaitRun(bench.Jobs, "once", health.Ended)
	changed := b.Set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))
	planned := pass.Plan(b, changed)
	if got := bench.Actions(planned.Changes()); got != "Replace Job/once" || len(planned.Changes()[0].Fields) == 0 {
		t.Errorf("the plan: %s %v", got, planned.Changes()[0].Fields)
	}
	pass.Sync(b, changed)
	if live := b.Get(bench.Jobs, b.Namespace, "once"); live.GetUID() == before.GetUID() || bench.Images(live) != "backfill:2" {
		t.Errorf("it is %s with %s", live.GetUID(), bench.Images(live))
	}
	b.AwaitRun(bench.Jobs, "once", health.Ended)
	pass.Sync(b, changed)
	pass.NothingToDo(b, changed)
}

// A new label on a Job that ran and is gone is no reason to run it again.
func TestOnlyItsSpecRunsAGoneJobAgain(t *testing.T) {
	b := bench.New(t)
	doc := bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0")
	pass.Sync(b, b.Set(doc))
	b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil })
	labelled := b.Set(strings.Replace(doc, "namespace: $NS}", "namespace: $NS, labels: {team: b}}", 1))
	for range 2 {
		if got := bench.Actions(pass.Sync(b, labelled).Changes); got != "" {
			t.Fatalf("a label: %s", got)
		}
	}
	if got := bench.Actions(pass.Plan(b, b.Set(strings.ReplaceAll(doc, "backfill:1", "backfill:2"))).Changes()); got != "Create Job/once" {
		t.Errorf("its image: %s", got)
	}
}

// If a syncer is killed after it created a Job, and restarts when the Job has run and removed itself, it must not run the
// Job again.
func TestJobThatRanWhileSyncerWasDeadIsNotRunAgain(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0"))
	if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, set), apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err) // its status is never written
	}
	b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil })
	b.Restart()
	for range 2 {
		if got := bench.Actions(pass.Sync(b, set).Changes); got != "" {
			t.Fatalf("it runs again: %s", got)
		}
	}
}

// A syncer that was killed before it created the Job must create it.
func TestJobThatWasNeverCreatedIsRun(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0"))
	whole := b.Cluster
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.Refusing{Inner: inner, Method: http.MethodPatch, Path: "/jobs/once"}
		})
	})
	if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, set), apply.Options{Spec: b.Spec()}); err == nil {
		t.Fatal("nothing refused the job")
	}
	b.Cluster = whole
	if got := bench.Actions(pass.Sync(b, set).Changes); got != "Create Job/once" {
		t.Errorf("it never ran: %s", got)
	}
}

func TestRerunOnChange(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(sparkApp("daily", 1), "annotations: {", `annotations: {lab.syncer.dev/outcome: failed, `, 1)
	pass.Sync(b, b.Set(doc))
	before := b.AwaitRun(bench.SparkApps, "daily", health.Ended)
	pass.Sync(b, b.Set(strings.ReplaceAll(doc, "spark:1", "spark:2")), pass.Under(plan.Policies{Rerun: v1alpha1.OnChange}))
	if live := b.Get(bench.SparkApps, b.Namespace, "daily"); live.GetUID() == before.GetUID() || bench.Images(live) != "spark:2" {
		t.Errorf("it is %s with %s", live.GetUID(), bench.Images(live))
	}
}

// syncer finds an operator that does not run a corrected application again, and can make it run.
func TestApplicationThatItsOperatorDoesNotRunAgain(t *testing.T) {
	b := bench.New(t)
	// No operator handles it: its status stays as it is set here.
	doc := strings.Replace(sparkApp("daily", 1), "spec:\n", "spec:\n  suspend: true\n", 1)
	pass.Sync(b, b.Set(doc))
	b.Status(bench.SparkApps, "daily", `{"status": {"submissionID": "first", "driverInfo": {}, "applicationState": {"state": "FAILED", "errorMessage": "no such table"}}}`)
	mended := b.Set(strings.ReplaceAll(doc, "spark:1", "spark:2"))
	pass.Sync(b, mended)
	var planned *plan.Plan
	b.Eventually("the operator has had its time", func() bool {
		planned = pass.Plan(b, mended)
		return len(planned.NotRerun()) > 0
	})
	if got := planned.NotRerun(); len(got) != 1 || got[0].Name != "daily" || len(planned.Pending()) > 0 {
		t.Errorf("not rerun: %v, pending: %s", got, bench.Actions(planned.Pending()))
	}
	applied := pass.Sync(b, mended, pass.Under(plan.Policies{Rerun: v1alpha1.OnChange}))
	if got := bench.Actions(applied.Changes); got != "Replace SparkApplication/daily" {
		t.Errorf("with OnChange: %s", got)
	}
	if got := pass.Plan(b, mended, pass.Under(plan.Policies{Rerun: v1alpha1.OnChange})); len(got.NotRerun()) > 0 || len(got.Pending()) > 0 {
		t.Errorf("afterwards: %v, %s", got.NotRerun(), bench.Actions(got.Pending()))
	}
}
