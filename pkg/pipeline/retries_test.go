package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestFailedTargetIsTriedSeldomAndSeldom(t *testing.T) {
	for name, c := range map[string]struct {
		failure error
		longest time.Duration
	}{
		"what may pass":        {errors.New("the registry does not answer"), longestRetry},
		"what git has to mend": {apierrors.NewInternalError(errors.New("duplicate entries for key")), longestPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r retries
				target := v1alpha1.Target{Pipeline: "a", Environment: "b"}
				if !r.due(target, "c1") {
					t.Fatal("a target that never failed is not due")
				}
				longest := time.Duration(0)
				for range 12 {
					r.note(target, "c1", c.failure, time.Second)
					began := time.Now()
					for !r.due(target, "c1") {
						time.Sleep(100 * time.Millisecond)
					}
					longest = max(longest, time.Since(began))
				}
				if longest > c.longest || longest < c.longest*8/10 {
					t.Errorf("the longest wait is %s", longest)
				}
				r.note(target, "c1", c.failure, time.Second)
				if r.due(target, "c1") || !r.due(target, "c2") {
					t.Error("a new commit does not make it due")
				}
				r.note(target, "c1", nil, time.Second)
				if !r.due(target, "c1") {
					t.Error("a success is not remembered")
				}
			})
		})
	}
}
