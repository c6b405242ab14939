package watch

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// AwaitChange watches the objects for which held changes wait. It returns nil as soon as one of them no longer has the
// state that holds a change: its run ended, it became healthy, or it is gone. It resumes by itself when the watch breaks
// off.
func AwaitChange(ctx context.Context, c *cluster.Cluster, held []manifest.Change) error {
	var watches sync.WaitGroup
	defer watches.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	type wait struct {
		key    manifest.Key
		reason manifest.HoldReason // changes may wait for the end of an object's run and for its health
	}
	watched := map[wait]bool{}
	for _, change := range held {
		for _, id := range change.Held.For {
			what := wait{id.Key(), change.Held.Reason}
			if watched[what] {
				continue
			}
			watched[what] = true
			watches.Go(func() {
				select {
				case results <- panics.Try(func() error { return await(ctx, c, id, change) }):
				case <-ctx.Done():
				}
			})
		}
	}
	if len(watched) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case err := <-results:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await watches one object until it no longer holds a change.
func await(ctx context.Context, c *cluster.Cluster, id manifest.ID, change manifest.Change) error {
	held := change.Held
	mapping, err := c.AnyMapping(id.GroupVersionKind())
	if err != nil {
		return err
	}
	resource := c.Client().Resource(mapping.Resource).Namespace(id.Namespace)
	only := fields.OneTermEqualSelector("metadata.name", id.Name).String()
	lister := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = only
			return resource.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = only
			return resource.Watch(ctx, options)
		},
	}
	isGone := func(store cache.Store) (bool, error) { return len(store.List()) == 0, nil }
	if held.Reason == manifest.HeldDependency {
		isGone = nil // the object may still come
	}
	_, err = watchtools.UntilWithSync(ctx, lister, &unstructured.Unstructured{}, isGone, func(event watch.Event) (bool, error) {
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			return false, nil
		}
		gone := event.Type == watch.Deleted
		switch held.Reason {
		case manifest.HeldRunning, manifest.HeldInUse:
			if held.Rollout {
				return gone || !inventory.AwaitsRollout(obj, change.ID), nil
			}
			return gone || !inventory.Needed(c, obj), nil
		case manifest.HeldTerminating:
			return gone || obj.GetDeletionTimestamp() == nil, nil
		case manifest.HeldHealth:
			return gone || c.Judge().Health(obj).Status != health.InProgress, nil
		case manifest.HeldRerun:
			return gone || c.Judge().Run(obj).ID != held.Hash, nil
		}
		// The object may have ended well before it was deleted.
		return gone || inventory.Unready(c, obj) == "", nil
	})
	return err
}
