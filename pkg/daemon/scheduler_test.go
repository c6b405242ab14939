package daemon

import (
	"context"
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// A Lease that is taken while a rollout ends has the next look go through every target, whichever of the two comes first.
func TestRenewedRolloutIsNotWhole(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	begun := func() *rollout {
		r := &rollout{over: make(chan struct{})}
		r.ctx, r.stop = context.WithCancel(t.Context())
		s.commits.begin(r)
		return r
	}
	first := begun()
	if s.commits.wantRollout() {
		t.Error("a rollout that is under way is begun anew")
	}
	s.commits.end(first, nil)
	close(first.over)
	if s.commits.wantRollout() {
		t.Error("every target was reconciled just now")
	}
	second := begun()
	s.renew()
	if !s.commits.wantRollout() {
		t.Error("a rollout that was stopped is waited for until the next poll")
	}
	s.commits.end(second, nil) // it was at its end
	close(second.over)
	if !s.commits.wantRollout() {
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
		d, _ := newTestDaemon()
		w := &worker{scheduler: newScheduler(t.Context(), d), daemon: d}
		result := reconcile.Result{Detail: reconcile.Detail{Converged: true, Failure: c.failure}}
		w.note(t.Context(), &target.Desired{Target: web}, &result, false)
		if last := d.states.of(web).last; last.converged != c.converged {
			t.Errorf("%s: converged: %t", name, last.converged)
		}
	}
}
