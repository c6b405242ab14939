// Package setup prepares clusters for syncer: it installs, checks and uninstalls. It writes the objects of syncer itself,
// and never those of a pipeline.
package setup

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

// InstallManifests returns the namespace, the CRD and the RBAC that syncer needs in a cluster.
func InstallManifests(namespace string) (manifest.Set, error) {
	return manifestsOf(config.Cluster, namespace)
}

// manifestsOf renders a folder of config for a namespace.
func manifestsOf(folder, namespace string) (manifest.Set, error) {
	set, err := render.Build(config.Files, folder)
	if err != nil {
		return nil, err
	}
	if namespace == v1alpha1.DefaultNamespace {
		return set, nil
	}
	for _, obj := range set {
		if err := moveTo(obj, namespace); err != nil {
			return nil, fmt.Errorf("moving %s to namespace %s: %w", manifest.IDOf(obj), namespace, err)
		}
	}
	return set, nil
}

// moveTo renames the namespace wherever an object of config names it. A ClusterRoleBinding gets the namespace as a suffix:
// a second syncer in the cluster needs a binding of its own for its service account.
func moveTo(obj *unstructured.Unstructured, namespace string) error {
	switch obj.GetKind() {
	case "Namespace":
		obj.SetName(namespace)
	case "ClusterRoleBinding":
		obj.SetName(obj.GetName() + "-" + namespace)
	}
	if obj.GetNamespace() == v1alpha1.DefaultNamespace {
		obj.SetNamespace(namespace)
	}
	subjects, found, err := unstructured.NestedSlice(obj.Object, "subjects")
	if err != nil || !found {
		return err
	}
	for _, subject := range subjects {
		if fields, ok := subject.(map[string]any); ok {
			fields["namespace"] = namespace
		}
	}
	return unstructured.SetNestedSlice(obj.Object, subjects, "subjects")
}
