package plan

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// definesKind holds the prune of a CRD whose objects have to stay: they would be deleted with it.
func definesKind(ctx context.Context, w *waiting, s *Step) (Verdict, error) {
	return keepContents(ctx, w, s, manifest.CRDKind, w.otherObject)
}

// containsObjects holds the prune of a namespace with objects that have to stay: they would be deleted with it.
func containsObjects(ctx context.Context, w *waiting, s *Step) (Verdict, error) {
	return keepContents(ctx, w, s, manifest.NamespaceKind, w.otherContent)
}

// keepContents holds the prune of an object of a kind whose deletion deletes other objects too. other finds such an object
// that is not part of the target; the zero ID: there is none.
func keepContents(ctx context.Context, w *waiting, s *Step, kind schema.GroupKind, other func(context.Context, *unstructured.Unstructured) (manifest.ID, error)) (Verdict, error) {
	if s.Change.Action != manifest.Prune || s.Change.ID.GroupKind() != kind {
		return Verdict{}, nil
	}
	content := w.ownContent(s.Change.Live)
	if content == (manifest.ID{}) {
		var err error
		content, err = other(ctx, s.Change.Live)
		if verdict, is := cannotSee(err); is {
			return verdict, nil
		}
		if err != nil {
			return Verdict{}, err
		}
	}
	if content == (manifest.ID{}) {
		return Verdict{}, nil
	}
	return held(manifest.HeldInUse, fmt.Sprintf("%s would go with it", content), content), nil
}

// ownContent finds an object of the target that would be deleted with a namespace or a CRD, and that the plan does not
// delete.
func (w *waiting) ownContent(of *unstructured.Unstructured) manifest.ID {
	for _, s := range w.plan.steps {
		isLeaving := s.IsPrune() && s.Change.Live.GetDeletionTimestamp() != nil
		if s.Change.Action != manifest.Prune && isWithin(s.Change.ID, of) && !isLeaving {
			return s.Change.ID
		}
	}
	return manifest.ID{}
}

// otherContent finds an object of another record's inventory, or a volume claim, in a namespace.
func (w *waiting) otherContent(ctx context.Context, namespace *unstructured.Unstructured) (manifest.ID, error) {
	c := w.plan.comparer
	records, err := c.cluster.Records().LatestList(ctx)
	if err != nil {
		return manifest.ID{}, err
	}
	for _, record := range records {
		if record.Name == c.request.Target.RecordName() {
			continue
		}
		for _, entry := range record.Status.Inventory {
			if entry.Namespace == namespace.GetName() {
				return entry.ID(), nil
			}
		}
	}
	claims, err := c.cluster.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, namespace.GetName(), metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking what %s holds: %w", manifest.IDOf(namespace), err)
	}
	return w.firstOther(claims), nil
}

// otherObject finds an object of the kind that a CRD defines.
func (w *waiting) otherObject(ctx context.Context, crd *unstructured.Unstructured) (manifest.ID, error) {
	var gvk schema.GroupVersionKind
	gvk.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
	gvk.Kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
	objects, err := w.plan.comparer.cluster.List(ctx, gvk, metav1.NamespaceAll, metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking for objects of %s: %w", manifest.IDOf(crd), err)
	}
	return w.firstOther(objects), nil
}

// firstOther returns the first object that is not a member of the target.
func (w *waiting) firstOther(objects []unstructured.Unstructured) manifest.ID {
	for i := range objects {
		if _, own := w.plan.Members[manifest.IDOf(&objects[i]).Key()]; !own {
			return manifest.IDOf(&objects[i])
		}
	}
	return manifest.ID{}
}

// isWithin reports whether an object is deleted together with a namespace or a CRD.
func isWithin(id manifest.ID, of *unstructured.Unstructured) bool {
	if manifest.IDOf(of).GroupKind() == manifest.NamespaceKind {
		return id.Namespace == of.GetName()
	}
	group, _, _ := unstructured.NestedString(of.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(of.Object, "spec", "names", "kind")
	return id.GroupKind() == schema.GroupKind{Group: group, Kind: kind}
}
