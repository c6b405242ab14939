package apply

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// keepInUse holds the prunes of what is still needed: of anything while a run of the target goes on as it was, of what
// pods of batch work use, and of namespaces and kinds that hold objects of others.
func (p *planner) keepInUse(ctx context.Context) error {
	running := p.undisturbed()
	pods := map[string][]unstructured.Unstructured{} // by namespace
	for _, s := range p.plan.steps {
		if s.change.Action != manifest.Prune {
			continue
		}
		if running != (manifest.ID{}) {
			s.change.Hold(manifest.HeldInUse, fmt.Sprintf("%s runs and may need it", running), running)
			continue
		}
		var user manifest.ID
		var err error
		switch kind := s.change.ID.GroupKind(); {
		case kind == namespaceKind || kind == crdKind:
			user, err = p.tenant(ctx, s.change.Live)
		case slices.Contains(mountable, kind):
			user, err = p.batchPod(ctx, s.change.ID, pods)
		}
		if err != nil {
			return err
		}
		if user != (manifest.ID{}) {
			s.change.Hold(manifest.HeldInUse, fmt.Sprintf("%s needs it and is not part of %s", user, p.plan.request.Target), user)
		}
	}
	return nil
}

// undisturbed names a run that the plan leaves as it is although git changed it.
func (p *planner) undisturbed() manifest.ID {
	for _, s := range p.plan.steps {
		if s.skipped || s.change.Held != nil && s.change.Held.Reason == manifest.HeldRunning {
			return s.change.ID
		}
	}
	return manifest.ID{}
}

// mountable are the kinds that a pod names and cannot start, or start again, without.
var mountable = []schema.GroupKind{{Kind: "ConfigMap"}, {Kind: "Secret"}, {Kind: "ServiceAccount"}, {Kind: "PersistentVolumeClaim"}}

// batchPod finds a pod that uses an object and runs to completion. Old generations of settings have to stay until the
// run that was started with them has ended: its executors and retries are new pods. A service's old pods are on their
// way out already.
func (p *planner) batchPod(ctx context.Context, id manifest.ID, pods map[string][]unstructured.Unstructured) (manifest.ID, error) {
	list, ok := pods[id.Namespace]
	if !ok {
		found, err := p.cluster.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, id.Namespace, metav1.ListOptions{})
		// An account without the right to list pods gives no such protection, which is no reason never to prune.
		if err != nil && !apierrors.IsForbidden(err) {
			return manifest.ID{}, fmt.Errorf("looking whether a pod still uses %s: %w", id, err)
		}
		list = found
		pods[id.Namespace] = found
	}
	for i := range list {
		if runsToCompletion(&list[i]) && uses(&list[i], id) {
			return manifest.IDOf(&list[i]), nil
		}
	}
	return manifest.ID{}, nil
}

func runsToCompletion(pod *unstructured.Unstructured) bool {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	restarts, _, _ := unstructured.NestedString(pod.Object, "spec", "restartPolicy")
	return phase != "Succeeded" && phase != "Failed" && restarts != "Always" && pod.GetDeletionTimestamp() == nil
}

// references are where a pod names an object that it uses (k8s.io/api/core/v1, PodSpec).
var references = map[string][]string{
	"ConfigMap": {
		"spec.volumes[*].configMap.name", "spec.volumes[*].projected.sources[*].configMap.name",
		"spec.containers[*].env[*].valueFrom.configMapKeyRef.name", "spec.containers[*].envFrom[*].configMapRef.name",
		"spec.initContainers[*].env[*].valueFrom.configMapKeyRef.name", "spec.initContainers[*].envFrom[*].configMapRef.name",
	},
	"Secret": {
		"spec.volumes[*].secret.secretName", "spec.volumes[*].projected.sources[*].secret.name", "spec.imagePullSecrets[*].name",
		"spec.containers[*].env[*].valueFrom.secretKeyRef.name", "spec.containers[*].envFrom[*].secretRef.name",
		"spec.initContainers[*].env[*].valueFrom.secretKeyRef.name", "spec.initContainers[*].envFrom[*].secretRef.name",
	},
	"ServiceAccount":        {"spec.serviceAccountName"},
	"PersistentVolumeClaim": {"spec.volumes[*].persistentVolumeClaim.claimName"},
}

func uses(pod *unstructured.Unstructured, id manifest.ID) bool {
	return slices.ContainsFunc(references[id.Kind], func(at string) bool {
		pattern, err := manifest.ParsePath(at)
		return err == nil && slices.ContainsFunc(manifest.Find(pod.Object, pattern), func(f manifest.Field) bool { return f.Value == id.Name })
	})
}

// tenant finds an object that would go with a namespace or a kind although this target never applied it: one of another
// record's inventory, a volume claim, or an object of the kind.
func (p *planner) tenant(ctx context.Context, doomed *unstructured.Unstructured) (manifest.ID, error) {
	if manifest.IDOf(doomed).GroupKind() == crdKind {
		return p.objectOfKind(ctx, doomed)
	}
	namespace := doomed.GetName()
	records, err := p.cluster.Records(ctx)
	if err != nil {
		return manifest.ID{}, err
	}
	for _, record := range records {
		if record.Name == p.plan.request.Target.RecordName() {
			continue
		}
		for _, entry := range record.Status.Inventory {
			if entry.Namespace == namespace {
				return entryID(entry), nil
			}
		}
	}
	claims, err := p.cluster.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, namespace, metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking what %s holds: %w", manifest.IDOf(doomed), err)
	}
	return p.stranger(claims), nil
}

func (p *planner) objectOfKind(ctx context.Context, crd *unstructured.Unstructured) (manifest.ID, error) {
	var gvk schema.GroupVersionKind
	gvk.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
	gvk.Kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
	objects, err := p.cluster.list(ctx, gvk, metav1.NamespaceAll, metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking for objects of %s: %w", manifest.IDOf(crd), err)
	}
	return p.stranger(objects), nil
}

// stranger returns the first object that is not a member of the target.
func (p *planner) stranger(objects []unstructured.Unstructured) manifest.ID {
	for i := range objects {
		if _, own := p.plan.Members[manifest.IDOf(&objects[i]).Key()]; !own {
			return manifest.IDOf(&objects[i])
		}
	}
	return manifest.ID{}
}
