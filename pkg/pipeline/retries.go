package pipeline

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// A target that fails is tried again after the interval of the source, then after twice as long, and so on. What git
// itself has to mend is tried seldom: only a change of the cluster could make it right.
const (
	longestRetry     = 5 * time.Minute
	longestPermanent = 30 * time.Minute
)

// retries remembers when each failed target is due again. The zero value is ready.
type retries struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]retry
}

type retry struct {
	commit string
	times  int
	due    time.Time
}

// due reports whether a target is to be carried out now: it did not fail, or its time has come, or git changed.
func (r *retries) due(target v1alpha1.Target, commit string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, ok := r.byTarget[target]
	return !ok || last.commit != commit || !time.Now().Before(last.due)
}

// goOn has the back-off of a target that failed go on under another commit, which says the same of it.
func (r *retries) goOn(target v1alpha1.Target, commit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.byTarget[target]; ok {
		last.commit = commit
		r.byTarget[target] = last
	}
}

// has reports whether a target failed when it was carried out last.
func (r *retries) has(target v1alpha1.Target) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, failed := r.byTarget[target]
	return failed
}

// note remembers how a target fared; a nil failure forgets it.
func (r *retries) note(target v1alpha1.Target, commit string, failure error, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.byTarget[target]
	if failure == nil {
		delete(r.byTarget, target)
		return
	}
	if last.commit != commit {
		last = retry{commit: commit}
	}
	longest := longestRetry
	if answer.IsPermanent(failure) {
		longest = longestPermanent
	}
	wait := min(interval<<min(last.times, 16), longest)
	last.times++
	last.due = time.Now().Add(wait - rand.N(wait/jitterShare+1))
	if r.byTarget == nil {
		r.byTarget = map[v1alpha1.Target]retry{}
	}
	r.byTarget[target] = last
}
