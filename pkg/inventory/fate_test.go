package inventory_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// nightly is a Job whose controller is the test.
const nightly = `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: $NS}
spec:
  ttlSecondsAfterFinished: 600
  managedBy: example.com/test
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}
`

// event creates an event about the Job of an entry.
func event(b *bench.Bench, of types.UID, reason string, count int) {
	b.T.Helper()
	b.Create(bench.Events, fmt.Sprintf(`
apiVersion: v1
kind: Event
metadata: {name: once.%s.%d, namespace: $NS}
involvedObject: {apiVersion: batch/v1, kind: Job, namespace: $NS, name: once, uid: %s}
type: Normal
reason: %s
count: %d
`, strings.ToLower(reason), count, of, reason, count))
}

// gone is the entry of a Job that syncer applied a moment ago, and that is not there.
func gone(b *bench.Bench, uid types.UID) v1alpha1.InventoryEntry {
	rendered := b.Set(nightly)[0]
	return v1alpha1.InventoryEntry{
		APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: "once", Ephemeral: true, UID: uid,
		Spec: manifest.SpecHash(rendered), Written: &metav1.Time{Time: time.Now()},
	}
}

// The events of an object that is gone tell how its run ended, or that it did not end.
func TestFateIsReadFromEvents(t *testing.T) {
	for name, c := range map[string]struct {
		reasons                    []string
		completed, failed, deleted bool
	}{
		"ended well": {[]string{"SuccessfulCreate", "Completed"}, true, false, false},
		"failed":     {[]string{"SuccessfulCreate", "BackoffLimitExceeded"}, true, true, false},
		"no end":     {[]string{"SuccessfulCreate"}, false, false, true},
		"no events":  {nil, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			for _, reason := range c.reasons {
				event(b, "the-job", reason, 1)
			}
			entries := []v1alpha1.InventoryEntry{gone(b, "the-job")}
			inventory.Fates(b.Ctx, b.Cluster, entries, nil)
			if e := entries[0]; e.Completed != c.completed || e.Failed != c.failed || e.Deleted != c.deleted {
				t.Errorf("the inventory says %+v", e)
			}
			ended := inventory.AwaitFate(b.Ctx, b.Cluster, gone(b, "the-job"))
			if ended.Completed != c.completed || ended.Failed != c.failed || ended.Traces != (len(c.reasons) > 0) || ended.Err != nil {
				t.Errorf("its fate is %+v", ended)
			}
		})
	}
}

// An object that is gone before it could have removed itself was deleted, with or without events.
func TestObjectThatIsGoneTooSoonWasDeleted(t *testing.T) {
	b := bench.New(t)
	set := b.Set(nightly)
	recorded := func(entry v1alpha1.InventoryEntry) map[manifest.Key]v1alpha1.InventoryEntry {
		return map[manifest.Key]v1alpha1.InventoryEntry{entry.ID().Key(): entry}
	}
	soon, late, changed := gone(b, "no-events"), gone(b, "no-events"), gone(b, "no-events")
	late.Written = &metav1.Time{Time: time.Now().Add(-time.Hour)}
	changed.Spec = "sha256:other"
	b.Record() // the API server has told its date
	for name, c := range map[string]struct {
		entry   v1alpha1.InventoryEntry
		deleted bool
	}{"within its lifetime": {soon, true}, "after its lifetime": {late, false}, "of another spec": {changed, false}} {
		entries := recorded(c.entry)
		inventory.FatesOf(b.Ctx, b.Cluster, entries, inventory.Found{}, set)
		if got := entries[c.entry.ID().Key()]; got.Deleted != c.deleted || got.Completed {
			t.Errorf("%s: the inventory says %+v", name, got)
		}
		lost := inventory.CutOff(b.Ctx, b.Cluster, set[0], c.entry)
		if lost.Kind != manifest.CutOff || lost.Unproven == c.deleted {
			t.Errorf("%s: it is lost: %+v", name, lost)
		}
	}
}

