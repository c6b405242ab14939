package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestATargetThatWaitsForTheSameIsLookedAtLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		target := v1alpha1.Target{Pipeline: "web", Environment: "prod"}
		var w waiters
		looks := func(span time.Duration) int {
			n := 0
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(interval) { // the polls
				if w.due(target) {
					w.note(target, "Held for a run", interval)
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
		w.note(target, "Held for another run", interval)
		if time.Sleep(interval); !w.due(target) {
			t.Error("what it waits for changed, and it is still looked at as seldom as before")
		}
		w.note(target, "", interval)
		if !w.due(target) {
			t.Error("it does not wait any more")
		}
	})
}

func TestSameInput(t *testing.T) {
	built := &target.Rendering{}
	base := target.Desired{Rendered: target.Rendered{From: built}, Overlay: "a"}
	for name, c := range map[string]struct {
		change func(*target.Desired)
		same   bool
	}{
		"as it was":            {func(*target.Desired) {}, true},
		"another rendering":    {func(w *target.Desired) { w.Rendered.From = &target.Rendering{} }, false},
		"another error":        {func(w *target.Desired) { w.Err = errors.New("two pipelines name it") }, false},
		"other settings":       {func(w *target.Desired) { w.Settings.Owner = "data" }, false},
		"further dependencies": {func(w *target.Desired) { w.Level = 1 }, false},
		"gone from git":        {func(w *target.Desired) { w.Rendered.From, w.Overlay = nil, "" }, false},
	} {
		other := base
		c.change(&other)
		if got := sameInput(&base, &other); got != c.same {
			t.Errorf("%s: %v, want %v", name, got, c.same)
		}
	}
	unreadable := func(text string) *target.Desired {
		return &target.Desired{Overlay: "a", Err: errors.New(text), Settings: v1alpha1.PipelineSettings{}}
	}
	if !sameInput(unreadable("line 3"), unreadable("line 3")) || sameInput(unreadable("line 3"), unreadable("line 4")) {
		t.Error("a pipeline.yaml that cannot be read is told by its error")
	}
}
