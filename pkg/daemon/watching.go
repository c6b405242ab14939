package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// begin follows targets that were not judged yet, so that the watches show their objects.
func (w *watching) begin(due []*target.Desired) {
	for _, d := range due {
		if d.Cluster != nil {
			w.opened(d).Follow(d.Cluster, d.Target, d.Record, d.Rendered.Set.IDs())
		}
	}
}

// shownTimeout is how long a reconcile waits for the watches of its target to list their objects. After it, the reconcile asks
// the API server.
const shownTimeout = 5 * time.Second

// shown waits until the watches show the objects of a target.
func (w *watching) shown(ctx context.Context, d *target.Desired) {
	if watches := w.of(d); watches != nil {
		ctx, cancel := context.WithTimeout(ctx, shownTimeout)
		defer cancel()
		watches.Shown(ctx, d.Target)
	}
}

// Members returns the live objects of a target as the watches of its cluster show them; see inventory.Shown.
func (w *watching) Members(c *cluster.Cluster, target v1alpha1.Target, kind schema.GroupVersionKind, namespace string) ([]unstructured.Unstructured, bool) {
	w.mu.Lock()
	watches := w.byServer[c.Server()]
	w.mu.Unlock()
	if watches == nil {
		return nil, false
	}
	return watches.Members(c, target, kind, namespace)
}

// await waits until one of the objects that a target waits for no longer holds a change.
func (w *watching) await(ctx context.Context, until *target.Wait) error {
	w.mu.Lock()
	watches := w.byServer[until.Cluster.Server()]
	w.mu.Unlock()
	if watches == nil {
		return watch.AwaitChange(ctx, until.Cluster, until.Held)
	}
	return watches.Await(ctx, until.Cluster, until.Held)
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

// needsPoll reports whether a target that was reconciled needs more than events to be as git says.
func (w *watching) needsPoll(d *target.Desired, known state) bool {
	last := known.last
	switch {
	case last.converged && last.judged == nil, last.judged != nil && !w.follows(d), last.unwatched:
		return true
	}
	return !last.converged && known.wait.isDue()
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
