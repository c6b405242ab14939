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

// A target that waits only for health has its changes applied: they are no reason to call it held.
func TestOnlyHealth(t *testing.T) {
	for name, c := range map[string]struct {
		held []manifest.Held
		want bool
	}{
		"health and dependencies":                {[]manifest.Held{{Reason: manifest.HeldHealth}, {Reason: manifest.HeldDependency}, {Reason: manifest.HeldRerun}}, true},
		"a run":                                  {[]manifest.Held{{Reason: manifest.HeldHealth}, {Reason: manifest.HeldRunning}}, false},
		"an object that is needed":               {[]manifest.Held{{Reason: manifest.HeldInUse}}, false},
		"an object that a rollout needs for now": {[]manifest.Held{{Reason: manifest.HeldInUse, Rollout: true}}, true},
		"an object that is being deleted":        {[]manifest.Held{{Reason: manifest.HeldTerminating}}, false},
	} {
		var held []manifest.Change
		for i := range c.held {
			held = append(held, manifest.Change{Held: &c.held[i]})
		}
		wait := WaitFor(&Desired{}, held)
		if got := wait.OnlyHealth(); got != c.want || len(wait.Held) != len(held) {
			t.Errorf("%s: %t", name, got)
		}
	}
	if wait := WaitFor(&Desired{}, nil); wait != nil {
		t.Errorf("without held changes: %+v", wait)
	}
	if err := error(&WaitError{Reason: "Suspended", Message: "it is suspended"}); err.Error() != "it is suspended" {
		t.Error(err)
	}
}
