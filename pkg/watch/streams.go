package watch

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// stream is one watch; an empty account is syncer's own, and an empty namespace the whole cluster.
type stream struct {
	account, namespace string
	kind               schema.GroupKind
}

func (s stream) isRecord() bool { return s.kind == v1alpha1.RecordKind.GroupKind() }

// keepsContent reports whether the objects of a stream are kept as a whole. Of the others, only the metadata is read: values
// of Secrets are not kept in memory, and records are followed elsewhere.
func (s stream) keepsContent() bool { return !s.isRecord() && s.kind != secretKind }

var secretKind = schema.GroupKind{Kind: "Secret"}

// has reports whether a stream shows an object.
func (s stream) has(key manifest.Key) bool {
	return key.Group == s.kind.Group && key.Kind == s.kind.Kind && (s.namespace == "" || s.namespace == key.Namespace)
}

func (s stream) key(obj *unstructured.Unstructured) manifest.Key {
	return manifest.Key{Group: s.kind.Group, Kind: s.kind.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// streaming is a stream that runs.
type streaming struct {
	cancel  context.CancelFunc
	users   int       // the targets that need it
	version string    // in which the objects are read
	indexed bool      // the index has its objects
	listed  bool      // all objects were listed at least once
	synced  bool      // an open watch misses nothing from then on
	open    bool      // the API server has begun to answer the watch
	closed  time.Time // when it last closed
	failing bool
	ended   bool // it could not begin; the next follow starts it again
}

// streams are the watches that run. The lock of their Watches guards them.
type streams struct {
	running map[stream]*streaming
	refused map[schema.GroupKind]bool // kinds that may not be watched in the whole cluster
	changed chan struct{}             // closed when a watch begins to show its objects
}

func newStreams() streams {
	return streams{running: map[stream]*streaming{}, refused: map[schema.GroupKind]bool{}, changed: make(chan struct{})}
}

// announce wakes those who wait for a watch to show its objects.
func (s *streams) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// of lists the watches that a target needs. own is the namespace of the records.
func (s *streams) of(t *watched, own string) []stream {
	out := []stream{{namespace: own, kind: v1alpha1.RecordKind.GroupKind()}}
	for _, scope := range t.scopes {
		at := stream{account: t.cluster.Account(), kind: scope.kind}
		if !scope.namespaced || at.account == "" && !s.refused[at.kind] {
			out = append(out, at)
			continue
		}
		for _, namespace := range t.namespaces {
			at.namespace = namespace
			out = append(out, at)
		}
	}
	return out
}

// follow reports whether every kind of a target is watched without a fault; nil: the target is not followed.
func (s *streams) follow(t *watched) bool {
	return t != nil && len(t.unserved) == 0 && !slices.ContainsFunc(t.streams, func(at stream) bool { return !s.running[at].follows() })
}

// areBeginning reports whether a watch of a target has still to list its objects.
func (s *streams) areBeginning(t *watched) bool {
	return slices.ContainsFunc(t.streams, func(at stream) bool {
		running := s.running[at]
		return !running.follows() && !running.failing && !running.ended
	})
}

// haveListed reports whether the watches of a target have listed an object's kind; with content, whether the index has its objects.
func (s *streams) haveListed(t *watched, key manifest.Key, content bool) bool {
	return slices.ContainsFunc(t.streams, func(at stream) bool {
		running := s.running[at]
		return at.has(key) && running != nil && (running.indexed || running.listed && !content)
	})
}

// unwatched are the names of a target's kinds that are not watched.
func (s *streams) unwatched(t *watched) map[string]bool {
	kinds := map[string]bool{}
	for _, kind := range t.unserved {
		kinds[kind.String()] = true
	}
	for _, at := range t.streams {
		if s.running[at].unwatched() {
			kinds[at.kind.String()] = true
		}
	}
	return kinds
}

// reopening is the time in which a watch that ended opens again; after it, the kind counts as not watched. The API
// server ends each watch within an hour or two, and the watch is open again in milliseconds, from where it was.
const reopening = 5 * time.Second

// follows reports whether a change is noticed.
func (s *streaming) follows() bool {
	return s != nil && s.synced && (s.open || time.Since(s.closed) < reopening)
}

// unwatched reports whether changes go unnoticed for longer than a watch takes to begin.
func (s *streaming) unwatched() bool {
	return !s.follows() && (s == nil || s.failing || time.Since(s.closed) > reopening)
}

// begin starts a watch. The caller holds the lock.
func (w *Watches) begin(s stream, c *cluster.Cluster) {
	last := w.streams.running[s]
	if last != nil && !last.ended {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	next := &streaming{cancel: cancel, closed: time.Now()}
	if last != nil {
		next.failing, next.users = last.failing, last.users
	}
	w.streams.running[s] = next
	f := &feed{watches: w, stream: s}
	w.running.Go(func() { f.run(ctx, c) })
}

// run follows one kind until the context ends.
func (f *feed) run(ctx context.Context, c *cluster.Cluster) {
	w, s := f.watches, f.stream
	mapping, err := c.Mapping(s.kind.WithVersion(""))
	var lister cache.ListerWatcher
	if err == nil {
		lister, err = f.lister(ctx, c, mapping)
	}
	if err != nil {
		f.fails(ctx, err)
		w.mu.Lock()
		defer w.mu.Unlock()
		if running := w.streams.running[s]; running != nil && ctx.Err() == nil {
			running.cancel()
			running.ended = true
		}
		return
	}
	w.mu.Lock()
	if running := w.streams.running[s]; running != nil && ctx.Err() == nil {
		running.version = mapping.GroupVersionKind.Version
	}
	w.mu.Unlock()
	var example runtime.Object = &metav1.PartialObjectMetadata{}
	if s.keepsContent() {
		example = &unstructured.Unstructured{}
	}
	reflector := cache.NewReflectorWithOptions(lister, example, f, cache.ReflectorOptions{
		Name: s.kind.String(), MinWatchTimeout: cluster.WatchTimeout, Backoff: cluster.WatchBackoff(),
	})
	reflector.RunWithContext(ctx)
}

// reader is what a watch needs of a client.
type reader struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// readerOf returns a client for a stream, without a limit to the length of a request.
func readerOf(c *cluster.Cluster, s stream, mapping *meta.RESTMapping) (reader, error) {
	config := c.Config()
	config.Timeout = 0 // it would end a watch
	if s.keepsContent() {
		client, err := cluster.Dynamic(config)
		if err != nil {
			return reader{}, err
		}
		objects := client.Resource(mapping.Resource).Namespace(s.namespace)
		return reader{watch: objects.Watch, list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return objects.List(ctx, options)
		}}, nil
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return reader{}, err
	}
	client, err := metadata.NewForConfigAndClient(config, transport)
	if err != nil {
		return reader{}, err
	}
	objects := client.Resource(mapping.Resource).Namespace(s.namespace)
	return reader{watch: objects.Watch, list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return objects.List(ctx, options)
	}}, nil
}

func (f *feed) lister(ctx context.Context, c *cluster.Cluster, mapping *meta.RESTMapping) (cache.ListerWatcher, error) {
	s := f.stream
	objects, err := readerOf(c, s, mapping)
	if err != nil {
		return nil, err
	}
	selector := v1alpha1.LabelMember
	if s.isRecord() {
		selector = v1alpha1.LabelParent
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, cluster.ListingTimeout)
			defer cancel()
			options.LabelSelector = selector
			list, err := objects.list(ctx, options)
			f.fails(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			events, err := objects.watch(ctx, options)
			f.fails(ctx, err)
			if err != nil {
				return nil, err
			}
			f.resumed()
			return openWatch{events, f.closed}, nil
		},
	}, nil
}

// fails notes whether a watch can be opened.
func (f *feed) fails(ctx context.Context, err error) {
	w, s := f.watches, f.stream
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	running := w.streams.running[s]
	if running == nil || err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		if running != nil {
			running.failing = false
		}
		return
	}
	running.synced = false
	if apierrors.IsForbidden(err) && s.account == "" && s.namespace == "" && !w.streams.refused[s.kind] {
		w.streams.refused[s.kind] = true // then one watch for each namespace
		w.followAll()
		return
	}
	if !running.failing {
		running.failing = true
		go w.failed(s.kind.String(), err) // the caller of this may hold locks of its own
	}
}

// resumed notes that a watch goes on. After a refused connection it goes on from its end, and lists nothing.
func (f *feed) resumed() {
	w := f.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams.running[f.stream]; running != nil {
		running.synced, running.open = running.listed, true
		w.streams.announce()
	}
}

// closed notes that a watch ended. Until it is open again, changes go unnoticed.
func (f *feed) closed() {
	w := f.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.streams.running[f.stream]; running != nil && running.open {
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
