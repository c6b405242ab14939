package daemon

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

func named(name string) v1alpha1.Target { return v1alpha1.Target{Pipeline: name, Environment: "prod"} }

func oneCluster(v1alpha1.Target) string { return "" }

func TestQueue(t *testing.T) {
	take := func(t *testing.T, q *queue) (string, reasons) {
		t.Helper()
		target, why, ok := q.next(t.Context(), "")
		if !ok {
			t.Fatal("the queue ended")
		}
		return target.Pipeline, why
	}
	t.Run("the strongest reason goes first, and the longest wait among equals", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, now := newQueue(oneCluster), time.Now()
			q.add(named("check"), now, slowCheck)
			q.add(named("retry"), now, retryDue)
			q.add(named("drift, later"), now, fieldsChanged)
			q.add(named("drift, first"), now.Add(-time.Second), fieldsChanged)
			q.add(named("status"), now, statusChanged)
			q.add(named("commit"), now, commitChanged)
			q.add(named("end of a wait"), now, waitEnded)
			var got []string
			for range 7 {
				name, _ := take(t, q)
				got = append(got, name)
			}
			want := []string{"commit", "drift, first", "drift, later", "end of a wait", "retry", "status", "check"}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the order is %q, want %q", got, want)
			}
		})
	})
	t.Run("nothing waits without end behind what is more urgent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(oneCluster)
			q.add(named("check"), time.Now(), slowCheck)
			time.Sleep(6 * priorityAge)
			q.add(named("commit"), time.Now(), commitChanged)
			if name, _ := take(t, q); name != "check" {
				t.Errorf("%s goes first", name)
			}
		})
	})
	t.Run("what happens while a target waits is one reconcile, at the earlier time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, began := newQueue(oneCluster), time.Now()
			q.add(named("a"), began.Add(time.Minute), slowCheck)
			q.add(named("a"), began.Add(time.Second), statusChanged)
			q.add(named("a"), began.Add(time.Hour), fieldsChanged)
			name, why := take(t, q)
			if name != "a" || why != slowCheck|statusChanged|fieldsChanged || time.Since(began) != time.Second {
				t.Errorf("%s for %b after %s", name, why, time.Since(began))
			}
			if q.depth() != 0 {
				t.Errorf("%d are left", q.depth())
			}
		})
	})
	t.Run("a target is with one worker at a time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, began := newQueue(oneCluster), time.Now()
			q.add(named("a"), began, fieldsChanged)
			take(t, q)
			q.add(named("a"), began, commitChanged)
			time.AfterFunc(time.Minute, func() { q.finish(named("a")) })
			if _, why := take(t, q); why != commitChanged || time.Since(began) != time.Minute {
				t.Errorf("the second reconcile is for %b after %s", why, time.Since(began))
			}
		})
	})
	t.Run("a target waits for the workers of its own cluster", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, began := newQueue(func(target v1alpha1.Target) string { return target.Environment }), time.Now()
			elsewhere := v1alpha1.Target{Pipeline: "d", Environment: "dev"}
			q.add(named("a"), began, commitChanged)
			time.AfterFunc(time.Second, func() { q.add(elsewhere, began, slowCheck) })
			if of, _, _ := q.next(t.Context(), "dev"); of != elsewhere || time.Since(began) != time.Second {
				t.Errorf("%s is reconciled after %s", of, time.Since(began))
			}
			if of, _, _ := q.next(t.Context(), "prod"); of != named("a") {
				t.Errorf("%s is reconciled by the workers of prod", of)
			}
		})
	})
	t.Run("a target that is with a worker keeps its place for later, and loses it when it is forgotten", func(t *testing.T) {
		q, now := newQueue(oneCluster), time.Now()
		for _, name := range []string{"a", "b"} {
			q.add(named(name), now, fieldsChanged)
			take(t, q)
			q.add(named(name), now, fieldsChanged|commitChanged)
		}
		q.withdraw(fieldsChanged)
		q.withdraw(commitChanged)
		q.add(named("b"), now, statusChanged)
		q.forget(named("a"))
		q.finish(named("a"))
		q.finish(named("b"))
		if name, why := take(t, q); name != "b" || why != statusChanged || q.depth() != 0 {
			t.Errorf("%s for %s, and %d more", name, why, q.depth())
		}
	})
	t.Run("a target is busy from the beginning of its reconcile to the end", func(t *testing.T) {
		q := newQueue(oneCluster)
		q.add(named("a"), time.Now(), commitChanged)
		if q.isBusy(named("a")) {
			t.Error("it is busy while it waits")
		}
		take(t, q)
		q.add(named("a"), time.Now(), fieldsChanged)
		if !q.isBusy(named("a")) {
			t.Error("it is not busy during its reconcile")
		}
		q.finish(named("a"))
		if q.isBusy(named("a")) {
			t.Error("it is busy after its reconcile")
		}
	})
	t.Run("a reason that is withdrawn leaves the others", func(t *testing.T) {
		q, now := newQueue(oneCluster), time.Now()
		q.add(named("commit"), now, commitChanged)
		q.add(named("both"), now, commitChanged|fieldsChanged)
		q.withdraw(commitChanged)
		if name, why := take(t, q); name != "both" || why != fieldsChanged || q.depth() != 0 {
			t.Errorf("%s for %b, and %d more", name, why, q.depth())
		}
	})
	t.Run("the end of the context ends every wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(oneCluster)
			ctx, cancel := context.WithCancel(t.Context())
			var workers sync.WaitGroup
			for range 3 {
				workers.Go(func() {
					if _, _, ok := q.next(ctx, ""); ok {
						t.Error("a target came out of an empty queue")
					}
				})
			}
			synctest.Wait()
			cancel()
			workers.Wait()
		})
	})
}

