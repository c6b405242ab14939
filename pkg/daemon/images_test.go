package daemon

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// With thousands of targets, all checks at once would have a goroutine, and requests, for each of them.
func TestAFewImageChecksAreMadeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets, took = 5000, time.Second
		var now, most, all atomic.Int32
		before := runtime.NumGoroutine()
		c := newImageChecks(func(context.Context, v1alpha1.Target) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(took)
			now.Add(-1)
			all.Add(1)
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.run(ctx)
		}()
		var checks []imageCheck
		for i := range targets {
			checks = append(checks, imageCheck{named(fmt.Sprint(i)), time.Now()})
		}
		c.plan(checks)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > imageChecksAtOnce+1 {
			t.Errorf("%d goroutines check images", n)
		}
		time.Sleep(targets / imageChecksAtOnce * took)
		synctest.Wait()
		if all.Load() != targets || most.Load() != imageChecksAtOnce {
			t.Errorf("%d checks, at most %d at once", all.Load(), most.Load())
		}
		c.plan(checks)
		synctest.Wait()
		stop()
		<-ended
		if n := all.Load(); n > targets+imageChecksAtOnce {
			t.Errorf("%d checks begin after the end", n-targets)
		}
	})
}

func TestAnImageCheckIsMadeWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, made := time.Now(), make(chan string)
		c := newImageChecks(func(_ context.Context, of v1alpha1.Target) { made <- fmt.Sprint(of.Pipeline, " ", time.Since(began)) })
		go c.run(t.Context())
		in := func(name string, after time.Duration) imageCheck { return imageCheck{named(name), began.Add(after)} }
		want := func(want ...string) {
			t.Helper()
			for _, each := range want {
				if got := <-made; got != each {
					t.Errorf("made is %q, want %q", got, each)
				}
			}
		}
		c.plan([]imageCheck{in("c", time.Minute), in("a", time.Second), in("b", 2*time.Second)})
		want("a 1s", "b 2s")
		c.plan([]imageCheck{in("d", 90*time.Second)}) // a newer plan, which does not have c
		want("d 1m30s")
	})
}

// A check that is not this process's to make any more, or not now, is left out.
func TestWhichImageChecksAreMade(t *testing.T) {
	server := away(t)
	for name, c := range map[string]struct {
		change func(*Daemon, *scheduler, *target.Desired)
		made   bool
	}{
		"of a target in sync":    {func(*Daemon, *scheduler, *target.Desired) {}, true},
		"before it is due":       {func(_ *Daemon, s *scheduler, w *target.Desired) { s.checkImages(t.Context(), w.Target) }, false},
		"of one that left git":   {func(_ *Daemon, s *scheduler, _ *target.Desired) { planOf(s) }, false},
		"of one without objects": {func(d *Daemon, _ *scheduler, w *target.Desired) { d.states.change(w.Target, (*state).reset) }, false},
		"while a rollout goes on": {func(_ *Daemon, s *scheduler, _ *target.Desired) {
			s.commits.begin(&rollout{over: make(chan struct{}), ctx: t.Context()})
		}, false},
		"before the first plan": {func(_ *Daemon, s *scheduler, _ *target.Desired) { s.commits.plan(planned{}) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newTestDaemon()
				s, pins := newScheduler(t.Context(), d), d.parts.Reconciler.Pins
				pins.Source = func(image.Credentials) image.Source { return nil } // the target has no image
				w := &target.Desired{Target: named("a"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server, Overlay: "overlay"}
				w.Environment.Images.Interval.Duration = time.Hour
				d.states.change(w.Target, func(of *state) { of.last = &reconciliation{judged: w} })
				planOf(s, w)
				pins.Findings(t.Context(), pins.NewLookups(), w, nil) // a reconcile has checked them
				time.Sleep(time.Hour)
				c.change(d, s, w)
				time.Sleep(time.Minute)
				s.checkImages(t.Context(), w.Target)
				if got := pins.Checks.ImagesDueIn(w.Target) == time.Hour; got != c.made {
					t.Errorf("the check is made: %t; the next one is in %s", got, pins.Checks.ImagesDueIn(w.Target))
				}
			})
		})
	}
}
