package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// A Lease that is taken while a rollout ends has the next look go through every target, whichever of the two comes first.
func TestRenewedRolloutIsNotWhole(t *testing.T) {
	d := &daemon{Runner: &Runner{now: time.Now, wake: make(chan struct{}, 1)}}
	begun := func() *rollout {
		r := &rollout{over: make(chan struct{})}
		r.ctx, r.stop = context.WithCancel(t.Context())
		d.rollout = r
		return r
	}
	first := begun()
	if d.wantsAll() {
		t.Error("a rollout that is on its way is begun anew")
	}
	d.rolledOut(first, nil)
	close(first.over)
	if d.wantsAll() {
		t.Error("every target had its turn just now")
	}
	second := begun()
	d.renew()
	if !d.wantsAll() {
		t.Error("a rollout that was stopped is waited for until the next poll")
	}
	d.rolledOut(second, nil) // it was at its end
	close(second.over)
	if !d.wantsAll() {
		t.Error("a rollout that was stopped counts as whole")
	}
}

// A target whose objects are as git says and whose record could not be written is not done.
func TestATargetWhoseRecordWasNotSavedIsLookedAtAgain(t *testing.T) {
	web := v1alpha1.Target{Pipeline: "web", Environment: "dev"}
	for name, c := range map[string]struct {
		failure error
		settled bool
	}{
		"saved":     {nil, true},
		"not saved": {errors.New("writing the record of web@dev: no answer"), false},
	} {
		d := &daemon{Runner: &Runner{now: time.Now, Config: &v1alpha1.Config{}}, desks: map[v1alpha1.Target]*desk{}}
		d.alarms = newAlarms(func(v1alpha1.Target) {}, func(v1alpha1.Target, error) {})
		result := TargetResult{settled: true, failure: c.failure}
		d.done(t.Context(), &target.Desired{Target: web}, &result, false)
		if d.desks[web].settled != c.settled {
			t.Errorf("%s: settled: %t", name, d.desks[web].settled)
		}
	}
}
