package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
)

// objectsFresh is how long an answer about live objects is given again, so that many readers ask the API server once.
const objectsFresh = 5 * time.Second

// looks remember what was last said of the live objects of targets. The zero value is ready.
type looks struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]*objectsLook
}

type objectsLook struct {
	mu      sync.Mutex // held while the API server is asked
	at      time.Time
	objects []ObjectView
}

// Objects judges the live objects of a target, sorted. It asks the API server, and gives what it said for five seconds.
func (r *Runner) Objects(ctx context.Context, target v1alpha1.Target) ([]ObjectView, error) {
	environments, err := r.Config.Select([]string{target.Environment})
	if err != nil {
		return nil, err
	}
	if r.View().Target(target.Pipeline, target.Environment) == nil {
		return nil, fmt.Errorf("there is no target %s", target)
	}
	r.looks.mu.Lock()
	if r.looks.byTarget == nil {
		r.looks.byTarget = map[v1alpha1.Target]*objectsLook{}
	}
	last := r.looks.byTarget[target]
	if last == nil {
		last = &objectsLook{}
		r.looks.byTarget[target] = last
	}
	r.looks.mu.Unlock()
	last.mu.Lock()
	defer last.mu.Unlock()
	if !last.at.IsZero() && r.now().Sub(last.at) < objectsFresh {
		return last.objects, nil
	}
	server, err := r.clusters.Of(environments[0])
	if err != nil {
		return nil, err
	}
	record, err := server.Record(ctx, target)
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, fmt.Errorf("%s has no record any more", target)
	}
	cluster, err := server.As(record.Spec.ServiceAccount)
	if err != nil {
		return nil, err
	}
	live, err := cluster.Members(ctx, target, record)
	if err != nil {
		return nil, err
	}
	last.at, last.objects = r.now(), objectsOf(ctx, cluster, record.Status.Inventory, live)
	return last.objects, nil
}

// objectsOf says how each object of an inventory is.
func objectsOf(ctx context.Context, cluster *apply.Cluster, inventory []v1alpha1.InventoryEntry, live apply.Members) []ObjectView {
	touched := cluster.Touched(ctx, inventory, live)
	out := make([]ObjectView, 0, len(inventory))
	for _, entry := range inventory {
		id := entry.ID()
		view := ObjectView{Object: id, Touched: slices.Contains(touched, id.String())}
		obj, ok := live[id.Key()]
		switch {
		case ok:
			verdict := cluster.Health(obj)
			view.Health, view.Message = string(verdict.Status), verdict.Message
		case entry.MayBeGone():
			view.Health, view.Message = objectCompleted, "it ran, and is gone as it should be"
		default:
			view.Health, view.Message = objectMissing, "it is not in the cluster"
		}
		out = append(out, view)
	}
	slices.SortFunc(out, func(a, b ObjectView) int { return a.Object.Compare(b.Object) })
	return out
}
