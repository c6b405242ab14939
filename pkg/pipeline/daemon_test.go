package pipeline

import (
	"context"
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// A Lease that is taken while a rollout ends has the next look go through every target, whichever of the two comes first.
func TestRenewedRolloutIsNotWhole(t *testing.T) {
	d := &daemon{Runner: &Runner{wake: make(chan struct{}, 1)}, commits: &commits{}}
	begun := func() *rollout {
		r := &rollout{over: make(chan struct{})}
		r.ctx, r.stop = context.WithCancel(t.Context())
		d.commits.begin(r)
		return r
	}
	first := begun()
	if d.commits.wantRollout() {
		t.Error("a rollout that is under way is begun anew")
	}
	d.commits.end(first, nil)
	close(first.over)
	if d.commits.wantRollout() {
		t.Error("every target was reconciled just now")
	}
	second := begun()
	d.renew()
	if !d.commits.wantRollout() {
		t.Error("a rollout that was stopped is waited for until the next poll")
	}
	d.commits.end(second, nil) // it was at its end
	close(second.over)
	if !d.commits.wantRollout() {
		t.Error("a rollout that was stopped counts as whole")
	}
}

// A target whose objects are as git says and whose record could not be written is not converged.
func TestATargetWhoseRecordWasNotSavedIsLookedAtAgain(t *testing.T) {
	web := v1alpha1.Target{Pipeline: "web", Environment: "dev"}
	for name, c := range map[string]struct {
		failure   error
		converged bool
	}{
		"saved":     {nil, true},
		"not saved": {errors.New("writing the record of web@dev: no answer"), false},
	} {
		d := &daemon{Runner: &Runner{Config: &v1alpha1.Config{}, states: &states{}}}
		d.wakeUps = &wakeUps{states: d.states}
		result := TargetResult{settled: true, failure: c.failure}
		d.done(t.Context(), &target.Desired{Target: web}, &result, false)
		if last := d.states.of(web).last; last.converged != c.converged {
			t.Errorf("%s: converged: %t", name, last.converged)
		}
	}
}
