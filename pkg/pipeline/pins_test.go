package pipeline

import (
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

var (
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
)

// A target waits for more than a deletion where a change of what git has is held, or the whole target is.
func TestWhatAHeldTargetWaitsFor(t *testing.T) {
	held := func(action manifest.Action) ChangeResult { return ChangeResult{Held: &HeldResult{Action: action}} }
	for name, c := range map[string]struct {
		changes []ChangeResult
		want    bool
	}{
		"a deletion":              {[]ChangeResult{{Action: manifest.Update}, held(manifest.Prune)}, false},
		"a deletion and a change": {[]ChangeResult{held(manifest.Prune), held(manifest.Update)}, true},
		"the whole target":        {nil, true},
	} {
		if got := (TargetResult{Result: Held, Changes: c.changes}).waits(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	rollout := manifest.Change{Held: &manifest.Held{Reason: manifest.HeldInUse, Rollout: true}}
	use := manifest.Change{Held: &manifest.Held{Reason: manifest.HeldInUse}}
	if !(&target.Wait{Held: []manifest.Change{rollout}}).OnlyHealth() || (&target.Wait{Held: []manifest.Change{rollout, use}}).OnlyHealth() {
		t.Error("the end of a rollout is waited for as health is, and that of a use is not")
	}
}
