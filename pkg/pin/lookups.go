package pin

import (
	"context"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// Lookups are the look-ups of one pass. Targets with the same pull secrets share one. Most targets have none, and share
// the look-up with syncer's own credentials. It is safe for concurrent use.
type Lookups struct {
	source func(image.Credentials) image.Source
	known  *image.Credentials // of the only target; nil: they are read from the cluster of each target

	mu            sync.Mutex
	byTarget      map[v1alpha1.Target]*image.Credentials // of its pull secrets, as far as they were read
	byCredentials map[string]*image.Lookup
}

// NewLookups starts the look-ups of a pass.
func (r *Resolver) NewLookups() *Lookups {
	return &Lookups{source: r.Source, byTarget: map[v1alpha1.Target]*image.Credentials{}, byCredentials: map[string]*image.Lookup{}}
}

// CredentialsOf returns the credentials that were read for a target; nil: none were.
func (l *Lookups) CredentialsOf(of v1alpha1.Target) *image.Credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byTarget[of]
}

func (l *Lookups) with(credentials image.Credentials) *image.Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := credentials.ID()
	lookup, ok := l.byCredentials[id]
	if !ok {
		lookup = image.NewLookup(l.source(credentials))
		l.byCredentials[id] = lookup
	}
	return lookup
}

func (l *Lookups) note(of v1alpha1.Target, credentials image.Credentials) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byTarget[of] = &credentials
}

// lookupFor returns the look-up with the credentials of a target's pull secrets, which it reads from the cluster. It leaves
// out secrets that cannot be read: syncer's own credentials may do, and if they do not, the registry says so.
func (r *Resolver) lookupFor(ctx context.Context, lookups *Lookups, d *target.Desired) *image.Lookup {
	if lookups.known != nil {
		return lookups.with(*lookups.known)
	}
	if d.Cluster == nil {
		return lookups.with(image.Credentials{})
	}
	configs, err := cluster.PullSecrets(ctx, d.Cluster, d.Rendered.Set.Set())
	if err != nil {
		r.Log.Warn("reading pull secrets", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "error", err)
	}
	read := image.Credentials{Configs: configs}
	lookups.note(d.Target, read)
	return lookups.with(read)
}
