package daemon

import (
	"context"
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
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

// An environment that a rollout had to leave out is rolled out as soon as its records can be read, and once: at once where the
// rollout has ended, and else at its end.
func TestAnEnvironmentThatCanBeReadAgainIsRolledOut(t *testing.T) {
	for name, c := range map[string]struct {
		unread, readable, asked bool
		environment             string
	}{
		"it was left out, and can be read": {readable: true, environment: "prod", asked: true},
		"another one can be read":          {readable: true, environment: "dev"},
		"its records changed, as they do":  {environment: "prod"},
		"it could be read in between":      {readable: true, environment: "prod", unread: true},
	} {
		for _, underWay := range []bool{false, true} {
			d, _ := newTestDaemon()
			s := newScheduler(t.Context(), d)
			r := &rollout{over: make(chan struct{})}
			s.commits.begin(r)
			commit := target.NewCommit(nil)
			if !c.unread {
				commit.Unread = []string{"prod"}
			}
			s.commits.plan(planned{commit: commit})
			if !underWay {
				close(r.over)
			}
			s.recordsChanged([]string{c.environment}, nil, c.readable)
			if underWay {
				if len(d.pollNow) > 0 {
					t.Errorf("%s: a rollout that is under way is begun anew", name)
				}
				close(r.over)
				s.complete()
			}
			if asked := len(d.pollNow) > 0; asked != c.asked {
				t.Errorf("%s, under way %t: a poll is asked for: %t", name, underWay, asked)
			}
			for range len(d.pollNow) {
				<-d.pollNow
			}
			if s.complete(); len(d.pollNow) > 0 {
				t.Errorf("%s: it is asked for twice", name)
			}
		}
	}
}

// An overlay that was rendered while a rollout was under way without it has the commit rolled out again when the rollout has
// ended: before, the loop would not begin another one.
func TestALateOverlayIsRolledOutAtTheEndOfTheRollout(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	s.rollOut(t.Context(), source.Snapshot{Commit: "c1", Files: brokenFiles{within: "."}})
	s.commits.isRendered()
	<-s.commits.current().over
	s.others.Wait()
	if len(d.pollNow) == 0 || !s.commits.wantRollout() {
		t.Error("it waits for the next poll")
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
