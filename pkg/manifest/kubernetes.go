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

// Irreplaceable kinds hold what a deletion destroys for good: data, or every object of a namespace or a kind.
var Irreplaceable = []schema.GroupKind{{Kind: "PersistentVolumeClaim"}, {Kind: "PersistentVolume"}, NamespaceKind, CRDKind}

// FieldManager owns the fields that git sets.
const FieldManager = "syncer"

// DefaultNamespace takes namespaced objects for which git names no namespace. It does not depend on the kubeconfig,
// because the same commit must mean the same objects everywhere.
const DefaultNamespace = "default"

// QuietManagers are the controllers whose writes beside the status change no field that anybody else decides.
var QuietManagers = []string{"kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager", "clusterrole-aggregation-controller"}

// SpecHash tells whether git changed what an object does, and not only its labels.
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
