package pipeline

import (
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
