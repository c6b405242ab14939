package pipeline

import (
	"context"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// lookups are the look-ups of one pass. Targets with the same pull secrets share one; most have none, and share the one
// that uses syncer's own credentials.
type lookups struct {
	registry *image.Registry
	known    *image.Credentials // of the one target that is asked about; nil: its cluster is asked

	mu            sync.Mutex
	byTarget      map[v1alpha1.Target]*image.Credentials // of its pull secrets, as far as they were read
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
func (c *carrier) lookupFor(ctx context.Context, w *target.Desired) *image.Lookup {
	if c.lookups.known != nil {
		return c.lookups.with(*c.lookups.known)
	}
	if w.Cluster == nil {
		return c.lookups.with(image.Credentials{})
	}
	configs, err := w.Cluster.PullSecrets(ctx, w.Rendered.Set)
	if err != nil {
		c.log.Warn("reading pull secrets", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
	}
	read := image.Credentials{Configs: configs}
	c.lookups.note(w.Target, read)
	return c.lookups.with(read)
}

// note keeps the credentials that were read for a target.
func (l *lookups) note(target v1alpha1.Target, credentials image.Credentials) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byTarget == nil {
		l.byTarget = map[v1alpha1.Target]*image.Credentials{}
	}
	l.byTarget[target] = &credentials
}

// credentialsOf are those that were read for a target; nil: none were.
func (l *lookups) credentialsOf(target v1alpha1.Target) *image.Credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byTarget[target]
}
