package watch

import (
	"context"
	"slices"
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
		return event.Type == watch.Deleted || released(c, change, obj), nil
	})
	return err
}

// released reports whether an object no longer holds a change.
func released(c *cluster.Cluster, change manifest.Change, obj *unstructured.Unstructured) bool {
	switch held := change.Held; held.Reason {
	case manifest.HeldRunning, manifest.HeldInUse, manifest.HeldMoved:
		if held.Rollout {
			return !inventory.AwaitsRollout(obj, change.ID)
		}
		return !inventory.Needed(c, obj)
	case manifest.HeldTerminating:
		return obj.GetDeletionTimestamp() == nil
	case manifest.HeldHealth:
		return c.Judge().Health(obj).Status != health.InProgress
	case manifest.HeldRerun:
		return c.Judge().Run(obj).ID != held.Hash
	}
	return inventory.Unready(c, obj) == "" // it may have ended well before it was deleted
}

// waiter waits for the state of one object that the watches show.
type waiter struct {
	key    manifest.Key
	change manifest.Change
	moved  chan struct{} // receives when the object changes
}

// Await is AwaitChange for objects that the watches show: it needs no watch of its own for them.
func (w *Watches) Await(ctx context.Context, c *cluster.Cluster, held []manifest.Change) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moved := make(chan struct{}, 1)
	w.mu.Lock()
	shown, others := w.index.await(held, moved)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.index.endWait(shown)
	}()
	foreign := make(chan error, 1)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer cancel() // before the wait for the watches
	if len(others) > 0 {
		watches.Go(func() { foreign <- panics.Try(func() error { return AwaitChange(ctx, c, others) }) })
	}
	for {
		if slices.ContainsFunc(shown, func(each *waiter) bool { return w.isOver(c, each) }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-foreign:
			return err
		case <-moved:
		}
	}
}

// await registers waiters for the objects that the watches show. It returns the changes that wait for other objects.
func (x *index) await(held []manifest.Change, moved chan struct{}) (shown []*waiter, others []manifest.Change) {
	for _, change := range held {
		rest := change
		reason := *change.Held
		reason.For, rest.Held = nil, &reason
		for _, id := range change.Held.For {
			if _, is := x.objects[id.Key()]; !is {
				reason.For = append(reason.For, id)
				continue
			}
			each := &waiter{key: id.Key(), change: change, moved: moved}
			shown = append(shown, each)
			x.waiters[each.key] = append(x.waiters[each.key], each)
		}
		if len(reason.For) > 0 {
			others = append(others, rest)
		}
	}
	return shown, others
}

func (x *index) endWait(shown []*waiter) {
	for _, each := range shown {
		left := slices.DeleteFunc(x.waiters[each.key], func(other *waiter) bool { return other == each })
		if x.waiters[each.key] = left; len(left) == 0 {
			delete(x.waiters, each.key)
		}
	}
}

// isOver reports whether an object no longer holds a change. An object that the watches do not show any more is gone, or
// has to be looked at in another way.
func (w *Watches) isOver(c *cluster.Cluster, each *waiter) bool {
	w.mu.Lock()
	obj := w.index.get(each.key)
	w.mu.Unlock()
	return obj == nil || released(c, each.change, obj)
}

// wake wakes the waiters of an object.
func (x *index) wake(key manifest.Key) {
	for _, each := range x.waiters[key] {
		select {
		case each.moved <- struct{}{}:
		default:
		}
	}
}
