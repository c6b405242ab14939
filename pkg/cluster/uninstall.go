package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Find reads an object of syncer's own installation; nil where it does not exist.
func Find(ctx context.Context, c *Cluster, id manifest.ID) (*unstructured.Unstructured, error) {
	obj, err := Read(ctx, c.Server(), id)
	return obj, answer.AdviseRight(err)
}

// stopTimeout is the time in which the pods of the daemon finish their running reconciles, with some reserve.
const (
	stopTimeout = 2 * time.Minute
	erasePoll   = 100 * time.Millisecond
)

// Erase deletes an object, and not another one that has the same name by now. With await it returns when the object and
// the objects that it owns are gone.
func Erase(ctx context.Context, c *Cluster, obj *unstructured.Unstructured, await bool) error {
	resource, id, err := c.Server().scoped(manifest.IDOf(obj))
	if err != nil {
		return fmt.Errorf("deleting %s: %w", id, err)
	}
	uid, propagation := obj.GetUID(), metav1.DeletePropagationBackground
	if await {
		propagation = metav1.DeletePropagationForeground
	}
	if manifest.IDOf(obj).GroupKind() == v1alpha1.RecordKind.GroupKind() {
		// A record owns nothing. If an object names a record as its owner, this deletion does not delete the object.
		propagation = metav1.DeletePropagationOrphan
	}
	_, err = request(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, resource.Delete(ctx, obj.GetName(), metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &propagation,
		})
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", id, answer.AdviseRight(err))
	}
	if !await {
		return nil
	}
	err = wait.PollUntilContextTimeout(ctx, erasePoll, stopTimeout, true, func(ctx context.Context) (bool, error) {
		live, err := c.Server().Get(ctx, id)
		return err == nil && (live == nil || live.GetUID() != uid), err
	})
	if err != nil {
		return fmt.Errorf("waiting until %s is gone: %w", id, err)
	}
	return nil
}

// RoleUsers lists the bindings of each ClusterRole.
func RoleUsers(ctx context.Context, c *Cluster) (map[string][]manifest.ID, error) {
	users := map[string][]manifest.ID{}
	for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
		gvk := schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: kind}
		bindings, err := c.Server().List(ctx, gvk, metav1.NamespaceAll, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("looking who uses the roles of syncer: %w", err)
		}
		for i := range bindings {
			if role, _, _ := unstructured.NestedString(bindings[i].Object, "roleRef", "kind"); role == "ClusterRole" {
				name, _, _ := unstructured.NestedString(bindings[i].Object, "roleRef", "name")
				users[name] = append(users[name], manifest.IDOf(&bindings[i]))
			}
		}
	}
	return users, nil
}

// AllRecords lists the records of every namespace.
func AllRecords(ctx context.Context, c *Cluster) ([]*unstructured.Unstructured, error) {
	records, err := c.Server().List(ctx, v1alpha1.RecordKind, metav1.NamespaceAll, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the records of all namespaces: %w", err)
	}
	out := make([]*unstructured.Unstructured, len(records))
	for i := range records {
		out[i] = &records[i]
	}
	return out, nil
}

// OwnObjects are the objects that syncer itself keeps in its namespace beside the records.
func OwnObjects(c *Cluster) []manifest.ID {
	return []manifest.ID{{APIVersion: "v1", Kind: "Secret", Namespace: c.Namespace(), Name: inventoryKeyName}}
}

// RecordID names a record.
func RecordID(c *Cluster, record *v1alpha1.PipelineSync) manifest.ID {
	return manifest.ID{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RecordKind.Kind, Namespace: record.Namespace, Name: record.Name}
}

// Inhabitants lists the objects of a namespace, of all kinds that the API server can list. It leaves out the objects
// that Kubernetes itself puts into every namespace, and the objects that are being deleted. It fails if it cannot list
// one of the kinds.
func Inhabitants(ctx context.Context, c *Cluster, namespace string) ([]manifest.ID, error) {
	server := c.Server()
	lists, err := server.server.kinds.client.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("asking the API server for its kinds: %w", err)
	}
	var kinds []schema.GroupVersionKind
	for _, list := range lists {
		for _, resource := range list.APIResources {
			kind := schema.FromAPIVersionAndKind(list.GroupVersion, resource.Kind)
			if resource.Namespaced && slices.Contains(resource.Verbs, "list") && slices.Contains(resource.Verbs, "delete") && kind.Kind != "Event" {
				kinds = append(kinds, kind)
			}
		}
	}
	found := make([][]unstructured.Unstructured, len(kinds)) // each worker owns one slot
	g, gctx := panics.WithContext(ctx)
	g.SetLimit(FanOut)
	for i, kind := range kinds {
		g.Go(func() (err error) {
			if found[i], err = server.List(gctx, kind, namespace, metav1.ListOptions{}); err != nil {
				return fmt.Errorf("looking for %s objects in namespace %s: %w", kind.Kind, namespace, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []manifest.ID
	for _, list := range found {
		for i := range list {
			if !comesWithNamespace(&list[i]) {
				out = append(out, manifest.IDOf(&list[i]))
			}
		}
	}
	slices.SortFunc(out, manifest.ID.Compare)
	return out, nil
}

// comesWithNamespace reports whether Kubernetes made an object by itself, for the namespace or for an object in it.
func comesWithNamespace(obj *unstructured.Unstructured) bool {
	id := manifest.IDOf(obj)
	switch {
	case id.Kind == "ConfigMap" && id.Name == "kube-root-ca.crt", id.Kind == "ServiceAccount" && id.Name == "default":
		return true
	case id.Kind == "Lease" && strings.HasPrefix(id.Name, "syncer"):
		return true // the leader among the daemons
	case id.Kind == "Endpoints":
		return true // of a Service, with its name, and without a reference to it
	case obj.GetDeletionTimestamp() != nil:
		return true // it is being deleted
	}
	return len(obj.GetOwnerReferences()) > 0 // it is deleted with its owner, which has an own check
}
