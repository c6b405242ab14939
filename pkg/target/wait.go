package target

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// WaitError says why a whole target is not reconciled for now. It is no failure: the objects stay as they are.
type WaitError struct {
	Reason  string // of the condition Held
	Message string
	Until   *Wait // nil: no event of a cluster ends the wait
}

func (e *WaitError) Error() string { return e.Message }

// Wait is the set of events that a target waits for: the end of the reason that holds its changes, and the health of its
// objects.
type Wait struct {
	Cluster *cluster.Cluster
	Held    []manifest.Change
}

// OnlyHealth reports whether it waits only for the health of objects.
func (a *Wait) OnlyHealth() bool {
	return !slices.ContainsFunc(a.Held, func(change manifest.Change) bool {
		reason := change.Held.Reason
		if reason == manifest.HeldInUse && change.Held.Rollout {
			return false
		}
		return reason != manifest.HeldDependency && reason != manifest.HeldHealth && reason != manifest.HeldRerun
	})
}

// WaitFor returns the wait of a target with held changes; nil without one.
func WaitFor(w *Desired, held []manifest.Change) *Wait {
	if len(held) == 0 {
		return nil
	}
	return &Wait{Cluster: w.Cluster, Held: held}
}

// WouldWait returns the wait of held changes before any write.
func WouldWait(held []manifest.Change) string {
	running := map[manifest.Key]bool{}
	for _, change := range held {
		if change.Held.Reason == manifest.HeldRunning {
			running[change.ID.Key()] = true
		}
	}
	switch len(running) {
	case 0:
		return manifest.Plural(len(held), "change") + " would wait"
	case 1:
		return "this change waits for 1 running job"
	}
	return fmt.Sprintf("this change waits for %d running jobs", len(running))
}
