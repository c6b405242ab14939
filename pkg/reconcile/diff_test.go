package reconcile_test

import (
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// diff compares the target of the bench with a commit.
func (p *project) diff(commit *target.Commit) (reconcile.Result, error) {
	p.T.Helper()
	return p.r.Diff(p.Ctx, commit.Find(p.Target), reconcile.NewPass(commit, p.r.Pins.NewLookups()))
}

func TestDiffWritesNothing(t *testing.T) {
	p := newProject(t, "")
	first := p.commit(orders(bench.Settings("a", "1"), job("a")), "First")
	if diff, err := p.diff(first); err != nil || diff.Result != reconcile.Applied || len(diff.Changes) != 2 {
		t.Errorf("%+v, %v", diff, err)
	}
	if p.Record() != nil {
		t.Error("a record was written")
	}
	p.want(reconcile.Applied, "", first)
	if diff, err := p.diff(p.again()); err != nil || diff.Result != reconcile.Unchanged || len(diff.Changes) > 0 {
		t.Errorf("%+v, %v", diff, err)
	}
	p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
	p.Status(bench.Jobs, "load", started)
	diff, err := p.diff(p.commit(orders(bench.Settings("a", "1"), job("b"), bench.Settings("new", "1")), "Second"))
	if err != nil || diff.Result != reconcile.Held || diff.Message != "this change waits for 1 running job" {
		t.Errorf("%+v, %v", diff, err)
	}
	if len(diff.Drift) != 1 || diff.Drift[0].Path != "data.key" { // a change of the cluster is drift
		t.Errorf("the drift: %+v", diff.Drift)
	}
	actions := map[manifest.Action]int{}
	for _, change := range diff.Changes {
		actions[change.Action]++
	}
	if len(diff.Changes) != 2 || actions[manifest.Create] != 1 || actions[manifest.Hold] != 1 {
		t.Errorf("the changes: %+v", diff.Changes)
	}
	if _, err := p.diff(p.commit(orders("no object\n"), "Third")); err == nil {
		t.Error("a set that cannot be rendered has a diff")
	}
}
