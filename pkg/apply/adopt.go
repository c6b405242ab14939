package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// annotationAdopt on an object in git allows to take it over from the tool that manages it.
const annotationAdopt = v1alpha1.Group + "/adopt"

// formerManagers are the field managers of the tools that objects are taken over from: of kubectl's client-side apply,
// of Helm, Flux and Argo CD. Some of them update, some apply on the server's side.
var formerManagers = []string{
	"kubectl-client-side-apply", "before-first-apply", "helm", "helm-controller", "kustomize-controller",
	"argocd-controller", "argocd-application-controller",
}

// tool is what manages an object so far.
type tool struct {
	name  string // Helm
	owner string // release payments
	leave string // how the object is taken out of it
}

// toolOf finds the tool that manages a live object, by the traces that each leaves; nil where there are none.
func toolOf(live *unstructured.Unstructured) *tool {
	labels, annotations := live.GetLabels(), live.GetAnnotations()
	if release := annotations["meta.helm.sh/release-name"]; release != "" && labels["app.kubernetes.io/managed-by"] == "Helm" {
		return &tool{"Helm", "release " + release, "annotate the live object with helm.sh/resource-policy: keep and uninstall the release, or take it out of the chart"}
	}
	for _, kind := range []string{"kustomize", "helm"} {
		if name := labels[kind+".toolkit.fluxcd.io/name"]; name != "" {
			return &tool{"Flux", name, "annotate it in Flux's source with kustomize.toolkit.fluxcd.io/prune: disabled, or suspend what deploys it, before it leaves Flux"}
		}
	}
	if id := cmp.Or(annotations["argocd.argoproj.io/tracking-id"], labels["argocd.argoproj.io/instance"]); id != "" || managedBy(live, "argocd-controller") {
		return &tool{"Argo CD", cmp.Or(id, labels["app.kubernetes.io/instance"]), "delete the Application without cascading, or annotate the object there with argocd.argoproj.io/sync-options: Prune=false"}
	}
	if _, applied := annotations["kubectl.kubernetes.io/last-applied-configuration"]; applied || managedBy(live, "kubectl-client-side-apply") {
		return &tool{"kubectl apply", "", "stop applying it by hand"}
	}
	return nil
}

func managedBy(live *unstructured.Unstructured, manager string) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Manager == manager })
}

// AdoptionError says that another tool manages an object, and that git does not allow to take it over.
type AdoptionError struct {
	ID          manifest.ID
	Tool, Owner string
	leave       string
}

func (e *AdoptionError) Error() string {
	who := e.Tool
	if e.Owner != "" {
		who += " (" + e.Owner + ")"
	}
	return fmt.Sprintf("%s: it is managed by %s, and two tools would fight over it; %s, and annotate it in git with %s: %s to take it over",
		e.ID, who, e.leave, annotationAdopt, enabled)
}

// adoption decides whether an object that is no member yet is taken over from another tool.
func adoption(obj, live *unstructured.Unstructured) (adopts bool, err error) {
	former := toolOf(live)
	if former == nil {
		return false, nil
	}
	if obj.GetAnnotations()[annotationAdopt] != enabled {
		return false, &AdoptionError{ID: manifest.IDOf(live), Tool: former.name, Owner: former.owner, leave: former.leave}
	}
	return true, nil
}

// takeOver makes syncer the owner of every field that the former tools own. Without it their fields would stay for ever
// once git drops them, and the items of some lists would be there twice. Only the books change here: the apply that
// follows removes what git does not have.
func takeOver(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID) error {
	for range removeTries {
		live, err := get(ctx, resource, id)
		if live == nil || err != nil {
			return err
		}
		patch, err := upgrade(live)
		if patch == nil || err != nil {
			return err
		}
		_, err = request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return resource.Patch(ctx, id.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return fmt.Errorf("it changes faster than it can be looked at; syncer tries again at the next pass")
}

// upgrade is the patch by which the managed fields of the former tools become syncer's; nil where they have none. It asks
// for the very state that it was made from.
func upgrade(live *unstructured.Unstructured) ([]byte, error) {
	before := live.GetManagedFields()
	entries := slices.Clone(before)
	for i := range entries {
		// csaupgrade knows tools that update; those that apply on the server's side leave entries of another operation.
		if slices.Contains(formerManagers, entries[i].Manager) && entries[i].Subresource == "" {
			entries[i].Operation = metav1.ManagedFieldsOperationUpdate
		}
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetManagedFields(entries)
	// In a fixed order: each manager's fields are added to those of the ones before.
	for _, manager := range formerManagers {
		if err := csaupgrade.UpgradeManagedFields(object, sets.New(manager), FieldManager); err != nil {
			return nil, fmt.Errorf("taking over the fields of %s: %w", manager, err)
		}
	}
	after := object.GetManagedFields()
	if slices.EqualFunc(before, after, func(a, b metav1.ManagedFieldsEntry) bool {
		return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource
	}) {
		return nil, nil
	}
	return json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": after},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
	})
}
