package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Snapshot holds the records of a namespace as a watch has them.
type Snapshot struct {
	// List is sorted by name; callers do not change it or its records. nil: no records were read yet.
	List []*v1alpha1.PipelineSync
	// Err says why the records cannot be read now; List is then the last one that was read.
	Err error
}

// Follow watches the records of the namespace until the context ends. It calls told when the records can first be read,
// at each later change, and when they cannot be read any more. One goroutine calls told at a time; told must not block.
// While nothing changes, Follow sends no request.
func (r *Records) Follow(ctx context.Context, told func(Snapshot)) error {
	config := r.cluster.Config()
	config.Timeout = 0 // it would end a watch
	patient, err := dynamicClient(config)
	if err != nil {
		return err
	}
	f := &followed{records: r, client: patient, told: told, byName: map[string]*v1alpha1.PipelineSync{}}
	lister := &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return f.list(ctx, options)
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

// followed asks for the records, and stores the events of the watch.
type followed struct {
	records *Records
	client  dynamic.Interface // without a limit to the time of a request
	told    func(Snapshot)

	mu     sync.Mutex
	byName map[string]*v1alpha1.PipelineSync
	read   bool
	err    error
}

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

func (f *followed) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, ListingTimeout)
	defer cancel()
	records, err := f.resource()
	if err != nil {
		return nil, f.failed(err)
	}
	list, err := records.List(ctx, options)
	if f.records.isUninstalled(err) {
		err = ErrNotInstalled
	}
	if err != nil {
		return nil, f.failed(fmt.Errorf("listing the records in namespace %s: %w", f.records.namespace(), answer.AdviseRight(err)))
	}
	return list, nil
}

func (f *followed) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	records, err := f.resource()
	if err != nil {
		return nil, f.failed(err)
	}
	events, err := records.Watch(ctx, options)
	if err != nil {
		return nil, f.failed(fmt.Errorf("watching the records in namespace %s: %w", f.records.namespace(), answer.AdviseRight(err)))
	}
	f.works()
	return events, nil
}

func (f *followed) Add(obj any) error    { return f.put(obj) }
func (f *followed) Update(obj any) error { return f.put(obj) }
func (f *followed) Resync() error        { return nil }

func (f *followed) put(obj any) error {
	record, err := asRecord(obj)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byName[record.Name] = record
	f.tell()
	return nil
}

func (f *followed) Delete(obj any) error {
	record, err := asRecord(obj)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byName, record.Name)
	f.tell()
	return nil
}

// Replace starts again with a list: at the start, and after a watch that could not be resumed.
func (f *followed) Replace(list []any, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byName = map[string]*v1alpha1.PipelineSync{}
	for _, obj := range list {
		record, err := asRecord(obj)
		if err != nil {
			return err
		}
		f.byName[record.Name] = record
	}
	f.read, f.err = true, nil
	f.tell()
	return nil
}

func asRecord(obj any) (*v1alpha1.PipelineSync, error) {
	fields, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a watch of records gave a %T", obj)
	}
	return decodeRecord(fields)
}

func (f *followed) failed(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || f.err.Error() != err.Error() {
		f.err = err
		f.tell()
	}
	return err
}

func (f *followed) works() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		f.err = nil
		f.tell()
	}
}

// tell passes the present records on. The caller holds the lock.
func (f *followed) tell() {
	records := Snapshot{Err: f.err}
	if f.read {
		records.List = make([]*v1alpha1.PipelineSync, 0, len(f.byName))
		for _, record := range f.byName {
			records.List = append(records.List, record)
		}
		slices.SortFunc(records.List, func(a, b *v1alpha1.PipelineSync) int { return strings.Compare(a.Name, b.Name) })
	}
	f.told(records)
}
