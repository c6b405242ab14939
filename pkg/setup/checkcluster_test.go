package setup

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/cluster"
)

var errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "teams", errors.New("no"))

func TestUnreachableClusters(t *testing.T) {
	expect(t, []Check{unreachable("", errAsked), unreachable("ada", errAsked)},
		"FAIL cluster: the API server does not answer; check address, network and credentials of the kubeconfig",
		"FAIL cluster: the API server does not answer; check address, network and credentials of the kubeconfig, which need the right to impersonate ada")
}

func TestDefinitions(t *testing.T) {
	const crd, install = "pipelinesyncs.syncer.dev", "run `syncer install`, or kubectl apply -k config/cluster"
	expect(t, []Check{
		definitionCheck(crd, cluster.DefinitionSame, nil), definitionCheck(crd, cluster.DefinitionMissing, nil),
		definitionCheck(crd, cluster.DefinitionOlder, nil), definitionCheck(crd, cluster.DefinitionHidden, nil), definitionCheck(crd, "", errAsked),
	},
		"OK crd: pipelinesyncs.syncer.dev is that of this build; ",
		"FAIL crd: the cluster has no CRD pipelinesyncs.syncer.dev; "+install,
		"FAIL crd: the CRD pipelinesyncs.syncer.dev is not that of this build, so that the API server drops fields of the records; "+install,
		"WARN crd: whether the CRD pipelinesyncs.syncer.dev is that of this build cannot be seen; give the account the right to get customresourcedefinitions, or run check as another one",
		"FAIL crd: the API server does not answer; "+install)
}

func TestNamespaces(t *testing.T) {
	active, ending := &unstructured.Unstructured{Object: map[string]any{}}, &unstructured.Unstructured{Object: map[string]any{}}
	now := metav1.Now()
	ending.SetDeletionTimestamp(&now)
	expect(t, []Check{
		namespaceCheck("teams", active, nil), namespaceCheck("teams", nil, nil), namespaceCheck("teams", ending, nil),
		namespaceCheck("teams", nil, errForbidden), namespaceCheck("teams", nil, errAsked),
	},
		"OK namespace: teams; ",
		"FAIL namespace: namespace teams of the records is not there; run `syncer install`, or kubectl apply -k config/cluster",
		"FAIL namespace: namespace teams of the records is being deleted; wait until it is gone, and run `syncer install`",
		"WARN namespace: whether namespace teams is there cannot be seen; give the account the right to get namespaces, or run check as another one",
		"FAIL namespace: the API server does not answer; ")
}

func TestKeys(t *testing.T) {
	expect(t, keyCheck(true, nil), "OK inventory-key: the key of the hashes of Secrets can be read; ")
	expect(t, keyCheck(false, nil), "OK inventory-key: there is no key of the hashes of Secrets yet; the first sync makes one; ")
	expect(t, keyCheck(false, errForbidden)) // the check of the rights names it
	expect(t, keyCheck(false, errAsked), "FAIL inventory-key: the API server does not answer; ")
}
