package apply_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// unmanaged is a Job whose controller is the test.
func unmanaged(image string) string {
	return strings.Replace(bench.Backfill("slow", 600, "managedBy: example.com/test"), "backfill:1", image, 1)
}

// pod creates a pod of a Job, as its controller does.
func createPod(b *bench.Bench, job *unstructured.Unstructured) {
	b.T.Helper()
	b.Create(bench.Pods, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: slow-x, namespace: $NS, labels: {batch.kubernetes.io/controller-uid: %[1]s, batch.kubernetes.io/job-name: slow, controller-uid: %[1]s, job-name: slow}}
spec: {restartPolicy: Never, containers: [{name: main, image: "backfill:1"}]}
`, job.GetUID()))
}

func refusePods(b *bench.Bench, job *unstructured.Unstructured) {
	b.T.Helper()
	b.Create(bench.Events, fmt.Sprintf(`
apiVersion: v1
kind: Event
metadata: {name: slow.1, namespace: $NS}
involvedObject: {apiVersion: batch/v1, kind: Job, namespace: $NS, name: slow, uid: %s}
type: Warning
reason: FailedCreate
message: exceeded quota
`, job.GetUID()))
}

const hasStart = `{"status":{"startTime":"2026-01-01T00:00:00Z"}}`

// Between its start and its first counted pod a Job may have pods that its status does not show.
func TestJobBetweenItsStartAndItsFirstPod(t *testing.T) {
	for name, c := range map[string]struct {
		happen func(*bench.Bench, *unstructured.Unstructured)
		held   string // the words of the hold; "": the Job is replaced
	}{
		"not taken up yet":             {func(*bench.Bench, *unstructured.Unstructured) {}, ""},
		"has a pod, and no status yet": {func(b *bench.Bench, job *unstructured.Unstructured) { createPod(b, job) }, "does not count its pods yet"},
		"has a start, and no pod yet":  {func(b *bench.Bench, _ *unstructured.Unstructured) { b.Status(bench.Jobs, "slow", hasStart) }, "its first pod is awaited"},
		"has a start, and a pod that is not counted": {func(b *bench.Bench, job *unstructured.Unstructured) {
			b.Status(bench.Jobs, "slow", hasStart)
			createPod(b, job)
		}, "does not count its pods yet"},
		"cannot make a pod": {func(b *bench.Bench, job *unstructured.Unstructured) {
			b.Status(bench.Jobs, "slow", hasStart)
			refusePods(b, job)
		}, ""},
		"could not make a pod, and has one now": {func(b *bench.Bench, job *unstructured.Unstructured) {
			b.Status(bench.Jobs, "slow", hasStart)
			refusePods(b, job)
			createPod(b, job)
		}, "does not count its pods yet"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(bench.Join(unmanaged("backfill:1"), bench.Settings("beside", "1"))))
			before := b.Get(bench.Jobs, b.Namespace, "slow")
			c.happen(b, before)
			set := b.Set(bench.Join(unmanaged("backfill:2"), bench.Settings("beside", "1")))
			applied := pass.Sync(b, set)
			replaced := b.Get(bench.Jobs, b.Namespace, "slow").GetUID() != before.GetUID()
			if replaced != (c.held == "") {
				t.Errorf("replaced: %t; held: %+v", replaced, applied.Held)
			}
			if c.held != "" && (len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, c.held)) {
				t.Errorf("held: %+v", applied.Held)
			}
			if replaced {
				return
			}
			pruned := pass.Sync(b, b.Set(bench.Settings("beside", "1")))
			if b.Get(bench.Jobs, b.Namespace, "slow") == nil || len(pruned.Held) != 1 {
				t.Errorf("it is pruned; held: %+v", pruned.Held)
			}
		})
	}
}

// The first pod may come between the plan and the write, and the Job's status does not show it. A late write of an older
// commit meets a running Job.
func TestJobThatBeginsBetweenPlanAndWrite(t *testing.T) {
	for name, happen := range map[string]func(*bench.Bench, *unstructured.Unstructured){
		"a pod":   func(b *bench.Bench, job *unstructured.Unstructured) { createPod(b, job) },
		"a start": func(b *bench.Bench, _ *unstructured.Unstructured) { b.Status(bench.Jobs, "slow", hasStart) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(unmanaged("backfill:1")))
			before := b.Get(bench.Jobs, b.Namespace, "slow")
			planned := pass.Plan(b, b.Set(unmanaged("backfill:2")))
			if got := bench.Actions(planned.Changes()); got != "Replace Job/slow" {
				t.Fatalf("the plan: %s", got)
			}
			happen(b, before)
			applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
			if err != nil {
				t.Fatal(err)
			}
			if b.Get(bench.Jobs, b.Namespace, "slow").GetUID() != before.GetUID() || len(applied.Held) != 1 || applied.Held[0].Held.Reason != manifest.HeldRunning {
				t.Errorf("it is replaced; held: %+v", applied.Held)
			}
		})
	}
}

// Another syncer replaces the Job by its own while this one waits until the Job is gone. The new Job is not touched.
func TestLateReplacementMeetsTheJobOfAnotherSyncer(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(unmanaged("backfill:1")))
	newer := b.Set(unmanaged("backfill:3"))
	late := pass.Plan(b, b.Set(unmanaged("backfill:2")))
	other := *b
	var theirs *unstructured.Unstructured
	b.Before(http.MethodDelete, func() {
		if theirs == nil {
			pass.Sync(&other, newer, pass.Under(plan.Policies{OnRunning: v1alpha1.Replace}))
			theirs = b.Get(bench.Jobs, b.Namespace, "slow")
			b.Status(bench.Jobs, "slow", hasStart)
		}
	})
	_, err := apply.Carry(b.Ctx, b.Cluster, late, apply.Options{Spec: b.Spec()})
	if live := b.Get(bench.Jobs, b.Namespace, "slow"); theirs == nil || live.GetUID() != theirs.GetUID() || !strings.Contains(bench.Images(live), "backfill:3") {
		t.Errorf("the Job is %s: %s (%v)", live.GetUID(), bench.Images(live), err)
	}
}
