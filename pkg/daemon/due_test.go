package daemon

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
)

// planOf gives a scheduler a commit with targets, whose rollout has ended.
func planOf(s *scheduler, targets ...*target.Desired) {
	s.commits.plan(planned{commit: target.NewCommit(targets)})
	s.commits.fullPass = time.Now()
}

// queued lists the targets in the queue, with the reasons.
func queued(q *queue) map[string]string {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string]string{}
	for of, e := range q.entries {
		out[of.Pipeline] = e.reasons.String()
	}
	return out
}

// wantQueued checks what is in the queue: PIPELINE: REASONS.
func wantQueued(t *testing.T, q *queue, want ...string) {
	t.Helper()
	var got []string
	for _, name := range slices.Sorted(maps.Keys(queued(q))) {
		got = append(got, name+": "+queued(q)[name])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the queue has %q, want %q", got, want)
	}
}

// A poll queues what no event announces.
func TestAPollQueuesWhatIsDue(t *testing.T) {
	server := away(t)
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		environment := &v1alpha1.Environment{Name: "prod"}
		environment.Images.Interval.Duration = time.Hour
		now := time.Now()
		old := now.Add(-2 * compareInterval)
		states := map[string]func(*state, *target.Desired){
			"1 was never reconciled": func(*state, *target.Desired) {},
			"2 failed, and is due":   func(of *state, _ *target.Desired) { of.failures.times = 1 },
			"3 failed, and is not due": func(of *state, _ *target.Desired) {
				of.failures.times, of.failures.due = 1, now.Add(time.Minute)
			},
			"4 waits, and is due": func(of *state, w *target.Desired) { of.last = &reconciliation{tried: w, compared: now} },
			"5 waits, and is not due": func(of *state, w *target.Desired) {
				of.last, of.wait = &reconciliation{tried: w, compared: now}, wait{times: 1, due: now.Add(time.Minute)}
			},
			"6 has a kind that is not watched": func(of *state, w *target.Desired) {
				of.last = &reconciliation{converged: true, judged: nil, tried: w, compared: now, unwatched: true}
			},
			"7 was removed": func(of *state, w *target.Desired) {
				w.Overlay = ""
				of.last = &reconciliation{converged: true, tried: w, compared: now}
			},
			"8 converged without objects": func(of *state, w *target.Desired) {
				of.last = &reconciliation{converged: true, tried: w, compared: old}
			},
		}
		var targets []*target.Desired
		for name, set := range states {
			w := &target.Desired{Target: named(name), Environment: environment, Cluster: server, Overlay: "overlay"}
			targets = append(targets, w)
			if name[0] != '1' {
				d.states.change(w.Target, func(of *state) { set(of, w) })
			}
		}
		planOf(s, targets...)
		s.queueDue()
		wantQueued(t, s.queue,
			"1 was never reconciled: try again", "2 failed, and is due: try again", "4 waits, and is due: try again",
			"6 has a kind that is not watched: try again", "8 converged without objects: try again")
	})
}

// A poll is before the end of a rollout: that reconciles every target.
func TestAPollDuringARolloutQueuesNothing(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	planOf(s, &target.Desired{Target: named("a"), Overlay: "overlay"})
	s.commits.begin(&rollout{over: make(chan struct{}), ctx: t.Context()})
	s.queueDue()
	wantQueued(t, s.queue)
	if got := s.synced(); len(got) > 0 {
		t.Errorf("synced is %v", got)
	}
}

func TestWhichReconcilesAreNotNeeded(t *testing.T) {
	server := away(t)
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		w := &worker{scheduler: s, daemon: d}
		a := &target.Desired{Target: named("a"), Cluster: server}
		for why, want := range map[reasons]bool{
			statusChanged: false, commitChanged: false, fieldsChanged: false, statusChanged | fieldsChanged: false, slowCheck: false,
		} {
			if got := w.needsNoRevisit(a, why); got != want {
				t.Errorf("%s of a target that was never reconciled: %t", why, got)
			}
		}
		d.states.change(a.Target, func(of *state) { of.last = &reconciliation{ended: time.Now()} })
		if !w.needsNoRevisit(a, statusChanged) {
			t.Error("a status that changes right after a reconcile has the next one begin at once")
		}
		wantQueued(t, s.queue, "a: status")
		began := time.Now()
		if of, why, ok := s.queue.next(t.Context(), ""); !ok || of != a.Target || why != statusChanged || time.Since(began) != minStatusInterval {
			t.Errorf("the reconcile of a status begins after %s", time.Since(began))
		}
		if w.needsNoRevisit(a, statusChanged) {
			t.Error("it waits for longer than that")
		}
	})
}

