package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/target"
)

// objectsFresh is how long an answer about live objects is given again, so that many readers ask the API server once.
const objectsFresh = 5 * time.Second

// liveObjects are the live objects of a target as they were judged last.
type liveObjects struct {
	mu      sync.Mutex // held while the API server is asked
	at      time.Time
	objects []health.Object
}

// Objects judges the live objects of a target, sorted. It asks the API server, and gives the answer again for five seconds.
func (d *Daemon) Objects(ctx context.Context, of v1alpha1.Target) ([]health.Object, error) {
	environments, err := d.parts.Config.Select([]string{of.Environment})
	if err != nil {
		return nil, err
	}
	if d.View().Target(of.Pipeline, of.Environment) == nil {
		return nil, fmt.Errorf("there is no target %s", of)
	}
	var last *liveObjects
	d.states.change(of, func(s *state) {
		if s.objects == nil {
			s.objects = &liveObjects{}
		}
		last = s.objects
	})
	last.mu.Lock()
	defer last.mu.Unlock()
	if !last.at.IsZero() && time.Since(last.at) < objectsFresh {
		return last.objects, nil
	}
	server, err := d.parts.Clusters.Of(environments[0])
	if err != nil {
		return nil, err
	}
	record, err := server.Records().Get(ctx, of)
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, fmt.Errorf("%s has no record any more", of)
	}
	cluster, err := server.As(record.Spec.ServiceAccount)
	if err != nil {
		return nil, err
	}
	live, err := inventory.Find(ctx, cluster, of, record)
	if err != nil {
		return nil, err
	}
	last.at, last.objects = time.Now(), target.ObjectsOf(ctx, cluster, record.Status.Inventory, live)
	return last.objects, nil
}
