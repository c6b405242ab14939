package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// operatorWorkers is how many applications the stand-in operator completes at a time.
const operatorWorkers = 4

// operator stands in for the Spark operator: it completes each application, and again when its spec has changed.
type operator struct {
	client dynamic.Interface
	todo   chan *unstructured.Unstructured
	log    io.Writer // gets what goes wrong
}

func (o *operator) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range operatorWorkers {
		workers.Go(func() {
			for app := range o.todo {
				if err := o.complete(ctx, app); err != nil && ctx.Err() == nil {
					fmt.Fprintf(o.log, "completing %s: %v\n", app.GetName(), err)
				}
			}
		})
	}
	follow(ctx, o.client.Resource(applications), func(app *unstructured.Unstructured) {
		if strings.HasPrefix(app.GetNamespace(), rawPrefix) {
			return
		}
		select {
		case o.todo <- app:
		case <-ctx.Done():
		}
	})
	close(o.todo)
	workers.Wait()
}

func (o *operator) complete(ctx context.Context, app *unstructured.Unstructured) error {
	submission := fmt.Sprintf("%s-%d", app.GetUID(), app.GetGeneration())
	if done, _, _ := unstructured.NestedString(app.Object, "status", "submissionID"); done == submission {
		return nil
	}
	patch := fmt.Sprintf(`{"status":{"submissionID":%q,"driverInfo":{"podName":"%s-driver"},"applicationState":{"state":"COMPLETED"}}}`,
		submission, app.GetName())
	_, err := o.client.Resource(applications).Namespace(app.GetNamespace()).
		Patch(ctx, app.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "spark-operator"}, "status")
	return err
}
