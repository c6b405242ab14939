package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
)

// Shown are the records of a namespace as a watch shows them.
type Shown struct {
	// Changed are the records that are new, or have another version than at the last call. Callers do not change them.
	Changed []*v1alpha1.PipelineSync
	// Read says that the records were read at least once.
	Read bool
	// List returns all records of this moment, sorted by name.
	List func() []*v1alpha1.PipelineSync
	// Err says why the records cannot be read now; List then gives those that were read last.
	Err error
}

// tellInterval is the least time between two calls for changes of records: a rollout changes many records at once.
const tellInterval = 50 * time.Millisecond

// Follow watches the records of the namespace until the context ends. Known and KnownList show them meanwhile. It calls told
// when the records can first be read, after later changes, and when they cannot be read any more. One goroutine calls told
// at a time; told must not block. While nothing changes, Follow sends no request.
func (r *Records) Follow(ctx context.Context, told func(Shown)) error {
	config := r.cluster.Config()
	config.Timeout = 0 // it would end a watch
	patient, err := Dynamic(config)
	if err != nil {
		return err
	}
	f := &followed{
		records: r, client: patient, byName: map[string]*v1alpha1.PipelineSync{}, news: map[string]bool{}, changed: make(chan struct{}, 1),
		told: make(chan struct{}),
	}
	r.cluster.server.followed.Store(f)
	defer r.cluster.server.followed.CompareAndSwap(f, nil)
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { f.tell(ctx, told) })
	lister := &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return f.request(ctx, options)
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return f.watch(ctx, options)
		},
	}
	reflector := cache.NewReflectorWithOptions(lister, &unstructured.Unstructured{}, f, cache.ReflectorOptions{
		Name: v1alpha1.RecordKind.Kind, MinWatchTimeout: WatchTimeout, Backoff: WatchBackoff(),
	})
	reflector.RunWithContext(ctx)
	return nil
}

// followed asks for the records, and stores the events of the watch and the answers to the writes of this process.
type followed struct {
	records *Records
	client  dynamic.Interface // without a limit to the time of a request
	changed chan struct{}

	mu     sync.Mutex
	byName map[string]*v1alpha1.PipelineSync
	news   map[string]bool // the names of the records that changed since they were passed on
	read   bool
	err    error
	silent bool          // the API server gave err after a long time, or not at all
	told   chan struct{} // closed when the records were first read, or could not be
}

const (
	// firstAnswer is how long the caller of LatestList waits for the first records of an API server: the other clusters wait
	// with it.
	firstAnswer = 5 * time.Second
	// longAnswer is the time of a failed request from which the API server counts as silent.
	longAnswer = 5 * time.Second
)

// resource is the client for the records. It fails while their kind is not served.
func (f *followed) resource() (dynamic.ResourceInterface, error) {
	kinds := f.records.cluster.server.kinds
	mapping, err := kinds.resource(v1alpha1.RecordKind)
	if meta.IsNoMatchError(err) {
		kinds.forget() // the next try may find it installed
		return nil, ErrNotInstalled
	}
	if err != nil {
		return nil, err
	}
	return f.client.Resource(mapping.Resource).Namespace(f.records.namespace()), nil
}

func (f *followed) request(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, ListingTimeout)
	defer cancel()
	records, err := f.resource()
	if err != nil {
		return nil, f.failed(began, err)
	}
	list, err := records.List(ctx, options)
	if f.records.isUninstalled(err) {
		err = ErrNotInstalled
	}
	if err != nil {
		return nil, f.failed(began, fmt.Errorf("listing the records in namespace %s: %w", f.records.namespace(), answer.AdviseRight(err)))
	}
	return list, nil
}

func (f *followed) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	began := time.Now()
	records, err := f.resource()
	if err != nil {
		return nil, f.failed(began, err)
	}
	events, err := records.Watch(ctx, options)
	if err != nil {
		return nil, f.failed(began, fmt.Errorf("watching the records in namespace %s: %w", f.records.namespace(), answer.AdviseRight(err)))
	}
	f.works()
	return events, nil
}

func (f *followed) Add(obj any) error    { return f.put(obj) }
func (f *followed) Update(obj any) error { return f.put(obj) }
func (f *followed) Resync() error        { return nil }

func (f *followed) put(obj any) error {
	if f.isKnown(obj) {
		return nil
	}
	record, err := asRecord(obj)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.take(record)
	return nil
}

// isKnown reports whether an event is that of an own write, whose answer is known.
func (f *followed) isKnown(obj any) bool {
	fields, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.byName[fields.GetName()]
	return last != nil && last.UID == fields.GetUID() && last.ResourceVersion == fields.GetResourceVersion()
}

