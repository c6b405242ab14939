package daemon

import (
	"math/rand/v2"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
)

const (
	// A target that fails is tried again after the interval of the source, then after twice as long, and so on. An error
	// that only a commit or a change of the cluster can correct is tried seldom.
	longestRetry     = 5 * time.Minute
	longestPermanent = 30 * time.Minute
	// longestWait bounds the back-off of a target that waits or is not healthy yet. Most of what it waits for is watched;
	// some of it is a time, which no event announces.
	longestWait = time.Minute
)

// failures are the back-off of a target that failed. The zero value: it did not fail.
type failures struct {
	commit string
	times  int
	due    time.Time
}

// has reports whether the target failed when it was reconciled last.
func (f failures) has() bool { return f.times > 0 }

// isDue reports whether the target is to be reconciled now: it did not fail, or its back-off has ended, or git changed.
func (f failures) isDue(commit string) bool {
	return !f.has() || f.commit != commit || !time.Now().Before(f.due)
}

// goOn continues the back-off under another commit, which says the same of the target.
func (f *failures) goOn(commit string) {
	if f.has() {
		f.commit = commit
	}
}

// note updates the back-off after a reconcile; nil: it did not fail.
func (f *failures) note(commit string, failure error, interval time.Duration) {
	if failure == nil {
		*f = failures{}
		return
	}
	if f.commit != commit {
		*f = failures{commit: commit}
	}
	longest := longestRetry
	if answer.IsPermanent(failure) {
		longest = longestPermanent
	}
	f.due = time.Now().Add(backoff(interval, f.times, longest))
	f.times++
}

// wait is the back-off of a target that waits for something: it is reconciled again although nothing happens to it. It is longer each
// time, as long as the target waits for the same. The zero value: it waits for nothing.
type wait struct {
	what  string
	times int
	due   time.Time
}

// isDue reports whether the target is to be reconciled: its back-off has ended, or it has none.
func (w wait) isDue() bool { return w.times == 0 || !time.Now().Before(w.due) }

// note updates the back-off by what the target waits for; empty: nothing that has a back-off.
func (w *wait) note(what string, interval time.Duration) {
	if what == "" {
		*w = wait{}
		return
	}
	if w.what != what {
		*w = wait{what: what}
	}
	w.due = time.Now().Add(backoff(interval, w.times, max(interval, longestWait)))
	w.times++
}

// backoff is the pause after some earlier ones, with jitter.
func backoff(interval time.Duration, times int, longest time.Duration) time.Duration {
	pause := min(interval<<min(times, 16), longest)
	return pause - rand.N(pause/jitterShare+1)
}
