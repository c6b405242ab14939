package manifest

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kinds of Kubernetes that syncer treats in a way of their own.
var (
	NamespaceKind  = schema.GroupKind{Kind: "Namespace"}
	QuotaKind      = schema.GroupKind{Kind: "ResourceQuota"}
	LimitRangeKind = schema.GroupKind{Kind: "LimitRange"}
	CRDKind        = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
)

// Irreplaceable lists the kinds whose deletion destroys more than the object: data, or every object of a namespace or a
// kind.
var Irreplaceable = []schema.GroupKind{{Kind: "PersistentVolumeClaim"}, {Kind: "PersistentVolume"}, NamespaceKind, CRDKind}

// FieldManager owns the fields that git sets.
const FieldManager = "syncer"

// DefaultNamespace takes namespaced objects for which git names no namespace. It does not depend on the kubeconfig,
// because the same commit must mean the same objects everywhere.
const DefaultNamespace = "default"

// QuietManagers are the controllers whose writes, besides the status, change only fields that they alone decide.
var QuietManagers = []string{"kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager", "clusterrole-aggregation-controller"}

// SpecHash is a hash of the parts of an object that decide its behaviour, without labels and annotations.
func SpecHash(obj *unstructured.Unstructured) string {
	bare := &unstructured.Unstructured{Object: map[string]any{}}
	for key, value := range obj.Object {
		if key != "metadata" {
			bare.Object[key] = value
		}
	}
	hash, err := Hash(bare, nil)
	if err != nil {
		return "" // the object itself is hashed before, so that this is not reached
	}
	return hash
}

// Within reports whether a field is another one, or below it.
func Within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
