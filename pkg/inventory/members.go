// package inventory compares a target in the cluster with its record: the live members, strays, unreadable objects, the
// hash state of each object, and the end of objects that are gone. It only reads.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// Members are the live objects of a target.
type Members map[manifest.Key]*unstructured.Unstructured

// Find lists a target's live objects by label, one request for each kind and namespace that its record names. It asks by
// name for the objects of the inventory that the label does not find. Deleted objects that wait for a finalizer are
// among the members. An object that has the label, that syncer never applied and that the inventory does not have is not
// a member: people copy objects with their labels, and the endpoints controller copies those of a Service.
func Find(ctx context.Context, c *cluster.Cluster, target v1alpha1.Target, record *v1alpha1.PipelineSync) (Members, error) {
	return FindShown(ctx, c, nil, target, record)
}

// FindShown is Find for objects that watches or a list show; shown may be nil.
func FindShown(ctx context.Context, c *cluster.Cluster, shown Shown, target v1alpha1.Target, record *v1alpha1.PipelineSync) (Members, error) {
	found, err := Look(ctx, c, shown, target, record, nil)
	if err != nil {
		return nil, err
	}
	return found.whole(target)
}

// MembersOf lists a target's live objects of the kinds and namespaces of a set, where no record names them.
func MembersOf(ctx context.Context, c *cluster.Cluster, target v1alpha1.Target, set manifest.Set) (manifest.Set, error) {
	found, err := Look(ctx, c, nil, target, nil, set)
	if err != nil {
		return nil, err
	}
	members, err := found.whole(target)
	var out manifest.Set
	for _, obj := range members {
		out = append(out, obj)
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return manifest.IDOf(a).Compare(manifest.IDOf(b)) })
	return out, err
}

// Wrote reports whether a field of an object of a set is as syncer applied it.
func Wrote(set manifest.Set, id manifest.ID, at string) bool {
	path, err := manifest.ParsePath(at)
	return err == nil && slices.ContainsFunc(set, func(obj *unstructured.Unstructured) bool {
		return manifest.IDOf(obj).Key() == id.Key() && manifest.Owns(obj, path, manifest.FieldManager)
	})
}

// Found is the result of Look.
type Found struct {
	Members Members
	Strays  Members // objects with the target's label that are not members
	Absent  map[manifest.Key]bool
	Unread  Unread
}

// whole returns the members that were found, or an error where syncer could not read all objects.
func (f Found) whole(target v1alpha1.Target) (Members, error) {
	var errs []error
	for _, of := range []map[manifest.Key]error{f.Unread.places, f.Unread.single} {
		for _, err := range of {
			errs = append(errs, fmt.Errorf("looking for the objects of %s: %w", target, err))
		}
	}
	if err := answer.Join(errs); err != nil {
		return nil, err
	}
	return f.Members, nil
}

// Shown has the live objects of targets as watches show them. *watch.Watches is one.
type Shown interface {
	// Members returns the objects of a kind with the label of a target; an empty namespace stands for all. It reports false
	// if the watches do not show them now: the API server has to be asked.
	Members(c *cluster.Cluster, target v1alpha1.Target, kind schema.GroupVersionKind, namespace string) ([]unstructured.Unstructured, bool)
}