func TestReasonsFromNotices(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	s.notice(watch.Notice{Target: named("a")})
	s.notice(watch.Notice{Target: named("b"), Status: true})
	s.notice(watch.Notice{Target: named("c"), Status: true})
	s.notice(watch.Notice{Target: named("c")})
	wantQueued(t, s.queue, "a: fields", "b: status", "c: status, fields")
}

// The change of a record wakes the targets that wait for it: what depends on it, and what promotes from it.
func TestTheChangeOfARecordWakesItsDependents(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	environment := &v1alpha1.Environment{Name: "prod", Images: v1alpha1.ImagePolicy{PromoteFrom: "staging"}}
	waits := func(name string, dependsOn ...string) *target.Desired {
		w := &target.Desired{Target: named(name), Environment: environment, Settings: v1alpha1.PipelineSettings{DependsOn: dependsOn}}
		d.states.change(w.Target, func(of *state) { of.last = &reconciliation{} })
		return w
	}
	converged, failed, unknown := waits("converged", "base"), waits("failed", "base"), &target.Desired{Target: named("unknown"), Environment: environment}
	unknown.Settings.DependsOn = []string{"base"}
	d.states.change(converged.Target, func(of *state) { of.last.converged = true })
	d.states.change(failed.Target, func(of *state) { of.failures.times = 1 })
	base := map[v1alpha1.Target]bool{named("base"): true, {Pipeline: "promoted", Environment: "staging"}: true, {Pipeline: "other", Environment: "dev"}: true}
	s.wakeDependents(base) // before the first plan
	planOf(s, waits("dependent", "other", "base"), waits("promoted"), waits("other"), converged, failed, unknown)
	s.wakeDependents(nil)
	wantQueued(t, s.queue)
	s.wakeDependents(base)
	wantQueued(t, s.queue, "dependent: wait ended", "promoted: wait ended")
}

func TestAnEnvironmentIsSyncedWhenEveryTargetIs(t *testing.T) {
	d, _ := newTestDaemon()
	s := newScheduler(t.Context(), d)
	in := func(environment, name string) *target.Desired {
		return &target.Desired{Target: v1alpha1.Target{Pipeline: name, Environment: environment}, Environment: &v1alpha1.Environment{Name: environment}}
	}
	all := []*target.Desired{in("dev", "a"), in("dev", "b"), in("prod", "a"), in("prod", "b"), in("test", "a")}
	for _, w := range all[:4] {
		d.states.change(w.Target, func(of *state) { of.last = &reconciliation{} })
	}
	d.states.change(all[2].Target, func(of *state) { of.failures.times = 1 })
	planOf(s, all...)
	if got, want := s.synced(), (map[string]bool{"dev": true, "prod": false, "test": false}); !maps.Equal(got, want) {
		t.Errorf("synced: %v, want %v", got, want)
	}
}

// A rollout leaves alone what it does not change, what has a back-off, and what another syncer has decided since.
func TestWhatARolloutReconciles(t *testing.T) {
	server := away(t)
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		built := &target.Rendering{}
		newest := func(name string) *target.Desired {
			w := &target.Desired{Target: named(name), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server, Overlay: "overlay", Rendered: target.Rendered{From: built}}
			w.Snapshot.Commit = "new"
			return w
		}
		fresh, changed, waits, failed, cleared := newest("fresh"), newest("changed"), newest("waits"), newest("failed"), newest("cleared")
		d.states.change(changed.Target, func(of *state) {
			before := *changed
			before.Rendered.From = &target.Rendering{}
			of.last = &reconciliation{converged: true, tried: &before, judged: &before, compared: time.Now()}
		})
		d.states.change(waits.Target, func(of *state) {
			before := *waits
			of.last = &reconciliation{tried: &before}
		})
		d.states.change(failed.Target, func(of *state) { of.failures = failures{commit: "new", times: 1, due: time.Now().Add(time.Minute)} })
		d.states.change(cleared.Target, func(of *state) { of.failures = failures{commit: "old", times: 1, due: time.Now().Add(time.Minute)} })
		commit := target.NewCommit([]*target.Desired{fresh, changed, waits, failed, cleared})
		r := &rollout{ctx: t.Context()}
		wantDue := func(want string) {
			t.Helper()
			var got []string
			for _, w := range s.due(r, commit) {
				got = append(got, w.Target.Pipeline)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("reconciled are %q, want %q", got, want)
			}
		}
		wantDue("fresh changed cleared")
		commit.Allowed.Prunes = map[v1alpha1.Target]bool{waits.Target: true}
		wantDue("fresh changed waits cleared")
	})
}

