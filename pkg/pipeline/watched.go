package pipeline

import (
	"github.com/syncerdev/syncer/pkg/target"
)

// notWatched asks a daemon for the kinds of a target that are not watched; in a command that runs once there is none.
func (c *carrier) notWatched(w *target.Desired) []string {
	if c.unwatched == nil {
		return nil
	}
	return c.unwatched(w)
}
