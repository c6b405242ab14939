package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// rawPrefix begins the names of the namespaces of the plain client.
const rawPrefix = "raw-"

// rawWorkers is how many objects the plain client applies at a time.
const rawWorkers = 8

var resourceOf = map[string]schema.GroupVersionResource{
	"ConfigMap":        configMaps,
	"ServiceAccount":   {Version: "v1", Resource: "serviceaccounts"},
	"CronJob":          {Group: "batch", Version: "v1", Resource: "cronjobs"},
	"SparkApplication": applications,
}

// rendered returns all objects of the repository.
func (w *workload) rendered() ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for i := range w.pipelines {
		for _, environment := range environments {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), w.overlay(i, environment))
			if err != nil {
				return nil, err
			}
			for _, r := range built.Resources() {
				content, err := r.MarshalJSON()
				if err != nil {
					return nil, err
				}
				o := &unstructured.Unstructured{}
				if err := o.UnmarshalJSON(content); err != nil {
					return nil, err
				}
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// raw measures what the API server needs for the same objects from a client that does nothing else: once where they are
// not there, and once where each of them has changed.
func raw(b *bench, ctx context.Context) error {
	config, err := b.user(rawUser)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := b.work.rendered()
	if err != nil {
		return err
	}
	var created, changed []time.Duration
	for n := range b.opts.rawRuns {
		prefix := fmt.Sprintf("%s%d-", rawPrefix, n)
		if err := b.createNamespaces(ctx, prefix); err != nil {
			return err
		}
		took, err := applyAll(ctx, client, prefix, "0", objects)
		if err != nil {
			return err
		}
		created = append(created, took)
		if took, err = applyAll(ctx, client, prefix, "1", objects); err != nil {
			return err
		}
		changed = append(changed, took)
		if err := b.empty(ctx, prefix); err != nil {
			return err
		}
	}
	b.result.seconds(rawCreate, percentile(created, 50))
	b.result.seconds(rawChange, percentile(changed, 50))
	return nil
}

// applyAll applies the objects in the namespaces with a prefix, at a version of the shared component.
func applyAll(ctx context.Context, client dynamic.Interface, prefix, platform string, objects []*unstructured.Unstructured) (time.Duration, error) {
	bodies := make([][]byte, len(objects))
	for i, o := range objects {
		o := o.DeepCopy()
		o.SetNamespace(prefix + o.GetNamespace())
		annotations := o.GetAnnotations()
		annotations["example.com/platform"] = platform
		o.SetAnnotations(annotations)
		var err error
		if bodies[i], err = o.MarshalJSON(); err != nil {
			return 0, err
		}
	}
	force, began := true, time.Now()
	var next atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	for range rawWorkers {
		workers.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(objects)); i = next.Add(1) - 1 {
				o := objects[i]
				_, err := client.Resource(resourceOf[o.GetKind()]).Namespace(prefix+o.GetNamespace()).Patch(
					ctx, o.GetName(), types.ApplyPatchType, bodies[i], metav1.PatchOptions{FieldManager: "raw", Force: &force})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := workers.Wait()
	return time.Since(began), err
}

// empty deletes the objects in the namespaces with a prefix. No controller runs that would do so with a namespace.
func (b *bench) empty(ctx context.Context, prefix string) error {
	for i := 0; i < b.kase.pipelines; i += perTeam {
		for _, environment := range environments {
			for _, resource := range resourceOf {
				err := b.client.Resource(resource).Namespace(prefix+namespace(i, environment)).
					DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func kubeconfig(path string) (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", path) }
