package reconcile

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestResultThatLetsDependentTargetsWait(t *testing.T) {
	held := func(actions ...manifest.Action) Result {
		r := Result{Result: Held, Message: "a run goes on"}
		for _, action := range actions {
			r.Changes = append(r.Changes, Change{Action: manifest.Hold, Held: &HeldChange{Action: action}})
		}
		return r
	}
	for name, c := range map[string]struct {
		reached reached
		want    string
	}{
		"it was not reconciled":               {reached{}, ""},
		"it was applied":                      {reached{result: Result{Result: Applied}, hasHealth: true}, ""},
		"it failed":                           {reached{result: Result{Result: Failed}}, "which failed"},
		"a newer commit came":                 {reached{result: Result{Result: Unchanged, Detail: Detail{Superseded: true}}}, "which failed"},
		"it waits as a whole":                 {reached{result: held()}, "which is held: a run goes on"},
		"a change of it waits":                {reached{result: held(manifest.Update), hasHealth: true}, "which is held: a run goes on"},
		"only deletions wait":                 {reached{result: held(manifest.Prune), hasHealth: true}, ""},
		"a change waits beside a deletion":    {reached{result: held(manifest.Prune, manifest.Update), hasHealth: true}, "which is held: a run goes on"},
		"it is held, and its health is known": {reached{result: held(), hasHealth: true}, "which is held: a run goes on"},
	} {
		if got := c.reached.blocks(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
