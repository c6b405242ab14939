package pipeline

import (
	"context"
	"testing"
	"time"
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
