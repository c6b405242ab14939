package daemon

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/leases"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestTheSameIsLoggedOnce(t *testing.T) {
	var s states
	a, b := named("a"), named("b")
	for i, step := range []struct {
		of   v1alpha1.Target
		text string
		news bool
	}{
		{a, "", false}, {a, "failed", true}, {a, "failed", false}, {b, "failed", true}, {a, "failed otherwise", true},
		{a, "", true}, {a, "", false}, {a, "failed", true}, {b, "failed", false},
	} {
		if got := s.isNew(step.of, step.text); got != step.news {
			t.Errorf("step %d: %q of %s is news: %t", i, step.text, step.of, got)
		}
		if got := s.isNewAbout(subject(step.of.Pipeline), step.text); got != step.news {
			t.Errorf("step %d: %q of a subject is news: %t", i, step.text, got)
		}
	}
}

func TestSteps(t *testing.T) {
	var s states
	read := s.now()
	if s.step(named("a")) > read {
		t.Error("a record is stale before the first reconcile")
	}
	s.step(named("a"))
	read = s.now()
	if s.step(named("b")) > read || s.step(named("a")) > read {
		t.Error("a record is stale that was read after the last reconcile")
	}
	if s.step(named("a")) <= read {
		t.Error("a record is fresh although a reconcile began after it was read")
	}
}

// fill has a daemon know something of a target in every place.
func fill(t *testing.T, s *scheduler, w *target.Desired) {
	t.Helper()
	of, d := w.Target, s.daemon
	d.states.step(of)
	d.states.isNew(of, "failed")
	d.states.measure(of, measured{state: drift.Ready})
	s.retryLater(w, errors.New("no answer"))
	d.states.change(of, func(known *state) {
		known.last, known.objects = &reconciliation{converged: true}, &liveObjects{}
		known.wait.note("Held", time.Second)
	})
	s.wakeUps.set(t.Context(), of, &target.Wait{Cluster: w.Cluster})
	s.wakeUps.set(t.Context(), of, &target.Wait{Cluster: w.Cluster}) // this one begins after a pause
	d.tracker.Track(w.Record.Spec.Owner, []*target.Desired{w}, time.Now())
	d.parts.Reconciler.Pins.Checks.Checked(of, "web:1")
	s.queue.add(of, time.Now().Add(time.Hour), slowCheck)
}

// keepers lists the maps of the daemon that have a target in their key.
func keepers(v reflect.Value, of v1alpha1.Target, path string, seen map[uintptr]bool) (found []string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*target.Commit]() {
			return nil // it says what is in git
		}
		if ours := strings.Contains(v.Type().Elem().PkgPath(), "syncer"); v.IsNil() || seen[v.Pointer()] || !ours {
			return nil
		}
		seen[v.Pointer()] = true
		return keepers(v.Elem(), of, path, seen)
	case reflect.Struct:
		for i := range v.NumField() {
			found = append(found, keepers(v.Field(i), of, path+"."+v.Type().Field(i).Name, seen)...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if names(key, of) {
				found = append(found, path)
			}
			found = append(found, keepers(v.MapIndex(key), of, path+"[]", seen)...)
		}
	}
	return found
}

// names reports whether a value is a target, or has it in a field.
func names(v reflect.Value, of v1alpha1.Target) bool {
	if v.Kind() != reflect.Struct {
		return false
	}
	if v.Type() == reflect.TypeFor[v1alpha1.Target]() {
		return v.Field(0).String() == of.Pipeline && v.Field(1).String() == of.Environment
	}
	for i := range v.NumField() {
		if names(v.Field(i), of) {
			return true
		}
	}
	return false
}

// What is known of a target goes with the target. A process runs for years, and pipelines come and go.
func TestATargetThatIsGoneLeavesNothing(t *testing.T) {
	server := away(t)
	gone := &target.Desired{Target: named("gone"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server, Record: recordOf("test")}
	left := &target.Desired{Target: named("left"), Environment: gone.Environment, Cluster: server, Record: recordOf("test")}
	for name, leave := range map[string]func(s *scheduler){
		"a commit without it": func(s *scheduler) {
			s.forgetGone(target.NewCommit([]*target.Desired{left}))
		},
		"its Lease is another replica's": func(s *scheduler) {
			elects := true
			s.daemon.parts.Config.LeaderElection = &elects
			s.leases.ByShard[leases.ShardOf(s.daemon.parts.Config, server, gone.Environment, "")] = &leases.Lease{}
			s.commits.plan(planned{commit: target.NewCommit([]*target.Desired{gone})})
			s.forgetUnleased()
		},
		"it went while a worker had it": func(s *scheduler) {
			s.queue.add(gone.Target, time.Now(), fieldsChanged)
			of, why, _ := s.queue.next(t.Context(), "")
			s.commits.plan(planned{commit: target.NewCommit([]*target.Desired{left})})
			(&worker{scheduler: s, daemon: s.daemon}).handleGuarded(t.Context(), of, why)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newTestDaemon()
				s := newScheduler(t.Context(), d)
				fill(t, s, gone)
				if places := keepers(reflect.ValueOf(s), gone.Target, "daemon", map[uintptr]bool{}); len(places) < 4 {
					t.Fatalf("the test finds the target in %q only", places)
				}
				leave(s)
				if places := keepers(reflect.ValueOf(s), gone.Target, "daemon", map[uintptr]bool{}); len(places) > 0 {
					t.Errorf("it is still in %q", places)
				}
				began := time.Now()
				s.wakeUps.running.Wait()
				if time.Since(began) > 0 {
					t.Error("its wait goes on")
				}
			})
		})
	}
}

// While an environment cannot be read, its targets seem to be gone. A target that failed is not tried again for that.
func TestAnEnvironmentThatIsAwayKeepsBackoffs(t *testing.T) {
	server := away(t)
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		away := &target.Desired{Target: named("away"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server, Record: recordOf("test")}
		fill(t, s, away)
		commit := target.NewCommit(nil)
		commit.Unread = []string{"prod"}
		s.forgetGone(commit)
		known := d.states.of(away.Target)
		if !known.failures.has() || known.last != nil || known.measured != nil {
			t.Errorf("it is %+v", known)
		}
		d.states.forget(away.Target)
	})
}

// recordOf is the record of a target that was applied once.
func recordOf(owner string) *v1alpha1.PipelineSync {
	record := &v1alpha1.PipelineSync{}
	record.Spec.Owner, record.Status.LastAppliedCommit = owner, "a"
	return record
}

// After a start, the comparisons of all objects spread over the first hour, and begin after some minutes.
func TestTheFirstComparisonsAfterAStartSpread(t *testing.T) {
	var s states
	early, late := 0, 0
	const targets = 1000
	for i := range targets {
		of := named(strconv.Itoa(i))
		s.change(of, func(is *state) { is.note(&target.Desired{Target: of}, &reconcile.Result{}, false) })
		last, _ := s.lastOf(of)
		switch due := time.Until(last.compared.Add(compareInterval)); {
		case due < firstCompare-time.Second || due > compareInterval:
			t.Fatalf("it is due in %s", due)
		case due < compareInterval/2:
			early++
		default:
			late++
		}
	}
	if early < targets/4 || late < targets/4 {
		t.Errorf("%d are compared in the first half of the hour, %d in the second", early, late)
	}
}
