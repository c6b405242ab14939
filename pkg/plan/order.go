package plan

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// stage is the time at which an object is applied. A stage starts when the stage before it is in the cluster. Pruning uses
// the reverse order.
type stage int

const (
	definitions stage = iota // CRDs; the apply waits until they are established
	namespaces
	policies  // requirements of admission for later objects
	settings  // settings and accounts of pods
	workloads // everything else
	gates     // webhooks and policies that judge later objects
)

// staged lists the kinds that come before or after workloads.
var staged = map[schema.GroupKind]stage{
	manifest.CRDKind:       definitions,
	manifest.NamespaceKind: namespaces,

	{Kind: "ResourceQuota"}:                                          policies,
	{Kind: "LimitRange"}:                                             policies,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:              policies,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                  policies,
	{Kind: "ServiceAccount"}:                                         policies,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:        policies,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:               policies,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:              policies,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:                     policies,
	{Group: "external-secrets.io", Kind: "ExternalSecret"}:           settings,
	{Kind: "ConfigMap"}:                                              settings,
	{Kind: "Secret"}:                                                 settings,
	{Kind: "PersistentVolume"}:                                       settings,
	{Kind: "PersistentVolumeClaim"}:                                  settings,
	{Kind: "Service"}:                                                settings,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}: settings,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:        settings,

	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     gates,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   gates,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:        gates,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: gates,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}:          gates,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}:   gates,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:                             gates,
}

func stageOf(id manifest.ID) stage {
	if s, ok := staged[id.GroupKind()]; ok {
		return s
	}
	return workloads
}
