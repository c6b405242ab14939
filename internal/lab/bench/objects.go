package bench

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Resources that tests read and write as another client.
var (
	Namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	ConfigMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	Secrets         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	Services        = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	ServiceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	Quotas          = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	Pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	Events          = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	Jobs            = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	Deployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	StatefulSets    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	DaemonSets      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	CronJobs        = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
	Claims          = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	SparkApps       = schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}
	APIServices     = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	Leases          = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	CRDs            = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	Roles           = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	RoleBindings    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	ClusterRoles    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	ClusterBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
	RecordResource  = schema.GroupVersionResource{Group: v1alpha1.Group, Version: v1alpha1.Version, Resource: "pipelinesyncs"}
)

// Get reads an object as another client. It returns nil if the object does not exist.
func (b *Bench) Get(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	b.T.Helper()
	obj, err := b.Admin.Resource(resource).Namespace(namespace).Get(b.Ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.T.Fatal(err)
	}
	return obj
}

// Create creates an object as another client, without the member label.
func (b *Bench) Create(resource schema.GroupVersionResource, text string) *unstructured.Unstructured {
	b.T.Helper()
	obj := b.Object(text)
	made, err := b.Admin.Resource(resource).Namespace(obj.GetNamespace()).Create(b.Ctx, obj, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		b.T.Fatal(err)
	}
	return made
}

// Edit changes an object in the namespace of the target by a merge patch, as a person with kubectl does.
func (b *Bench) Edit(resource schema.GroupVersionResource, name, patch string) {
	b.T.Helper()
	patchObject(b, resource, b.Namespace, name, "kubectl-edit", patch)
}

// Status writes the status of an object as its operator does.
func (b *Bench) Status(resource schema.GroupVersionResource, name, patch string) {
	b.T.Helper()
	patchObject(b, resource, b.Namespace, name, "operator", patch, "status")
}

// EditRecord changes the record of the target by a merge patch, as a person with kubectl does.
func (b *Bench) EditRecord(patch string) {
	b.T.Helper()
	patchObject(b, RecordResource, b.Records, b.Target.RecordName(), "kubectl-edit", patch)
}

func patchObject(b *Bench, resource schema.GroupVersionResource, namespace, name, manager, patch string, subresource ...string) {
	b.T.Helper()
	options := metav1.PatchOptions{FieldManager: manager}
	if _, err := b.Admin.Resource(resource).Namespace(namespace).Patch(b.Ctx, name, types.MergePatchType, []byte(patch), options, subresource...); err != nil {
		b.T.Fatal(err)
	}
}

// Delete deletes an object as another client.
func (b *Bench) Delete(resource schema.GroupVersionResource, namespace, name string) {
	b.T.Helper()
	background := metav1.DeletePropagationBackground
	if err := b.Admin.Resource(resource).Namespace(namespace).Delete(b.Ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		b.T.Fatal(err)
	}
}

// LetGo removes the finalizers of an object in the namespace of the target when a test is over.
func LetGo(b *Bench, resource schema.GroupVersionResource, name string) {
	_, err := b.Admin.Resource(resource).Namespace(b.Namespace).Patch(context.Background(), name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err != nil {
		b.T.Error(err)
	}
}
