package target

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestWouldWait(t *testing.T) {
	held := func(reason manifest.HoldReason, names ...string) (out []manifest.Change) {
		for _, name := range names {
			out = append(out, manifest.Change{ID: manifest.ID{Kind: "Job", Name: name}, Held: &manifest.Held{Reason: reason}})
		}
		return out
	}
	for want, changes := range map[string][]manifest.Change{
		"this change waits for 1 running job":  append(held(manifest.HeldRunning, "a", "a"), held(manifest.HeldHealth, "b")...),
		"this change waits for 2 running jobs": held(manifest.HeldRunning, "a", "b"),
		"2 changes would wait":                 held(manifest.HeldHealth, "a", "b"),
	} {
		if got := WouldWait(changes); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
