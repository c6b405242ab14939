package main

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// records are the records of syncer as its users see them.
type records struct {
	mu      sync.Mutex
	all     map[string]seen // by name
	changed chan struct{}   // closed and replaced at each change
}

// seen is what the benchmark reads of a record.
type seen struct {
	commit string
	ready  bool
	found  []any // the values that findings have found in the cluster
}

func newRecords() *records { return &records{all: map[string]seen{}, changed: make(chan struct{})} }

// note takes a record up.
func (r *records) note(record *unstructured.Unstructured) {
	var s seen
	// A field that is not there yet is empty.
	s.commit, _, _ = unstructured.NestedString(record.Object, "status", "lastAppliedCommit")
	findings, _, _ := unstructured.NestedSlice(record.Object, "status", "drift", "findings")
	for _, f := range findings {
		if f, ok := f.(map[string]any); ok {
			s.found = append(s.found, f["live"])
		}
	}
	conditions, _, _ := unstructured.NestedSlice(record.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" {
			s.ready = c["status"] == "True"
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[record.GetName()] = s
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits until a number of records are as wanted, of those with the names, or of all without names.
func (r *records) await(ctx context.Context, count int, is func(seen) bool, names ...string) error {
	for {
		r.mu.Lock()
		n := 0
		if len(names) == 0 {
			for _, s := range r.all {
				if is(s) {
					n++
				}
			}
		}
		for _, name := range names {
			if s, ok := r.all[name]; ok && is(s) {
				n++
			}
		}
		changed := r.changed
		r.mu.Unlock()
		if n >= count {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// follow passes each version of each object on until ctx ends. It begins anew when a watch ends.
func follow(ctx context.Context, of dynamic.ResourceInterface, note func(*unstructured.Unstructured)) {
	for ctx.Err() == nil {
		w, err := of.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			if sleep(ctx, 50*time.Millisecond) != nil {
				return
			}
			continue
		}
		for e := range w.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok && (e.Type == watch.Added || e.Type == watch.Modified) {
				note(o)
			}
		}
		w.Stop()
	}
}

// recordSizes measures the records of real clusters, as their API server stores them: as JSON, with the managed fields.
func recordSizes(ctx context.Context, to *result, clients ...dynamic.Interface) error {
	var all, managed, largest, count int
	for _, client := range clients {
		list, err := client.Resource(pipelineSync).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			whole, err := list.Items[i].MarshalJSON()
			if err != nil {
				return err
			}
			list.Items[i].SetManagedFields(nil)
			rest, err := list.Items[i].MarshalJSON()
			if err != nil {
				return err
			}
			all, managed, largest, count = all+len(whole), managed+len(whole)-len(rest), max(largest, len(whole)), count+1
		}
	}
	if count == 0 {
		return errors.New("there are no records")
	}
	to.add("a record, mean", "KB", float64(all)/float64(count)/1e3)
	to.add("a record, of that its managed fields", "KB", float64(managed)/float64(count)/1e3)
	to.add("a record, the largest", "KB", float64(largest)/1e3)
	return nil
}
