package pipeline

import (
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
)

// watching holds the watches of the objects, by cluster. It is safe for concurrent use.
type watching struct {
	open func(*cluster.Cluster) *watch.Watches

	mu       sync.Mutex
	byServer map[*cluster.Cluster]*watch.Watches
}

func newWatching(open func(*cluster.Cluster) *watch.Watches) *watching {
	return &watching{open: open, byServer: map[*cluster.Cluster]*watch.Watches{}}
}

// of returns the watches of a target's cluster; nil: there are none yet.
func (w *watching) of(d *target.Desired) *watch.Watches {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byServer[d.Cluster.Server()]
}

// opened returns the watches of a target's cluster, and opens them where there are none.
func (w *watching) opened(d *target.Desired) *watch.Watches {
	w.mu.Lock()
	defer w.mu.Unlock()
	server := d.Cluster.Server()
	if w.byServer[server] == nil {
		w.byServer[server] = w.open(server)
	}
	return w.byServer[server]
}

func (w *watching) all() []*watch.Watches {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*watch.Watches, 0, len(w.byServer))
	for _, watches := range w.byServer {
		out = append(out, watches)
	}
	return out
}

// follows reports whether every object of a target is watched.
func (w *watching) follows(d *target.Desired) bool {
	watches := w.of(d)
	return watches != nil && watches.Follows(d.Target)
}

// unwatched lists the kinds of a target whose changes are not noticed now. They are compared at each poll.
func (w *watching) unwatched(d *target.Desired) []string {
	watches := w.of(d)
	if watches == nil {
		return nil // they open after the first reconcile of a target
	}
	return watches.Unwatched(d.Target)
}

// unwatchedKinds counts the kinds that are not watched in all clusters.
func (w *watching) unwatchedKinds() int {
	n := 0
	for _, watches := range w.all() {
		n += watches.UnwatchedKinds()
	}
	return n
}

// forget stops watching for a target.
func (w *watching) forget(of v1alpha1.Target) {
	for _, watches := range w.all() {
		watches.Forget(of)
	}
}

// wait waits for the end of the watches, after their context has ended.
func (w *watching) wait() {
	for _, watches := range w.all() {
		watches.Wait()
	}
}
