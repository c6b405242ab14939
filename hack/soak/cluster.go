package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// resources are the kinds that the soak reads.
var resources = map[string]schema.GroupVersionResource{
	"ConfigMap":        {Version: "v1", Resource: "configmaps"},
	"Secret":           {Version: "v1", Resource: "secrets"},
	"ServiceAccount":   {Version: "v1", Resource: "serviceaccounts"},
	"Deployment":       {Group: "apps", Version: "v1", Resource: "deployments"},
	"CronJob":          {Group: "batch", Version: "v1", Resource: "cronjobs"},
	"Job":              {Group: "batch", Version: "v1", Resource: "jobs"},
	"SparkApplication": {Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"},
	"PipelineSync":     {Group: "syncer.dev", Version: "v1alpha1", Resource: "pipelinesyncs"},
}

// kept is how long the soak remembers earlier versions of an object.
const kept = 5 * time.Minute

// version is the state of an object from a revision of the cluster on.
type version struct {
	revision uint64
	at       time.Time
	object   *unstructured.Unstructured // nil: it did not exist
}

// event is one change of one object. The revisions of all kinds have one order, since one etcd holds them all.
type event struct {
	key    key
	before version
	after  version
	last   *unstructured.Unstructured // of a deletion: the last state of the object
}

// cluster follows the objects by watches of its own, directly at the API server.
type cluster struct {
	client dynamic.Interface
	heard  func(event) // called for each event of one kind in turn

	mu       sync.Mutex
	versions map[key][]version // the newest last
}

func newCluster(config *rest.Config) (*cluster, error) {
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{client: client, versions: map[key][]version{}}, nil
}

// follow watches every kind until ctx ends.
func (c *cluster) follow(ctx context.Context, wg *sync.WaitGroup) {
	for kind := range resources {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = c.followKind(ctx, kind) // it ends with an error, and the next round lists again
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}

func (c *cluster) followKind(ctx context.Context, kind string) error {
	list, err := c.client.Resource(resources[kind]).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	at, err := strconv.ParseUint(list.GetResourceVersion(), 10, 64)
	if err != nil {
		return err
	}
	there := map[key]bool{}
	for i := range list.Items {
		there[keyOf(&list.Items[i])] = true
		c.note(&list.Items[i], false, 0)
	}
	for _, k := range c.keys(kind) {
		if gone := c.newest(k); !there[k] && gone.object != nil {
			c.note(gone.object, true, at)
		}
	}
	revision := list.GetResourceVersion()
	for {
		w, err := c.client.Resource(resources[kind]).Watch(ctx, metav1.ListOptions{ResourceVersion: revision, AllowWatchBookmarks: true})
		if err != nil {
			return err
		}
		revision, err = c.take(w, revision)
		w.Stop()
		if err != nil {
			return err
		}
	}
}

// take notes the events of one watch until it ends, and returns the revision from which to go on.
func (c *cluster) take(w watch.Interface, revision string) (string, error) {
	for e := range w.ResultChan() {
		o, ok := e.Object.(*unstructured.Unstructured)
		if !ok || e.Type == watch.Error {
			return "", apierrors.FromObject(e.Object)
		}
		revision = o.GetResourceVersion()
		if e.Type != watch.Bookmark {
			c.note(o, e.Type == watch.Deleted, 0)
		}
	}
	return revision, nil
}

// note remembers a version. revision replaces the object's own revision if that is the one of an earlier version.
func (c *cluster) note(o *unstructured.Unstructured, deleted bool, revision uint64) {
	k := keyOf(o)
	if !slices.Contains([]string{namespace(dev), namespace(prod), records}, k.namespace) {
		return
	}
	if revision == 0 {
		parsed, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
		if err != nil {
			panic(fmt.Errorf("the resource version of %s: %w", k, err))
		}
		revision = parsed
	}
	now := version{revision: revision, at: time.Now(), object: o}
	e := event{key: k, after: now}
	if deleted {
		now.object = nil
		e.after, e.last = now, o
	}
	c.mu.Lock()
	all := c.versions[k]
	if len(all) > 0 {
		e.before = all[len(all)-1]
	}
	if e.before.revision >= revision {
		c.mu.Unlock()
		return
	}
	first := 0
	for first < len(all)-1 && time.Since(all[first+1].at) > kept {
		first++
	}
	c.versions[k] = append(all[first:], now)
	c.mu.Unlock()
	if c.heard != nil {
		c.heard(e)
	}
}

func (c *cluster) keys(kind string) []key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []key
	for k := range c.versions {
		if k.kind == kind {
			all = append(all, k)
		}
	}
	return all
}

// newest returns the present state of an object, or a version without an object.
func (c *cluster) newest(k key) version {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := c.versions[k]; len(all) > 0 {
		return all[len(all)-1]
	}
	return version{}
}

// history returns the remembered versions of an object, the oldest first.
func (c *cluster) history(k key) []version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.versions[k])
}

func (c *cluster) of(k key) dynamic.ResourceInterface {
	return c.client.Resource(resources[k.kind]).Namespace(k.namespace)
}

// empty deletes all objects that syncer has put into the namespaces, and the records.
func (c *cluster) empty(ctx context.Context) error {
	var errs []error
	background := metav1.DeletePropagationBackground
	for kind := range resources {
		for _, k := range c.keys(kind) {
			o := c.newest(k).object
			if o == nil || kind == "ServiceAccount" && k.name == "default" || k.name == "kube-root-ca.crt" {
				continue
			}
			err := c.of(k).Delete(ctx, k.name, metav1.DeleteOptions{PropagationPolicy: &background})
			if err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func keyOf(o *unstructured.Unstructured) key { return key{o.GetKind(), o.GetNamespace(), o.GetName()} }
