package reconcile

import (
	"context"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestReadsEndWithANewerCommit(t *testing.T) {
	newest, supersede := context.WithCancel(t.Context())
	p := Pass{Newest: newest}
	reading, stop := p.whileNewest(t.Context())
	defer stop()
	if reading.Err() != nil {
		t.Fatal("reads ended at once")
	}
	supersede()
	<-reading.Done()
	if t.Context().Err() != nil {
		t.Error("the reconcile ended too")
	}
	reading, stop = new(Pass).whileNewest(t.Context())
	if reading.Err() != nil {
		t.Error("reads ended without a newer commit")
	}
	stop()
	if reading.Err() == nil {
		t.Error("reads go on after their end")
	}
}

// The targets that depend on another one see its result and its health, in whichever order these are noted.
func TestPassKeepsResultsAndHealth(t *testing.T) {
	a := &target.Desired{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}}
	p := NewPass(target.NewCommit([]*target.Desired{a}), nil)
	p.noteHealth(a.Target, target.Health{Status: health.Healthy}, nil)
	p.Note(FailedResult(a, ErrOutdated))
	if r := p.reached.of(a.Target); r.result.Result != Failed || !r.hasHealth || r.health.Status != health.Healthy {
		t.Errorf("%+v", r)
	}
	if r := p.reached.of(v1alpha1.Target{Pipeline: "b"}); r.hasHealth || r.result.Result != "" {
		t.Errorf("a target that was not reconciled: %+v", r)
	}
}

// A single target is reconciled by itself with what is known of the pass over its commit. It sees no results of that pass.
func TestSinglePass(t *testing.T) {
	targets := []*target.Desired{{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}}, {Target: v1alpha1.Target{Pipeline: "b", Environment: "dev"}}}
	all := NewPass(target.NewCommit(targets), nil)
	all.Newest, all.Unwatched = t.Context(), func(*target.Desired) []string { return []string{"Pod"} }
	all.Note(FailedResult(targets[1], ErrOutdated))
	allowed := target.Allowed{Prunes: map[v1alpha1.Target]bool{targets[0].Target: true}}
	one := all.Single(targets[0], allowed, nil)
	if !one.single || one.Newest != all.Newest || len(one.unwatched(targets[0])) != 1 {
		t.Errorf("%+v", one)
	}
	if one.reached.of(targets[1].Target).result.Result != "" {
		t.Error("it has the results of the other pass")
	}
	if one.Commit.Find(targets[1].Target) != targets[1] || !(task{pass: one, desired: targets[0]}).mayPrune() {
		t.Error("it does not know its commit")
	}
	if new(Pass).unwatched(targets[0]) != nil {
		t.Error("kinds are unwatched where nothing is watched")
	}
}
