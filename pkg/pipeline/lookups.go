package pipeline

import (
	"context"
	"sync"

	"github.com/syncerdev/syncer/pkg/image"
)

// lookups are the look-ups of one pass. Targets with the same pull secrets share one; most have none, and share the one
// that uses syncer's own credentials.
type lookups struct {
	registry *image.Registry
	known    *image.Credentials // of the one target that is asked about; nil: its cluster is asked

	mu            sync.Mutex
	byCredentials map[string]*image.Lookup
}

func (r *Runner) newLookups() *lookups {
	return &lookups{registry: r.registry, byCredentials: map[string]*image.Lookup{}}
}

func (l *lookups) with(credentials image.Credentials) *image.Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := credentials.ID()
	lookup, ok := l.byCredentials[id]
	if !ok {
		lookup = image.NewLookup(l.registry.With(credentials))
		l.byCredentials[id] = lookup
	}
	return lookup
}

// lookupFor returns the look-up with the credentials of a target's pull secrets, which are read from its cluster. What
// cannot be read there is left out: syncer's own credentials may do, and if they do not, the registry says so.
func (c *carrier) lookupFor(ctx context.Context, w *work) *image.Lookup {
	if c.lookups.known != nil {
		return c.lookups.with(*c.lookups.known)
	}
	if w.cluster == nil {
		return c.lookups.with(image.Credentials{})
	}
	configs, err := w.cluster.PullSecrets(ctx, w.plain)
	if err != nil {
		c.log.Warn("reading pull secrets", "pipeline", w.target.Pipeline, "environment", w.target.Environment, "error", err)
	}
	w.credentials = &image.Credentials{Configs: configs}
	return c.lookups.with(*w.credentials)
}