// wrote takes in the answer to a write. The watch shows it a moment later.
func (f *followed) wrote(obj *unstructured.Unstructured) {
	record, err := decodeRecord(obj)
	if err != nil {
		return // the watch reports it
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read {
		f.take(record)
	}
}

// take notes the newest state of a record. The caller holds the lock.
func (f *followed) take(record *v1alpha1.PipelineSync) {
	if last := f.byName[record.Name]; last != nil && last.UID == record.UID {
		if order, err := resourceversion.CompareResourceVersion(record.ResourceVersion, last.ResourceVersion); err == nil && order <= 0 {
			return
		}
	}
	f.byName[record.Name], f.news[record.Name] = record, true
	f.note()
}

func (f *followed) Delete(obj any) error {
	record, err := asRecord(obj)
	if err != nil {
		return err
	}
	f.deleted(record.Name, record.UID)
	return nil
}

// deleted notes that a record is gone, unless another one of its name is there.
func (f *followed) deleted(name string, uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.byName[name]; last != nil && last.UID == uid {
		delete(f.byName, name)
		f.note()
	}
}

// Replace starts again with a list: at the start, and after a watch that could not be resumed.
func (f *followed) Replace(list []any, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.byName
	f.byName = map[string]*v1alpha1.PipelineSync{}
	for _, obj := range list {
		record, err := asRecord(obj)
		if err != nil {
			return err
		}
		f.byName[record.Name] = record
		if last := before[record.Name]; last == nil || last.ResourceVersion != record.ResourceVersion {
			f.news[record.Name] = true
		}
	}
	f.read, f.err = true, nil
	f.note()
	return nil
}

func asRecord(obj any) (*v1alpha1.PipelineSync, error) {
	fields, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a watch of records gave a %T", obj)
	}
	return decodeRecord(fields)
}

func (f *followed) failed(began time.Time, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = errors.Is(err, context.DeadlineExceeded) || time.Since(began) > longAnswer // a watch hides its timeout
	if f.err == nil || f.err.Error() != err.Error() {
		f.err = err
		f.note()
	}
	return err
}

func (f *followed) works() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		f.err = nil
		f.note()
	}
}

// note requests that the records are passed on. The caller holds the lock.
func (f *followed) note() {
	select {
	case <-f.told:
	default:
		close(f.told)
	}
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// tell passes the records on where they changed, until the context ends.
func (f *followed) tell(ctx context.Context, told func(Shown)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
		told(f.shown())
		if clock.Sleep(ctx, tellInterval) != nil {
			return
		}
	}
}

// shown returns what changed since the last call.
func (f *followed) shown() Shown {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := Shown{Read: f.read, List: f.list, Err: f.err}
	for name := range f.news {
		if record := f.byName[name]; record != nil {
			out.Changed = append(out.Changed, record)
		}
	}
	clear(f.news)
	return out
}

func (f *followed) list() []*v1alpha1.PipelineSync {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*v1alpha1.PipelineSync, 0, len(f.byName))
	for _, record := range f.byName {
		out = append(out, record)
	}
	slices.SortFunc(out, func(a, b *v1alpha1.PipelineSync) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Known returns the record of a target as Follow shows it, with every write of this process; nil where there is none. The
// caller does not change it. It reports false if Follow does not show the records now: the API server has to be asked.
//
// The record may be a moment old. A write that requires its version is refused then.
func (r *Records) Known(target v1alpha1.Target) (*v1alpha1.PipelineSync, bool) {
	f := r.cluster.server.followed.Load()
	if f == nil {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byName[target.RecordName()], f.read && f.err == nil
}

// KnownList returns all records of the namespace as Known does, in no order.
func (r *Records) KnownList() ([]*v1alpha1.PipelineSync, bool) {
	f := r.cluster.server.followed.Load()
	if f == nil {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.read || f.err != nil {
		return nil, false
	}
	return slices.Collect(maps.Values(f.byName)), true
}

// Latest returns a target's record as Known does, and asks the API server where Follow does not show the records.
func (r *Records) Latest(ctx context.Context, target v1alpha1.Target) (*v1alpha1.PipelineSync, error) {
	if record, known := r.Known(target); known {
		return record, nil
	}
	return r.Get(ctx, target)
}

// LatestList returns all records of the namespace as KnownList does, and asks the API server where Follow does not show them. It
// does not ask one that has been silent to Follow: Follow goes on trying, and the other clusters do not wait meanwhile.
func (r *Records) LatestList(ctx context.Context) ([]*v1alpha1.PipelineSync, error) {
	if f := r.cluster.server.followed.Load(); f != nil {
		if err := f.silence(ctx); err != nil {
			return nil, err
		}
	}
	if records, known := r.KnownList(); known {
		return records, nil
	}
	return r.List(ctx)
}

// silence waits for the first answer, and returns the error of an API server that gives none.
func (f *followed) silence(ctx context.Context) error {
	enough := time.NewTimer(firstAnswer)
	defer enough.Stop()
	select {
	case <-f.told:
	case <-ctx.Done():
		return fmt.Errorf("listing the records in namespace %s: %w", f.records.namespace(), ctx.Err())
	case <-enough.C:
		return fmt.Errorf("listing the records in namespace %s: the API server has not answered in %s; it is asked on", f.records.namespace(), firstAnswer)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil && f.silent {
		return f.err
	}
	return nil
}
