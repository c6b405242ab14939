package daemon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestFailedTargetIsTriedSeldomAndSeldom(t *testing.T) {
	for name, c := range map[string]struct {
		failure error
		longest time.Duration
	}{
		"what may pass":           {errors.New("the registry does not answer"), longestRetry},
		"what git has to correct": {apierrors.NewInternalError(errors.New("duplicate entries for key")), longestPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f failures
				if !f.isDue("c1") {
					t.Fatal("a target that never failed is not due")
				}
				longest := time.Duration(0)
				for range 12 {
					f.note("c1", c.failure, time.Second)
					began := time.Now()
					for !f.isDue("c1") {
						time.Sleep(100 * time.Millisecond)
					}
					longest = max(longest, time.Since(began))
				}
				if longest > c.longest || longest < c.longest*8/10 {
					t.Errorf("the longest wait is %s", longest)
				}
				f.note("c1", c.failure, time.Second)
				if f.isDue("c1") || !f.isDue("c2") {
					t.Error("a new commit does not make it due")
				}
				f.note("c1", nil, time.Second)
				if !f.isDue("c1") {
					t.Error("a success is not remembered")
				}
			})
		})
	}
}

func TestATargetThatWaitsForTheSameIsLookedAtLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		var w wait
		looks := func(span time.Duration) int {
			n := 0
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(interval) { // the polls
				if w.isDue() {
					w.note("Held for a run", interval)
					n++
				}
			}
			return n
		}
		if n := looks(2 * time.Minute); n > 5 {
			t.Errorf("it was looked at %d times in the first two minutes", n)
		}
		if n := looks(10 * time.Minute); n < 9 || n > 11 {
			t.Errorf("it was looked at %d times within ten minutes, want about one a minute", n)
		}
		w.note("Held for another run", interval)
		if time.Sleep(interval); !w.isDue() {
			t.Error("what it waits for changed, and it is still looked at as seldom as before")
		}
		w.note("", interval)
		if !w.isDue() {
			t.Error("it does not wait any more")
		}
	})
}
