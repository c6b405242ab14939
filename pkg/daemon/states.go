package daemon

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// states hold what a process knows of each target. The zero value is ready. It is safe for concurrent use.
type states struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]*state
	steps    uint64 // counts the begins and ends of reconciles, of all targets
	logged   map[subject]string
}

// subject is what a log message is about that is about no target.
type subject string

const (
	aboutRollout    subject = "rollout"
	aboutRepository subject = "repository"
	aboutTry        subject = "repository, a try"
)

// state is what is known of one target. All of it goes when the target does; see states.forget.
type state struct {
	step     uint64          // of the last begin or end of a reconcile
	last     *reconciliation // nil: none ended since the target is this process's
	failures failures
	wait     wait
	wakeUp   wakeUp
	objects  *liveObjects // nil: nobody has asked for them
	measured *measured    // nil: the metrics know nothing of it
	logged   string       // what was logged of it last; empty: that all is well
}

// reconciliation is what the last reconcile of a target leaves to know.
type reconciliation struct {
	converged   bool            // there is nothing to do before something happens
	unwatched   bool            // its record says so of some of its kinds
	tried       *target.Desired // nil: the next commit reconciles the target in any case
	ended       time.Time
	compared    time.Time       // when all objects of the target were last compared
	judged      *target.Desired // of the last reconcile that judged the objects; nil: none did
	pins        []v1alpha1.PinnedImage
	credentials *image.Credentials // of the pull secrets, for the next check of the images; nil: they are read then
}

// change calls a function with the state of a target, which is made where there is none. The function must not wait.
func (s *states) change(target v1alpha1.Target, change func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.byTarget[target]
	if of == nil {
		if s.byTarget == nil {
			s.byTarget = map[v1alpha1.Target]*state{}
		}
		of = &state{}
		s.byTarget[target] = of
	}
	change(of)
}

// of returns a copy of what is known of a target.
func (s *states) of(target v1alpha1.Target) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copy(target)
}

// lastOf returns what the last reconcile of a target left to know; false: none ended.
func (s *states) lastOf(target v1alpha1.Target) (reconciliation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byTarget[target]; known != nil && known.last != nil {
		return *known.last, true
	}
	return reconciliation{}, false
}

// copy is of under the lock.
func (s *states) copy(target v1alpha1.Target) state {
	known := s.byTarget[target]
	if known == nil {
		return state{}
	}
	out := *known
	if known.last != nil {
		last := *known.last
		out.last = &last
	}
	return out
}

// all returns copies of all states.
func (s *states) all() map[v1alpha1.Target]state {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[v1alpha1.Target]state, len(s.byTarget))
	for target := range s.byTarget {
		out[target] = s.copy(target)
	}
	return out
}

// targets lists the targets of which something is known.
func (s *states) targets() []v1alpha1.Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]v1alpha1.Target, 0, len(s.byTarget))
	for target := range s.byTarget {
		out = append(out, target)
	}
	return out
}

// step notes that a reconcile of a target begins or ends, and returns when that was the case before.
func (s *states) step(target v1alpha1.Target) (before uint64) {
	s.change(target, func(of *state) {
		s.steps++
		before, of.step = of.step, s.steps
	})
	return before
}

// now is the number of the last step: a record that was read after it is as of then, or newer.
func (s *states) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steps
}

// isNew reports whether a text of a target was not logged last, and notes it. An empty text says that all is well.
func (s *states) isNew(target v1alpha1.Target, text string) (isNew bool) {
	if text == "" && s.of(target).logged == "" {
		return false
	}
	s.change(target, func(of *state) { isNew, of.logged = of.logged != text, text })
	return isNew
}

// isNewAbout reports whether a text of a subject was not logged last, and notes it. An empty text says that all is well.
func (s *states) isNewAbout(about subject, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logged[about] == text {
		return false
	}
	if s.logged == nil {
		s.logged = map[subject]string{}
	}
	s.logged[about] = text
	return true
}

// forget drops all that is known of a target.
func (s *states) forget(target v1alpha1.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.byTarget[target]; of != nil && of.wakeUp.cancel != nil {
		of.wakeUp.cancel()
	}
	delete(s.byTarget, target)
}

// reset drops what a reconcile found, and keeps the back-off of a target that failed.
func (s *state) reset() { s.last, s.wait, s.measured = nil, wait{}, nil }

// compared notes that a comparison of all objects of a target is requested.
func (s *states) compared(target v1alpha1.Target) {
	s.change(target, func(of *state) {
		if of.last != nil {
			of.last.compared = time.Now()
		}
	})
}

// goOn continues the back-off of a target that failed under another commit, which says the same of it.
func (s *states) goOn(target v1alpha1.Target, commit string) {
	s.change(target, func(of *state) { of.failures.goOn(commit) })
}

// makeDue has the next poll reconcile the target.
func (s *state) makeDue() {
	s.wait = wait{}
	if s.last != nil {
		s.last.converged, s.last.tried = false, nil
	}
}

// note updates the state after a reconcile.
func (s *state) note(w *target.Desired, result *reconcile.Result, compared bool) {
	now := time.Now()
	if s.last == nil {
		s.last = &reconciliation{compared: now.Add(-rand.N(compareInterval - firstCompare))} // so that they spread over the hour
	}
	last := s.last
	last.ended, last.unwatched, last.tried = now, result.Detail.Unwatched, w
	if reconcile.IsUntried(result.Detail.Failure) || waitsForGit(result) {
		last.tried = nil
	}
	// The objects may all be as they should be while the record is not: a failure is reconciled again.
	last.converged = result.Detail.Converged && result.Detail.Failure == nil
	if compared {
		last.compared = now
	}
	if result.Detail.Live != nil && w.Record != nil {
		last.judged, last.pins, last.credentials = w, w.Record.Spec.Images, result.Detail.Credentials
		if result.Detail.Pins != nil {
			last.pins = result.Detail.Pins
		}
	}
}

// waitsForGit reports whether a change waits for what git says of another target: a commit that leaves this target as it is may
// end the wait.
func waitsForGit(result *reconcile.Result) bool {
	return result.Detail.Wait != nil && slices.ContainsFunc(result.Detail.Wait.Held, func(change manifest.Change) bool {
		return change.Held.Reason == manifest.HeldUnrendered || change.Held.Reason == manifest.HeldMoved
	})
}

// waitsFor says what a target waits for after a reconcile; empty: nothing, or it failed, which has a back-off of its own.
func waitsFor(result *reconcile.Result) string {
	if result.Detail.Converged || result.Detail.Failure != nil || result.Detail.Superseded {
		return ""
	}
	return string(result.Result) + " " + result.Message
}

// measure notes how a target is, for the metrics.
func (s *states) measure(target v1alpha1.Target, is measured) {
	s.change(target, func(of *state) {
		if is.findings == nil && of.measured != nil { // it was not compared
			is.findings = of.measured.findings
		}
		of.measured = &is
	})
}

// progresses notes for the metrics that a newer commit is on its way to a target.
func (s *states) progresses(target v1alpha1.Target) {
	s.change(target, func(of *state) {
		is := measured{}
		if of.measured != nil {
			is = *of.measured
		}
		is.state = drift.Progressing
		of.measured = &is
	})
}