// Look finds a target's objects. Unread has the objects that cannot be read for a reason of their own or of their kind. Look
// asks the API server for the objects that watches do not show; shown may be nil.
func Look(ctx context.Context, c *cluster.Cluster, shown Shown, target v1alpha1.Target, record *v1alpha1.PipelineSync, set manifest.Set) (Found, error) {
	out := Found{Members: Members{}, Strays: Members{}, Absent: map[manifest.Key]bool{}}
	ids := set.IDs()
	namespaces := Namespaces(c.Namespace(), record, ids)
	places, err := places(c, Kinds(record, ids), namespaces, &out.Unread)
	if err != nil {
		return Found{}, fmt.Errorf("looking for the objects of %s: %w", target, err)
	}
	_, id := v1alpha1.MemberLabel(c.Namespace(), target)
	lists := make([][]unstructured.Unstructured, len(places)) // each worker owns one slot
	refused := make([]error, len(places))
	g, gctx := panics.WithContext(ctx)
	g.SetLimit(cluster.FanOut)
	for i, at := range places {
		if shown != nil {
			if objects, ok := shown.Members(c, target, at.kind, at.namespace); ok {
				lists[i] = objects
				continue
			}
		}
		g.Go(func() (err error) {
			if lists[i], err = c.List(gctx, at.kind, at.namespace, metav1.ListOptions{LabelSelector: v1alpha1.LabelMember + "=" + id}); err != nil {
				err = fmt.Errorf("listing the %s objects of %s: %w", at.kind.Kind, target, err)
			}
			if err = reasonFor(gctx, c, at, record, err); answer.IsOfObject(err) {
				refused[i], err = err, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Found{}, err
	}
	for i, err := range refused {
		if err != nil {
			out.Unread.addPlace(places[i], err)
		}
	}
	recorded := ByKey(record)
	for _, list := range lists {
		for i := range list {
			obj := &list[i]
			key := manifest.IDOf(obj).Key()
			switch _, known := recorded[key]; {
			case known || manifest.OwnedFields(obj, manifest.FieldManager) != "":
				out.Members[key] = obj
			case IsStray(obj, namespaces):
				out.Strays[key] = obj
			}
		}
	}
	return out, lookByName(ctx, c, target, record, set, &out)
}

// place is one kind in one namespace; an empty namespace is the whole cluster.
type place struct {
	kind      schema.GroupVersionKind
	namespace string
}

// places needs no rights beyond the namespaces of a target. If syncer acts as itself and there are several namespaces,
// one request for all is cheaper.
//
// If the API server does not say how a kind is served, the kind goes to hidden.
func places(c *cluster.Cluster, kinds []schema.GroupVersionKind, namespaces []string, hidden *Unread) ([]place, error) {
	var out []place
	for _, kind := range kinds {
		namespaced, err := IsNamespaced(c, kind)
		switch {
		case meta.IsNoMatchError(err):
			continue // the objects of a kind that is gone are gone as well
		case err != nil && answer.IsOfObject(err):
			hidden.addPlace(place{kind: kind}, err)
		case err != nil:
			return nil, err
		case !namespaced || len(namespaces) > 1 && c.Account() == "":
			out = append(out, place{kind: kind})
		default:
			for _, namespace := range namespaces {
				out = append(out, place{kind, namespace})
			}
		}
	}
	return out, nil
}

// IsNamespaced reports whether the objects of a kind have a namespace, in any version that the cluster serves.
func IsNamespaced(c *cluster.Cluster, kind schema.GroupVersionKind) (bool, error) {
	mapping, err := c.AnyMapping(kind)
	if err != nil {
		return false, err
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// Namespaces are the namespaces that a target's objects may be in: those of its set, of its inventory, and those that
// its record promised before it applied them.
func Namespaces(own string, record *v1alpha1.PipelineSync, set []manifest.ID) []string {
	names := map[string]bool{}
	if record != nil {
		for name := range strings.SplitSeq(record.Annotations[v1alpha1.AnnotationNamespaces], ",") {
			names[name] = true
		}
		for _, entry := range record.Status.Inventory {
			names[entry.Namespace] = true
		}
	}
	for _, id := range set {
		names[cmp.Or(id.Namespace, manifest.DefaultNamespace)] = true
	}
	delete(names, "")
	if len(names) == 0 {
		names[own] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Kinds are the kinds that a target's objects may have: those of its set, of its inventory, and those that its record
// promised before it applied them. Syncer reads each kind best in the version that git writes.
func Kinds(record *v1alpha1.PipelineSync, set []manifest.ID) []schema.GroupVersionKind {
	versions := map[schema.GroupKind]string{}
	if record != nil {
		for _, kind := range v1alpha1.ParseKinds(record.Annotations[v1alpha1.AnnotationKinds]) {
			versions[kind] = ""
		}
		for _, entry := range record.Status.Inventory {
			gvk := entry.ID().GroupVersionKind()
			versions[gvk.GroupKind()] = gvk.Version
		}
	}
	for _, id := range set {
		gvk := id.GroupVersionKind()
		versions[gvk.GroupKind()] = gvk.Version
	}
	kinds := make([]schema.GroupVersionKind, 0, len(versions))
	for kind, version := range versions {
		kinds = append(kinds, kind.WithVersion(version))
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind))
	})
	return kinds
}

// Live lists the live objects of an inventory whose record must not be read again yet.
func Live(ctx context.Context, c *cluster.Cluster, target v1alpha1.Target, inventory []v1alpha1.InventoryEntry) (Members, error) {
	return Find(ctx, c, target, &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: inventory}})
}

// Touched names the live objects of an inventory that changed since syncer applied them, or whose last apply is not
// confirmed, by their live state alone. Without the key of their hashes, Secrets count as changed.
func Touched(ctx context.Context, c *cluster.Cluster, entries []v1alpha1.InventoryEntry, live Members) []string {
	key, err := KeyFor(ctx, c, slices.Collect(maps.Values(live)), false)
	if err != nil {
		key = nil
	}
	var out []string
	for _, entry := range entries {
		id := entry.ID()
		if obj := live[id.Key()]; obj != nil && !Untouched(obj, entry, key) {
			out = append(out, id.String())
		}
	}
	return out
}

// IsApplied reports whether a record's inventory equals a set: the same objects, each applied in this form, and each
// confirmed.
func IsApplied(ctx context.Context, c *cluster.Cluster, record *v1alpha1.PipelineSync, set manifest.Set) (bool, error) {
	key, err := KeyFor(ctx, c, set, false)
	if err != nil || len(set) != len(record.Status.Inventory) {
		return false, err
	}
	hashes := map[string]bool{}
	for _, entry := range record.Status.Inventory {
		if entry.Unconfirmed {
			return false, nil
		}
		hashes[entry.Hash] = true
	}
	for _, obj := range set {
		hash, err := manifest.Hash(obj, key)
		if err != nil || !hashes[hash] {
			return false, err
		}
	}
	return true, nil
}