// Between its start and its first counted pod a Job may have pods that its status does not show.
func TestRunOfAJobThatCountsNoPod(t *testing.T) {
	start := func(b *bench.Bench, _ *unstructured.Unstructured) {
		b.Status(bench.Jobs, "once", `{"status":{"startTime":"2026-01-01T00:00:00Z"}}`)
	}
	pod := func(b *bench.Bench, job *unstructured.Unstructured) {
		b.Create(bench.Pods, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: once-x, namespace: $NS, labels: {batch.kubernetes.io/controller-uid: %[1]s, batch.kubernetes.io/job-name: once, controller-uid: %[1]s, job-name: once}}
spec: {restartPolicy: Never, containers: [{name: main, image: x}]}
`, job.GetUID()))
	}
	refused := func(b *bench.Bench, job *unstructured.Unstructured) { event(b, job.GetUID(), "FailedCreate", 1) }
	for name, c := range map[string]struct {
		happens []func(*bench.Bench, *unstructured.Unstructured)
		state   health.State
		says    string
	}{
		"not taken up yet":                      {nil, health.Idle, ""},
		"has a pod, and no status yet":          {[]func(*bench.Bench, *unstructured.Unstructured){pod}, health.Running, "does not count its pods yet"},
		"has a start, and no pod yet":           {[]func(*bench.Bench, *unstructured.Unstructured){start}, health.Running, "its first pod is awaited"},
		"cannot make a pod":                     {[]func(*bench.Bench, *unstructured.Unstructured){start, refused}, health.Idle, ""},
		"could not make a pod, and has one now": {[]func(*bench.Bench, *unstructured.Unstructured){start, refused, pod}, health.Running, "does not count its pods yet"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			job := b.Create(bench.Jobs, nightly)
			for _, happen := range c.happens {
				happen(b, job)
			}
			run := inventory.RunOf(b.Ctx, b.Cluster, b.Get(bench.Jobs, b.Namespace, "once"))
			if run.State != c.state || !strings.Contains(run.Message, c.says) {
				t.Errorf("the run is %+v", run)
			}
		})
	}
}

func TestFateThatNobodyKnowsIsNotAskedForForever(t *testing.T) {
	b := bench.New(t)
	gone := v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: "once", Ephemeral: true}
	ask := func(uid types.UID) int {
		gone.UID = uid
		return len(b.Requests(func() {
			for range 20 {
				entries := []v1alpha1.InventoryEntry{gone}
				inventory.Fates(b.Ctx, b.Cluster, entries, nil)
				if entries[0].Completed {
					t.Error("it is said to be complete")
				}
			}
		}))
	}
	if n := ask("of-an-object-that-left-no-events"); n == 0 || n > 10 {
		t.Errorf("%d requests in 20 passes", n)
	}
	if n := ask(""); n > 0 {
		t.Errorf("%d requests for events that could be anybody's", n)
	}
}

// The outcome that a run's events showed stays known after the events are deleted, for example after an hour.
func TestDeletedRunStaysMissing(t *testing.T) {
	b := bench.New(t)
	entries := []v1alpha1.InventoryEntry{{
		APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: "once", Ephemeral: true, Deleted: true, UID: "forgotten",
	}}
	inventory.Fates(b.Ctx, b.Cluster, entries, nil)
	if e := entries[0]; !e.Deleted || e.MayBeGone() {
		t.Errorf("it is said to be %+v", e)
	}
}

// For a run with many pods the event of its end is dropped, so its absence proves nothing.
func TestEndOfARunWithManyPodsIsNotKnown(t *testing.T) {
	b := bench.New(t)
	gone := v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: "wide", Ephemeral: true, UID: "of-a-wide-one"}
	b.Create(bench.Events, `
apiVersion: v1
kind: Event
metadata: {name: wide.1, namespace: $NS}
involvedObject: {apiVersion: batch/v1, kind: Job, namespace: $NS, name: wide, uid: of-a-wide-one}
type: Normal
reason: SuccessfulCreate
count: 25
`)
	entries := []v1alpha1.InventoryEntry{gone}
	inventory.Fates(b.Ctx, b.Cluster, entries, nil)
	if e := entries[0]; e.Deleted || e.Completed {
		t.Errorf("it is said to be %+v", e)
	}
}
