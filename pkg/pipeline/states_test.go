package pipeline

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/target"
	"k8s.io/client-go/rest"
)

func TestTheSameIsLoggedOnce(t *testing.T) {
	var s states
	var l logged
	a, b := named("a"), named("b")
	for i, step := range []struct {
		of   v1alpha1.Target
		text string
		news bool
	}{
		{a, "", false}, {a, "failed", true}, {a, "failed", false}, {b, "failed", true}, {a, "failed otherwise", true},
		{a, "", true}, {a, "", false}, {a, "failed", true}, {b, "failed", false},
	} {
		if got := s.isNews(step.of, step.text); got != step.news {
			t.Errorf("step %d: %q of %s is news: %t", i, step.text, step.of, got)
		}
		if got := l.isNews(subject(step.of.Pipeline), step.text); got != step.news {
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

// away is a cluster that does not answer.
func away(t *testing.T) *cluster.Cluster {
	t.Helper()
	cluster, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1"}, connect.Limits{}, cluster.Options{Namespace: "syncer-system"})
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// fill has the daemon know something of a target in every place.
func fill(t *testing.T, d *daemon, w *target.Desired) {
	t.Helper()
	of := w.Target
	d.states.step(of)
	d.states.isNews(of, "failed")
	d.metrics.saw(of, measured{state: drift.Ready})
	d.retryLater(w, errors.New("no answer"))
	d.states.change(of, func(s *state) {
		s.last, s.objects = &reconciliation{converged: true}, &liveObjects{}
		s.wait.note("Held", time.Second)
	})
	d.wakeUps.set(t.Context(), of, &target.Wait{Cluster: w.Cluster})
	d.wakeUps.set(t.Context(), of, &target.Wait{Cluster: w.Cluster}) // this one begins after a pause
	d.underway.expect(w, time.Now())
	d.pins.Checks.Checked(of, "web:1")
	d.queue.add(of, time.Now().Add(time.Hour), slowCheck)
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
	gone := &target.Desired{Target: named("gone"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server}
	left := &target.Desired{Target: named("left"), Environment: gone.Environment, Cluster: server}
	for name, leave := range map[string]func(d *daemon){
		"a commit without it": func(d *daemon) {
			d.forgetGone(target.NewCommit([]*target.Desired{left}))
		},
		"its Lease is another replica's": func(d *daemon) {
			elects := true
			d.Config.LeaderElection = &elects
			d.leases.byShard[shardOf(d.Config, server, gone.Environment, "")] = &lease{}
			d.commits.plan(planned{commit: target.NewCommit([]*target.Desired{gone})})
			d.forgetUnleased()
		},
		"it went while a worker had it": func(d *daemon) {
			d.queue.add(gone.Target, time.Now(), fieldsChanged)
			of, why, _ := d.queue.next(t.Context())
			d.commits.plan(planned{commit: target.NewCommit([]*target.Desired{left})})
			d.takeGuarded(of, why)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := loggedRunner()
				d := newDaemon(t.Context(), r, LoopOptions{})
				fill(t, d, gone)
				if places := keepers(reflect.ValueOf(d), gone.Target, "daemon", map[uintptr]bool{}); len(places) < 4 {
					t.Fatalf("the test finds the target in %q only", places)
				}
				leave(d)
				if places := keepers(reflect.ValueOf(d), gone.Target, "daemon", map[uintptr]bool{}); len(places) > 0 {
					t.Errorf("it is still in %q", places)
				}
				began := time.Now()
				d.wakeUps.running.Wait()
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
		r, _ := loggedRunner()
		d := newDaemon(t.Context(), r, LoopOptions{})
		away := &target.Desired{Target: named("away"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server}
		fill(t, d, away)
		commit := target.NewCommit(nil)
		commit.Unread = []string{"prod"}
		d.forgetGone(commit)
		known := d.states.of(away.Target)
		if !known.failures.has() || known.last != nil || known.measured != nil {
			t.Errorf("it is %+v", known)
		}
		d.states.forget(away.Target)
	})
}