// A target that a newer commit took over before the first write is left to the rollout of that commit.
func TestASupersededReconcileIsQueuedForItsOtherReasons(t *testing.T) {
	for name, c := range map[string]struct {
		why  reasons
		how  reconcile.Detail
		want []string
	}{
		"a commit":             {commitChanged, reconcile.Detail{Superseded: true}, nil},
		"a commit and a field": {commitChanged | fieldsChanged, reconcile.Detail{Superseded: true}, []string{"a: fields"}},
		"it went well":         {fieldsChanged, reconcile.Detail{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := newTestDaemon()
			w := &worker{scheduler: newScheduler(t.Context(), d), daemon: d}
			a := &target.Desired{Target: named("a"), Environment: &v1alpha1.Environment{Name: "prod"}}
			w.reconciled(a, job{why: c.why}, &reconcile.Result{Detail: c.how})
			wantQueued(t, w.scheduler.queue, c.want...)
		})
	}
}

// A target is looked at again after the repository was asked.
func TestATargetIsLeftToAnotherSyncerForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		s.yield(named("a"), retryDue)
		select {
		case <-d.pollNow:
		default:
			t.Error("the repository is not asked")
		}
		began := time.Now()
		if of, _, ok := s.queue.next(t.Context(), ""); !ok || of != named("a") || time.Since(began) != 2*minPollInterval {
			t.Errorf("it is taken after %s", time.Since(began))
		}
	})
}

func TestTheEndOfAReconcileIsLoggedWhereItIsNew(t *testing.T) {
	failed := reconcile.Result{Result: reconcile.Failed, Error: "no such image"}
	held := reconcile.Result{Result: reconcile.Held, Message: "a run goes on"}
	uncompared := reconcile.Result{Result: reconcile.Unchanged, Detail: reconcile.Detail{Uncompared: errors.New("the webhook is away")}}
	for name, c := range map[string]struct {
		results []reconcile.Result
		says    []string // once each
	}{
		"failed twice":      {[]reconcile.Result{failed, failed}, []string{"target failed"}},
		"held twice":        {[]reconcile.Result{held, held}, []string{"target held"}},
		"not compared":      {[]reconcile.Result{uncompared, uncompared}, []string{"could not be compared"}},
		"failed, then held": {[]reconcile.Result{failed, held}, []string{"target failed", "target held"}},
		"applied":           {[]reconcile.Result{{Result: reconcile.Applied}}, []string{"target applied"}},
		"unchanged":         {[]reconcile.Result{{Result: reconcile.Unchanged}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, log := newTestDaemon()
			for i := range c.results {
				d.logResult(&target.Desired{Target: named("a")}, &c.results[i], time.Second)
			}
			if n := strings.Count(log.String(), "\n"); n != len(c.says) {
				t.Errorf("%d lines are logged:\n%s", n, log)
			}
			for _, text := range c.says {
				if strings.Count(log.String(), text) != 1 {
					t.Errorf("%q is not logged once:\n%s", text, log)
				}
			}
		})
	}
}

// Requested polls follow each other at once, and twice a second on average.
func TestPollsOfABurst(t *testing.T) {
	l, now := &loop{polls: newPollLimiter()}, time.Now()
	begin := now
	for i := 1; i <= 40; i++ {
		pause := l.untilNext(now)
		if i <= pollBurst && pause != burstInterval || pause > time.Second/pollsPerSecond {
			t.Errorf("poll %d waits for %s", i+1, pause)
		}
		now = now.Add(pause)
	}
	if least := time.Duration(40-pollBurst) * time.Second / pollsPerSecond; now.Sub(begin) < least-time.Second {
		t.Errorf("40 polls take %s, and not %s", now.Sub(begin), least)
	}
	if pause := l.untilNext(now.Add(time.Minute)); pause != burstInterval {
		t.Errorf("after a minute without a poll the next one waits for %s", pause)
	}
}
