package pipeline

import (
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// unwatched lists the kinds of a target whose changes are not noticed now. They are compared at each poll.
func (d *daemon) unwatched(w *target.Desired) []string {
	d.mu.Lock()
	watches := d.watches[w.Cluster.Server()]
	d.mu.Unlock()
	if watches == nil {
		return nil // they begin with the first look at a target
	}
	return watches.Unwatched(w.Target)
}

// unwatchedKinds counts them in all clusters.
func (d *daemon) unwatchedKinds() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, watches := range d.watches {
		n += watches.UnwatchedKinds()
	}
	return n
}

// notWatched asks a daemon for the kinds of a target that are not watched; in a command that runs once there is none.
func (c *carrier) notWatched(w *target.Desired) []string {
	if c.unwatched == nil {
		return nil
	}
	return c.unwatched(w)
}

// watchless says which kinds are not watched, for people.
func watchless(kinds []string) string {
	return "not watched, and compared at each poll: " + strings.Join(kinds, ", ")
}

// setUnwatched says in a target that is in sync that this is as of the last look only.
func setUnwatched(status *v1alpha1.PipelineSyncStatus, kinds []string) {
	if len(kinds) > 0 && (status.Drift == nil || status.Drift.Total == 0) {
		setCondition(status, v1alpha1.ConditionDrifted, false, "Unwatched", watchless(kinds))
	}
}
