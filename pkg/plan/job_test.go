package plan_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func hasEnded(b *bench.Bench, resource schema.GroupVersionResource, name string) func() bool {
	return func() bool {
		live := b.Get(resource, b.Namespace, name)
		return live == nil || b.Cluster.Judge().Health(live).Completed
	}
}

func TestFinishedJobThatIsGoneIsNotRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		doc      string
		resource schema.GroupVersionResource
		seen     bool // a pass sees the Job finished before it is gone
		byHand   bool
	}{
		"job by its TTL, before any pass saw it finished": {doc: bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0"), resource: bench.Jobs},
		"job by its TTL, after a pass":                    {doc: bench.Backfill("once", 1, "ttlSecondsAfterFinished: 3"), resource: bench.Jobs, seen: true},
		"job by hand, after a pass":                       {doc: bench.Backfill("once", 1), resource: bench.Jobs, seen: true, byHand: true},
		"spark application by its time to live":           {doc: sparkApp("once", 1, "timeToLiveSeconds: 1"), resource: bench.SparkApps},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			set := b.Set(bench.Join(c.doc, bench.Settings("beside", "1")))
			pass.Sync(b, set)
			if c.seen {
				b.Eventually("the run ends", hasEnded(b, c.resource, "once"))
				pass.Sync(b, set)
			}
			if c.byHand {
				b.Delete(c.resource, b.Namespace, "once")
			}
			b.Eventually("the object is gone", func() bool { return b.Get(c.resource, b.Namespace, "once") == nil })
			b.Restart()
			for range 3 {
				planned := pass.Plan(b, set)
				if got := bench.Actions(planned.Changes()); got != "" {
					t.Fatalf("the plan: %s", got)
				}
				if got := inventory.Touched(b.Ctx, b.Cluster, planned.Inventory(), planned.Members); len(got) != 0 {
					t.Errorf("touched: %v", got)
				}
				if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "" {
					t.Errorf("the full plan: %s", got)
				}
				pass.Sync(b, set)
			}
			pass.Sync(b, b.Set(bench.Join(c.doc, bench.Settings("beside", "2"))))
			if b.Get(c.resource, b.Namespace, "once") != nil {
				t.Error("a change beside it ran it again")
			}
			changed := strings.NewReplacer("backfill:1", "backfill:2", "spark:1", "spark:2").Replace(c.doc)
			if got := bench.Actions(pass.Plan(b, b.Set(bench.Join(changed, bench.Settings("beside", "2")))).Changes()); !strings.HasPrefix(got, "Create ") || strings.Contains(got, "drifted") {
				t.Errorf("its change in git: %s", got)
			}
		})
	}
}

func TestJobDeletedBeforeItFinishedIsMissing(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Backfill("long", 600))
	pass.Sync(b, set)
	b.Eventually("the job runs", func() bool {
		return b.Cluster.Judge().Health(b.Get(bench.Jobs, b.Namespace, "long")).Status == health.Healthy
	})
	b.Delete(bench.Jobs, b.Namespace, "long")
	b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "long") == nil })
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Create Job/long (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

// The events of a Job outlive it, and another Job of its name may run in the meantime.
func TestFateIsNotThatOfAnEarlierJob(t *testing.T) {
	b := bench.New(t)
	good := bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0")
	bad := strings.Replace(good, "annotations: {", "annotations: {lab.syncer.dev/outcome: failed, ", 1)
	for _, c := range []struct {
		doc    string
		failed bool
	}{{bad, true}, {good, false}} {
		set := b.Set(c.doc)
		pass.Sync(b, set)
		b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil })
		applied := pass.Sync(b, set)
		inventory.Fates(b.Ctx, b.Cluster, applied.Inventory, applied.Live)
		if e := applied.Inventory[0]; !e.Completed || e.Failed != c.failed {
			t.Errorf("it should have failed: %t; the inventory says %+v", c.failed, e)
		}
	}
}

func TestRunningJobIsNotWritten(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Backfill("long", 600), sparkApp("stream", 600)))
	pass.Sync(b, set)
	b.Eventually("both run", func() bool {
		return b.Cluster.Judge().Health(b.Get(bench.Jobs, b.Namespace, "long")).Status == health.Healthy &&
			b.Cluster.Judge().Health(b.Get(bench.SparkApps, b.Namespace, "stream")).Status == health.Healthy
	})
	for _, e := range b.Requests(func() { pass.Sync(b, set) }) {
		if bench.IsWrite(e) && e.Object.Resource != bench.RecordResource.Resource || bench.IsDryRun(e) {
			t.Errorf("a request:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "" {
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
			b := bench.New(t)
			seconds := 600
			if c.ends {
				seconds = 1
			}
			set := b.Set(bench.Join(bench.Backfill("once", seconds, "ttlSecondsAfterFinished: "+c.ttl), bench.Settings("beside", "1")))
			pass.Sync(b, set)
			if !c.ends {
				b.AwaitRun(bench.Jobs, "once", health.Running)
				if c.await {
					pass.Sync(b, set)
				}
				job := b.Get(bench.Jobs, b.Namespace, "once")
				b.Delete(bench.Jobs, b.Namespace, "once")
				if c.forgotten {
					forgetEvents(b, job)
				}
			}
			b.Eventually("it is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil })
			planned := pass.Plan(b, set)
			if got := bench.Actions(planned.Changes()); got != c.want {
				t.Fatalf("the plan: %s; %+v", got, planned.Inventory())
			}
			if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != c.want {
				t.Errorf("the full plan: %s", got)
			}
			entry := planned.Inventory()[pass.IndexOf(planned, "once")]
			if entry.Deleted != (c.want != "") || entry.Completed != c.completed || entry.MayBeGone() != c.completed {
				t.Errorf("the inventory: %+v", entry)
			}
			if c.completed {
				return
			}
			if lost := planned.Changes()[pass.IndexOf(planned, "once")].Lost; lost == nil || lost.Kind != manifest.CutOff || lost.Unproven != c.unproven {
				t.Errorf("it is lost: %+v", lost)
			}
			pass.Sync(b, set)
			b.AwaitRun(bench.Jobs, "once", health.Running)
			if got := b.Record().Status.Inventory; slices.ContainsFunc(got, func(e v1alpha1.InventoryEntry) bool { return e.Deleted }) {
				t.Errorf("when it runs again: %+v", got)
			}
		})
	}
}
