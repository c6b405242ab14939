// Package pass plans and applies the set of a target of the bench, as a pass of pkg/reconcile does.
package pass

import (
	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// TryPlan plans a set against the record as it is.
func TryPlan(b *bench.Bench, set manifest.Set, change ...func(*plan.Request)) (*plan.Plan, error) {
	b.T.Helper()
	req := RequestOf(b, set, b.Record())
	for _, f := range change {
		f(&req)
	}
	return plan.Make(b.Ctx, b.Cluster, req)
}

// Plan plans a set against the record as it is.
func Plan(b *bench.Bench, set manifest.Set, change ...func(*plan.Request)) *plan.Plan {
	b.T.Helper()
	planned, err := TryPlan(b, set, change...)
	if err != nil {
		b.T.Fatal(err)
	}
	return planned
}

// TrySync applies a set as pkg/reconcile does, and saves the inventory at the end.
func TrySync(b *bench.Bench, set manifest.Set, change ...func(*plan.Request)) (apply.Applied, error) {
	b.T.Helper()
	planned, err := TryPlan(b, set, change...)
	if err != nil {
		return apply.Applied{}, err
	}
	applied := apply.Applied{Changes: planned.Pending(), Held: planned.Held(), Inventory: planned.Inventory(), Live: planned.Members}
	if len(planned.Pending()) > 0 || planned.Unfinished() || b.Record() == nil {
		applied, err = apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
	}
	b.Save(applied.Inventory)
	return applied, err
}

// Sync applies a set as pkg/reconcile does, and saves the inventory at the end.
func Sync(b *bench.Bench, set manifest.Set, change ...func(*plan.Request)) apply.Applied {
	b.T.Helper()
	applied, err := TrySync(b, set, change...)
	if err != nil {
		b.T.Fatal(err)
	}
	return applied
}

// RequestOf is the request for a set and a record.
func RequestOf(b *bench.Bench, set manifest.Set, record *v1alpha1.PipelineSync) plan.Request {
	return plan.Request{Target: b.Target, Record: record, Set: set}
}

// Full compares every object by a dry run.
func Full(req *plan.Request) { req.Full = true }

// Under sets the policies of a request.
func Under(p plan.Policies) func(*plan.Request) {
	return func(req *plan.Request) { req.Policies = p }
}

// NothingToDo checks that an applied set needs no write, with or without the record of its apply.
func NothingToDo(b *bench.Bench, set manifest.Set) {
	b.T.Helper()
	whole := b.Record()
	behind := *whole
	behind.Status.Inventory = nil
	for what, req := range map[string]plan.Request{
		"a full plan":              {Target: b.Target, Record: whole, Set: set, Full: true},
		"a plan without inventory": {Target: b.Target, Record: &behind, Set: set},
		"a plan without a record":  {Target: b.Target, Set: set},
	} {
		planned, err := plan.Make(b.Ctx, b.Cluster, req)
		if err != nil {
			b.T.Errorf("%s: %v", what, err)
			continue
		}
		for _, change := range planned.Pending() {
			b.T.Errorf("%s: %s %s %v", what, change.Action, change.ID, change.Fields)
		}
		if diff := cmp.Diff(whole.Status.Inventory, planned.Inventory()); diff != "" {
			b.T.Errorf("%s: the inventory (-want +got):\n%s", what, diff)
		}
	}
}

// IndexOf returns the place of an object among the changes of a plan.
func IndexOf(planned *plan.Plan, name string) int {
	for i, change := range planned.Changes() {
		if change.ID.Name == name {
			return i
		}
	}
	return -1
}
