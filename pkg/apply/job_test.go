package apply_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// backfill is a Job that the lab runs for some seconds. Lines in spec come first in its spec.
func backfill(name string, seconds int, spec ...string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: $NS}
spec:
  backoffLimit: 0
%s
  template:
    metadata: {annotations: {lab.syncer.dev/run-seconds: "%d"}}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "backfill:1"}]
`, name, "  "+strings.Join(spec, "\n  "), seconds)
}

func (b *bench) ended(resource schema.GroupVersionResource, name string) func() bool {
	return func() bool {
		live := b.get(resource, b.namespace, name)
		return live == nil || b.cluster.Judge().Health(live).Completed
	}
}

func TestFinishedJobThatIsGoneIsNotRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		doc      string
		resource schema.GroupVersionResource
		seen     bool // a pass sees the Job finished before it is gone
		byHand   bool
	}{
		"job by its TTL, before any pass saw it finished": {doc: backfill("once", 1, "ttlSecondsAfterFinished: 0"), resource: jobs},
		"job by its TTL, after a pass":                    {doc: backfill("once", 1, "ttlSecondsAfterFinished: 3"), resource: jobs, seen: true},
		"job by hand, after a pass":                       {doc: backfill("once", 1), resource: jobs, seen: true, byHand: true},
		"spark application by its time to live":           {doc: sparkApp("once", 1, "timeToLiveSeconds: 1"), resource: sparkApps},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			set := b.set(join(c.doc, settings("beside", "1")))
			b.sync(set)
			if c.seen {
				b.eventually("the run ends", b.ended(c.resource, "once"))
				b.sync(set)
			}
			if c.byHand {
				b.delete(c.resource, b.namespace, "once")
			}
			b.eventually("the object is gone", func() bool { return b.get(c.resource, b.namespace, "once") == nil })
			b.restart()
			for range 3 {
				planned := b.plan(set)
				if got := actions(planned.Changes()); got != "" {
					t.Fatalf("the plan: %s", got)
				}
				if got := inventory.Touched(b.ctx, b.cluster, planned.Inventory(), planned.Members); len(got) != 0 {
					t.Errorf("touched: %v", got)
				}
				if got := actions(b.plan(set, full).Changes()); got != "" {
					t.Errorf("the full plan: %s", got)
				}
				b.sync(set)
			}
			b.sync(b.set(join(c.doc, settings("beside", "2"))))
			if b.get(c.resource, b.namespace, "once") != nil {
				t.Error("a change beside it ran it again")
			}
			changed := strings.NewReplacer("backfill:1", "backfill:2", "spark:1", "spark:2").Replace(c.doc)
			if got := actions(b.plan(b.set(join(changed, settings("beside", "2")))).Changes()); !strings.HasPrefix(got, "Create ") || strings.Contains(got, "drifted") {
				t.Errorf("its change in git: %s", got)
			}
		})
	}
}

func TestJobDeletedBeforeItFinishedIsMissing(t *testing.T) {
	b := newBench(t)
	set := b.set(backfill("long", 600))
	b.sync(set)
	b.eventually("the job runs", func() bool {
		return b.cluster.Judge().Health(b.get(jobs, b.namespace, "long")).Status == health.Healthy
	})
	b.delete(jobs, b.namespace, "long")
	b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "long") == nil })
	if got := actions(b.plan(set).Changes()); got != "Create Job/long (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

// The events of a Job outlive it, and another Job of its name may run in the meantime.
func TestFateIsNotThatOfAnEarlierJob(t *testing.T) {
	b := newBench(t)
	good := backfill("once", 1, "ttlSecondsAfterFinished: 0")
	bad := strings.Replace(good, "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	for _, c := range []struct {
		doc    string
		failed bool
	}{{bad, true}, {good, false}} {
		set := b.set(c.doc)
		b.sync(set)
		b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "once") == nil })
		applied := b.sync(set)
		inventory.Fates(b.ctx, b.cluster, applied.Inventory, applied.Live)
		if e := applied.Inventory[0]; !e.Completed || e.Failed != c.failed {
			t.Errorf("it should have failed: %t; the inventory says %+v", c.failed, e)
		}
	}
}

func TestFateThatNobodyKnowsIsNotAskedForForever(t *testing.T) {
	b := newBench(t)
	gone := v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: b.namespace, Name: "once", Ephemeral: true}
	ask := func(uid types.UID) int {
		gone.UID = uid
		return len(b.requests(func() {
			for range 20 {
				entries := []v1alpha1.InventoryEntry{gone}
				inventory.Fates(b.ctx, b.cluster, entries, nil)
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

func TestRunningJobIsNotWritten(t *testing.T) {
	b := newBench(t)
	set := b.set(join(backfill("long", 600), sparkApp("stream", 600)))
	b.sync(set)
	b.eventually("both run", func() bool {
		return b.cluster.Judge().Health(b.get(jobs, b.namespace, "long")).Status == health.Healthy &&
			b.cluster.Judge().Health(b.get(sparkApps, b.namespace, "stream")).Status == health.Healthy
	})
	for _, e := range b.requests(func() { b.sync(set) }) {
		if isWrite(e) && e.Object.Resource != records.Resource || isDryRun(e) {
			t.Errorf("a request:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if got := actions(b.plan(set, full).Changes()); got != "" {
		t.Errorf("the full plan: %s", got)
	}
}

// A run that was deleted by hand does not count as ended, also where its object would have removed itself.
func TestRunDeletedByHandIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		ttl       string
		await     bool // a pass sees the Job run
		ends      bool
		want      string
		unproven  bool
		completed bool
		forgotten bool // its events are gone
	}{
		"while it runs":                           {ttl: "600", await: true, want: "Create Job/once (drifted)"},
		"before any pass saw it":                  {ttl: "600", want: "Create Job/once (drifted)"},
		"while it runs, and might be gone by now": {ttl: "0", await: true, want: "Create Job/once (drifted)", unproven: true},
		"while it runs, and its events are gone":  {ttl: "600", await: true, forgotten: true, want: "Create Job/once (drifted)"},
		"by its TTL":                              {ttl: "0", ends: true, completed: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			seconds := 600
			if c.ends {
				seconds = 1
			}
			set := b.set(join(backfill("once", seconds, "ttlSecondsAfterFinished: "+c.ttl), settings("beside", "1")))
			b.sync(set)
			if !c.ends {
				b.awaitRun(jobs, "once", health.Running)
				if c.await {
					b.sync(set)
				}
				job := b.get(jobs, b.namespace, "once")
				b.delete(jobs, b.namespace, "once")
				if c.forgotten {
					b.forgetEvents(job)
				}
			}
			b.eventually("it is gone", func() bool { return b.get(jobs, b.namespace, "once") == nil })
			planned := b.plan(set)
			if got := actions(planned.Changes()); got != c.want {
				t.Fatalf("the plan: %s; %+v", got, planned.Inventory())
			}
			if got := actions(b.plan(set, full).Changes()); got != c.want {
				t.Errorf("the full plan: %s", got)
			}
			entry := planned.Inventory()[indexOf(planned, "once")]
			if entry.Deleted != (c.want != "") || entry.Completed != c.completed || entry.MayBeGone() != c.completed {
				t.Errorf("the inventory: %+v", entry)
			}
			if c.completed {
				return
			}
			if lost := planned.Changes()[indexOf(planned, "once")].Lost; lost == nil || lost.Kind != manifest.CutOff || lost.Unproven != c.unproven {
				t.Errorf("it is lost: %+v", lost)
			}
			b.sync(set)
			b.awaitRun(jobs, "once", health.Running)
			if got := b.record().Status.Inventory; slices.ContainsFunc(got, func(e v1alpha1.InventoryEntry) bool { return e.Deleted }) {
				t.Errorf("when it runs again: %+v", got)
			}
		})
	}
}

// The outcome that a run's events showed stays known after the events are deleted, for example after an hour.
func TestDeletedRunStaysMissing(t *testing.T) {
	b := newBench(t)
	entries := []v1alpha1.InventoryEntry{{
		APIVersion: "batch/v1", Kind: "Job", Namespace: b.namespace, Name: "once", Ephemeral: true, Deleted: true, UID: "forgotten",
	}}
	inventory.Fates(b.ctx, b.cluster, entries, nil)
	if e := entries[0]; !e.Deleted || e.MayBeGone() {
		t.Errorf("it is said to be %+v", e)
	}
}

// For a run with many pods the event of its end is dropped, so its absence proves nothing.
func TestEndOfARunWithManyPodsIsNotKnown(t *testing.T) {
	b := newBench(t)
	gone := v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: b.namespace, Name: "wide", Ephemeral: true, UID: "of-a-wide-one"}
	b.create(events, `
apiVersion: v1
kind: Event
metadata: {name: wide.1, namespace: $NS}
involvedObject: {apiVersion: batch/v1, kind: Job, namespace: $NS, name: wide, uid: of-a-wide-one}
type: Normal
reason: SuccessfulCreate
count: 25
`)
	entries := []v1alpha1.InventoryEntry{gone}
	inventory.Fates(b.ctx, b.cluster, entries, nil)
	if e := entries[0]; e.Deleted || e.Completed {
		t.Errorf("it is said to be %+v", e)
	}
}

var events = schema.GroupVersionResource{Version: "v1", Resource: "events"}