// A cluster whose reconciles hang has no more than its share of workers, and the others go on.
func TestAClusterHasAsManyWorkersAsItMayHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		ctx, stop := context.WithCancel(t.Context())
		s := newScheduler(ctx, d)
		s.leases.Begin(ctx)
		hang := make(chan struct{})
		all := map[v1alpha1.Target]waiting{}
		now := time.Now()
		for _, name := range []string{"a", "b", "c"} {
			all[named(name)] = waiting{finished: func() { <-hang }}
			s.queue.add(named(name), now, commitChanged)
		}
		s.commits.begin(&rollout{ctx: t.Context(), over: make(chan struct{}), waiting: all})
		s.workers.Go(func() { newWorker(s).serve(ctx, s.queue.cluster(named("a")), 2) })
		synctest.Wait()
		if n := s.queue.depth(); n != 1 {
			t.Errorf("%d targets wait for a worker, want 1", n)
		}
		close(hang)
		synctest.Wait()
		if n := s.queue.depth(); n != 0 {
			t.Errorf("%d targets wait when the workers are free", n)
		}
		stop()
		s.workers.Wait()
	})
}

// All clusters share the room of this machine, and a reconcile that hangs leaves it to the others after a while.
func TestClustersShareTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTestDaemon()
		ctx, stop := context.WithCancel(t.Context())
		s := newScheduler(ctx, d)
		s.queue = newQueue(func(of v1alpha1.Target) string { return of.Environment })
		s.leases.Begin(ctx)
		w, hang, all := newWorker(s), make(chan struct{}), map[v1alpha1.Target]waiting{}
		clusters := cap(w.room)/targetsAtOnce + 2
		for i := range clusters {
			for n := range targetsAtOnce {
				of := v1alpha1.Target{Pipeline: fmt.Sprint(n), Environment: fmt.Sprint(i)}
				all[of] = waiting{finished: func() { <-hang }}
				s.queue.add(of, time.Now(), commitChanged)
			}
		}
		r := &rollout{ctx: t.Context(), over: make(chan struct{}), waiting: all}
		s.commits.begin(r)
		for i := range clusters {
			s.workers.Go(func() { w.serve(ctx, fmt.Sprint(i), targetsAtOnce) })
		}
		begun := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return clusters*targetsAtOnce - len(r.waiting)
		}
		synctest.Wait()
		if n := begun(); n != cap(w.room) {
			t.Errorf("%d targets are under way", n)
		}
		time.Sleep(longReconcile)
		synctest.Wait()
		if n := begun(); n != clusters*targetsAtOnce {
			t.Errorf("%d targets are under way after the others have hung for long", n)
		}
		close(hang)
		stop()
		s.workers.Wait()
	})
}
