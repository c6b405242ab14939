package plan_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestPruneLimits(t *testing.T) {
	b := bench.New(t)
	var docs []string
	for i := range 10 {
		docs = append(docs, bench.Settings(fmt.Sprintf("c%d", i), "1"))
	}
	pass.Sync(b, b.Set(bench.Join(docs...)))
	for name, c := range map[string]struct {
		left    int
		limit   plan.PruneLimit
		refused string // "" passes it
	}{
		"as many percent as allowed":    {left: 7, limit: plan.PruneLimit{MaxPercent: 30}},
		"more percent than allowed":     {left: 6, limit: plan.PruneLimit{MaxPercent: 30}, refused: "would delete 4 of the 10 objects of orders@prod, which is above the limit of 30 %: ConfigMap/" + b.Namespace + "/c6, "},
		"as many objects as allowed":    {left: 8, limit: plan.PruneLimit{MaxPercent: 100, MaxObjects: 2}},
		"more objects than allowed":     {left: 7, limit: plan.PruneLimit{MaxPercent: 100, MaxObjects: 2}, refused: "above the limit of 2 objects"},
		"everything":                    {left: 0, limit: plan.PruneLimit{MaxPercent: 100}, refused: "would delete 10 of the 10 objects"},
		"everything, with leave":        {left: 0, limit: plan.PruneLimit{Allowed: true}},
		"more than allowed, with leave": {left: 2, limit: plan.PruneLimit{MaxPercent: 30, Allowed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var set manifest.Set
			if c.left > 0 {
				set = b.Set(bench.Join(docs[:c.left]...))
			}
			planned := pass.Plan(b, set)
			err := planned.LimitPrunes(c.limit)
			if c.refused == "" && err != nil {
				t.Error(err)
			}
			if c.refused != "" {
				bench.WantError(t, err, c.refused, "add the trailer `Syncer-Allow-Prune: orders@prod` to a commit message")
				if refused, ok := errors.AsType[*plan.PruneRefusedError](err); !ok || len(refused.Objects) != 10-c.left || refused.Of != 10 {
					t.Errorf("the error is %#v", err)
				}
			}
			if got := len(planned.Pending()); got != 10-c.left {
				t.Errorf("%d prunes are pending", got)
			}
		})
	}
	t.Run("switched off", func(t *testing.T) {
		planned := pass.Plan(b, b.Set(docs[0]))
		if err := planned.LimitPrunes(plan.PruneLimit{Disabled: true}); err != nil {
			t.Error(err)
		}
		if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
			t.Fatal(err)
		}
		if b.Get(bench.ConfigMaps, b.Namespace, "c9") == nil {
			t.Error("an object is gone")
		}
		if got := len(planned.Inventory()); got != 10 {
			t.Errorf("the inventory has %d entries", got)
		}
	})
}

// A prune that was allowed, and waits since, is not executed after pruning is switched off in the meantime.
func TestPruneThatWaitedIsSwitchedOff(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("old", "1"), bench.Settings("stays", "1"))))
	held := v1alpha1.HeldChange{Action: string(manifest.Prune), ObjectReference: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.Namespace, Name: "old"}}
	for want, limit := range map[string]plan.PruneLimit{"Prune ConfigMap/old": {}, "": {Disabled: true}} {
		planned := pass.Plan(b, b.Set(bench.Settings("stays", "1")), func(req *plan.Request) { req.Record.Status.Held = []v1alpha1.HeldChange{held} })
		if err := planned.LimitPrunes(limit); err != nil {
			t.Fatal(err)
		}
		if got := bench.Actions(planned.Pending()); got != want {
			t.Errorf("disabled %t: the plan says %q", limit.Disabled, got)
		}
	}
}

// A generated ConfigMap gets a new name with each change of its content.
func TestGeneratedNamesAreNoLoss(t *testing.T) {
	b := bench.New(t)
	job := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n"
	pass.Sync(b, b.Set(bench.Join(job, bench.Settings("settings-5f7b9c8d2k", "1"), bench.Settings("team-production", "1"))))
	planned := pass.Plan(b, b.Set(bench.Join(job, bench.Settings("settings-2222222222", "2"), bench.Settings("team-production", "1"))))
	if got := bench.Actions(planned.Changes()); got != "Create ConfigMap/settings-2222222222, Prune ConfigMap/settings-5f7b9c8d2k" {
		t.Errorf("the plan: %s", got)
	}
	if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err != nil {
		t.Errorf("the old version of a generated object counts as a loss: %v", err)
	}
	t.Run("a word of ten letters is no hash", func(t *testing.T) {
		planned := pass.Plan(b, b.Set(bench.Join(job, bench.Settings("settings-5f7b9c8d2k", "1"), bench.Settings("team-operations", "1"))))
		if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err == nil {
			t.Error("it passes")
		}
	})
	t.Run("one that is not followed by another", func(t *testing.T) {
		planned := pass.Plan(b, b.Set(bench.Join(job, bench.Settings("team-production", "1"))))
		if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err == nil {
			t.Error("it passes")
		}
	})
}
