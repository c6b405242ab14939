package takeover

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Tools that deploy objects and leave traces on them.
const (
	toolKubectl = "kubectl apply"
	toolHelm    = "Helm"
	toolFlux    = "Flux"
	toolArgo    = "Argo CD"
)

// Traces that the tools leave.
const (
	annotationLastApplied   = "kubectl.kubernetes.io/last-applied-configuration"
	annotationHelmRelease   = "meta.helm.sh/release-name"
	annotationHelmNamespace = "meta.helm.sh/release-namespace"
	annotationArgoTracking  = "argocd.argoproj.io/tracking-id"
	annotationArgoInstall   = "argocd.argoproj.io/installation-id"
	labelManagedBy          = "app.kubernetes.io/managed-by"
	labelInstance           = "app.kubernetes.io/instance"
	labelArgoInstance       = "argocd.argoproj.io/instance"
	labelFluxKustomization  = "kustomize.toolkit.fluxcd.io/"
	labelFluxRelease        = "helm.toolkit.fluxcd.io/"
)

var (
	traceAnnotations = []string{annotationLastApplied, annotationHelmRelease, annotationHelmNamespace, annotationArgoTracking, annotationArgoInstall}
	traceLabels      = []string{
		labelArgoInstance, labelFluxKustomization + "name", labelFluxKustomization + "namespace",
		labelFluxRelease + "name", labelFluxRelease + "namespace",
	}

	// toolManagers are the field managers that the tools use, in Update and in Apply.
	toolManagers = []string{
		clientSideApply, "kubectl-last-applied", "helm", "helm3", "helm-controller", "kustomize-controller",
		"argocd-controller", "argocd-application-controller",
	}
	// manifestManagers are the field managers of kubectl's other commands that write a whole manifest. If `kubectl apply`
	// left its annotation, it continued the work of such a command, for example after `kubectl create --save-config`.
	manifestManagers = []string{"kubectl", "kubectl-create", "kubectl-replace"}
)

const clientSideApply = "kubectl-client-side-apply"

// Former is the tool that managed an object before syncer.
type Former struct {
	Tool     string
	Owner    string   // the release, Kustomization, HelmRelease or Application; empty: the tool has none
	Managers []string // the field managers that write for the tool, sorted
}

// ManagedBy returns the tool that manages an object, judged by the object's traces. It returns nil if it finds no known
// tool. If syncer has applied fields of the object and no tool has written it since, the object is syncer's, even with
// traces of the tool. The same is true after an interrupted adoption.
func ManagedBy(live *unstructured.Unstructured) *Former {
	var managers []string
	applied := false
	for _, entry := range live.GetManagedFields() {
		if isOwn(entry) {
			applied = true
		} else if isTool(live, entry) {
			managers = append(managers, entry.Manager)
		}
	}
	slices.Sort(managers)
	managers = slices.Compact(managers)
	tool, owner := tracesOf(live, managers)
	if tool == "" || applied && len(managers) == 0 {
		return nil
	}
	return &Former{Tool: tool, Owner: owner, Managers: managers}
}

// tracesOf returns the tool and the tool's own object that an object belongs to. Some tools apply with the mechanism of
// another tool, so the order matters: Argo CD leaves the traces of kubectl too, and Flux the traces of Helm too.
func tracesOf(live *unstructured.Unstructured, managers []string) (tool, owner string) {
	labels, annotations := live.GetLabels(), live.GetAnnotations()
	argo := slices.ContainsFunc(managers, func(name string) bool { return strings.HasPrefix(name, "argocd-") })
	flux := func(kind, prefix string) string {
		return fmt.Sprintf("%s %s/%s", kind, labels[prefix+"namespace"], labels[prefix+"name"])
	}
	switch {
	case labels[labelFluxRelease+"name"] != "":
		return toolFlux, flux("HelmRelease", labelFluxRelease)
	case labels[labelFluxKustomization+"name"] != "":
		return toolFlux, flux("Kustomization", labelFluxKustomization)
	case annotations[annotationArgoTracking] != "":
		name, _, _ := strings.Cut(annotations[annotationArgoTracking], ":")
		return toolArgo, "Application " + name
	case labels[labelArgoInstance] != "":
		return toolArgo, "Application " + labels[labelArgoInstance]
	case argo && labels[labelInstance] != "":
		return toolArgo, "Application " + labels[labelInstance]
	case labels[labelManagedBy] == "Helm" && annotations[annotationHelmRelease] != "":
		return toolHelm, fmt.Sprintf("release %s/%s", annotations[annotationHelmNamespace], annotations[annotationHelmRelease])
	case annotations[annotationLastApplied] != "" || slices.Contains(managers, clientSideApply):
		return toolKubectl, ""
	}
	return "", ""
}

func isOwn(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == manifest.FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// isTool reports whether an entry belongs to a tool. A tool's entry for a subresource does not count: it is a status or a
// scale.
func isTool(live *unstructured.Unstructured, entry metav1.ManagedFieldsEntry) bool {
	switch {
	case entry.Subresource != "":
		return false
	case slices.Contains(manifestManagers, entry.Manager):
		return live.GetAnnotations()[annotationLastApplied] != ""
	}
	return slices.Contains(toolManagers, entry.Manager) || strings.HasPrefix(entry.Manager, "terraform-provider-helm")
}

// share returns the fields of an entry that a takeover takes: all fields of a tool's entry, and only the tool's traces of
// another manager's entry. The entry may use another version of the kind than the object was read in. Then share takes the
// fields that the object has under the same path.
func share(live *unstructured.Unstructured, entry metav1.ManagedFieldsEntry) *fieldpath.Set {
	if entry.Subresource != "" {
		return &fieldpath.Set{}
	}
	fields := fieldsOf(entry)
	if !isOwn(entry) && !isTool(live, entry) {
		return fields.Intersection(traces(live))
	}
	if entry.APIVersion != live.GetAPIVersion() {
		return presentIn(live.Object, fields)
	}
	return fields
}

// traces returns the fields of an object by which tools recognize it.
func traces(live *unstructured.Unstructured) *fieldpath.Set {
	out := &fieldpath.Set{}
	for _, name := range traceAnnotations {
		out.Insert(fieldpath.MakePathOrDie("metadata", "annotations", name))
	}
	for _, name := range traceLabels {
		out.Insert(fieldpath.MakePathOrDie("metadata", "labels", name))
	}
	if live.GetLabels()[labelManagedBy] == "Helm" {
		out.Insert(fieldpath.MakePathOrDie("metadata", "labels", labelManagedBy))
	}
	return presentIn(live.Object, out)
}
