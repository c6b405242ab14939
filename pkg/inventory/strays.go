package inventory

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// IsStray reports whether a person copied or made an object with a target's label, in a place where the target's objects
// are. An object that a controller made has the labels of the object for which it was made.
func IsStray(obj *unstructured.Unstructured, namespaces []string) bool {
	return !madeByController(obj) && (obj.GetNamespace() == "" || slices.Contains(namespaces, obj.GetNamespace()))
}

// madeByController reports whether a controller made an object for another one: it has an owner, or only Kubernetes' own
// controllers wrote it, as with Endpoints, which have no owner.
func madeByController(obj *unstructured.Unstructured) bool {
	entries := obj.GetManagedFields()
	return len(obj.GetOwnerReferences()) > 0 || len(entries) > 0 && !slices.ContainsFunc(entries, func(entry metav1.ManagedFieldsEntry) bool {
		return !slices.Contains(manifest.QuietManagers, entry.Manager)
	})
}

// lookByName asks for the objects of the inventory that the label did not find and that are not known to have ended. An
// object that lost its label is still a member, unless another ApplySet has it, or the object says that it outlives its
// place in git.
func lookByName(ctx context.Context, c *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync, set manifest.Set, out *Found) error {
	if record == nil {
		return nil
	}
	inSet := map[manifest.Key]bool{}
	for _, obj := range set {
		id := manifest.IDOf(obj)
		inSet[id.Key()] = true
		if id.Namespace == "" {
			id.Namespace = manifest.DefaultNamespace
			inSet[id.Key()] = true
		}
	}
	var wanted []manifest.ID
	for _, entry := range record.Status.Inventory {
		if id := entry.ID(); out.Members[id.Key()] == nil && !entry.MayBeGone() && out.Unread.Of(id.Key()) == nil {
			wanted = append(wanted, id)
		}
	}
	lives := make([]*unstructured.Unstructured, len(wanted)) // each worker owns one slot
	refused := make([]error, len(wanted))
	g, gctx := panics.WithContext(ctx)
	g.SetLimit(cluster.FanOut)
	for i, id := range wanted {
		g.Go(func() (err error) {
			if lives[i], err = get(gctx, c, id); err != nil {
				err = fmt.Errorf("looking for %s of %s: %w", id, target, answer.AdviseRight(err))
			}
			if answer.IsOfObject(err) {
				refused[i], err = err, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, own := v1alpha1.MemberLabel(c.Namespace(), target)
	for i, live := range lives {
		key := wanted[i].Key()
		switch {
		case refused[i] != nil:
			out.Unread.addObject(key, refused[i])
		case live == nil:
			out.Absent[key] = true
		case live.GetLabels()[v1alpha1.LabelMember] == "" && (inSet[key] || !Keeps(live)),
			live.GetLabels()[v1alpha1.LabelMember] == own: // it is newer than the list
			out.Members[key] = live
		}
	}
	return nil
}

// get reads an object in the given version where the server serves it, and else in the version that the API server
// prefers; nil where the object, or its kind, does not exist.
func get(ctx context.Context, c *cluster.Cluster, id manifest.ID) (*unstructured.Unstructured, error) {
	live, err := c.Get(ctx, id)
	if kind := id.GroupVersionKind(); meta.IsNoMatchError(err) && kind.Version != "" {
		id.APIVersion = schema.GroupVersion{Group: kind.Group}.String()
		live, err = c.Get(ctx, id)
	}
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	return live, err
}

// labelPath is the path of the member label of an object.
var labelPath = manifest.Path{{Name: "metadata"}, {Name: "labels"}, {Name: v1alpha1.LabelMember}}

// WriterOf is the manager that put a target's label on an object, or else wrote the object last; zero: not known.
func WriterOf(live *unstructured.Unstructured) manifest.Manager {
	if by, ok := manifest.ManagerOf(live, labelPath, manifest.FieldManager); ok {
		return by
	}
	var last manifest.Manager
	for _, entry := range live.GetManagedFields() {
		quiet := entry.Manager == manifest.FieldManager || entry.Subresource != "" || slices.Contains(manifest.QuietManagers, entry.Manager)
		if quiet || entry.Time == nil || entry.Time.Time.Before(last.Time) {
			continue
		}
		last = manifest.Manager{Name: entry.Manager, Operation: string(entry.Operation), Time: entry.Time.Time}
	}
	return last
}
