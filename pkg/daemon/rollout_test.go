package daemon

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/target"
)

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
		"another newest commit that is not trusted": {func(w *target.Desired) {
			w.Signature = follow.Signature{Demanded: true, Refused: &follow.Refusal{Commit: "2"}}
		}, false},
		"gone from git": {func(w *target.Desired) { w.Rendered.From, w.Overlay = nil, "" }, false},
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
