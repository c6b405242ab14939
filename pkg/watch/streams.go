package watch

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// stream follows one kind until the context ends.
func (w *Watches) stream(ctx context.Context, c *cluster.Cluster, s stream) {
	lister, err := w.lister(ctx, c, s)
	if err != nil {
		w.fails(ctx, s, err)
		w.mu.Lock()
		defer w.mu.Unlock()
		if running := w.streams[s]; running != nil && ctx.Err() == nil {
			running.cancel()
			running.ended = true
		}
		return
	}
	store := &memberStore{watches: w, stream: s}
	reflector := cache.NewReflectorWithOptions(lister, &metav1.PartialObjectMetadata{}, store, cache.ReflectorOptions{
		Name: s.kind.String(), MinWatchTimeout: cluster.WatchTimeout, Backoff: cluster.WatchBackoff(),
	})
	reflector.RunWithContext(ctx)
}

func (w *Watches) lister(ctx context.Context, c *cluster.Cluster, s stream) (cache.ListerWatcher, error) {
	mapping, err := c.Mapping(s.kind.WithVersion(""))
	if err != nil {
		return nil, err
	}
	config := c.Config()
	config.Timeout = 0 // it would end a watch
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	client, err := metadata.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, err
	}
	resource, selector := client.Resource(mapping.Resource).Namespace(s.namespace), v1alpha1.LabelMember
	if s.isRecord() {
		selector = v1alpha1.LabelParent
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, cluster.ListingTimeout)
			defer cancel()
			options.LabelSelector = selector
			list, err := resource.List(ctx, options)
			w.fails(ctx, s, err)
			return list, err
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			events, err := resource.Watch(ctx, options)
			w.fails(ctx, s, err)
			if err != nil {
				return nil, err
			}
			w.resumed(s)
			return openWatch{events, func() { w.closed(s) }}, nil
		},
	}, nil
}

// fails notes whether a watch can be opened.
func (w *Watches) fails(ctx context.Context, s stream, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	running := w.streams[s]
	if running == nil || err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		if running != nil {
			running.failing = false
		}
		return
	}
	running.synced = false
	if apierrors.IsForbidden(err) && s.account == "" && s.namespace == "" && !w.refused[s.kind] {
		w.refused[s.kind] = true // then one watch for each namespace
		w.follow()
		return
	}
	if !running.failing {
		running.failing = true
		go w.failed(s.kind.String(), err) // the caller of this may hold locks of its own
	}
}

// resumed notes that a watch goes on. After a refused connection it goes on from its end, and lists nothing.
func (w *Watches) resumed(s stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams[s]; running != nil {
		running.synced, running.open = running.listed, true
	}
}

// closed notes that a watch ended. Until it is open again, changes go unnoticed.
func (w *Watches) closed(s stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams[s]; running != nil && running.open {
		running.open, running.closed = false, time.Now()
	}
}

// openWatch notices the end of a watch: its reader then calls Stop.
type openWatch struct {
	watch.Interface

	ended func()
}

func (o openWatch) Stop() {
	o.Interface.Stop()
	o.ended()
}
