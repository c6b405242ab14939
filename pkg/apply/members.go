package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Members are the live objects that carry a target's member label.
type Members map[manifest.Key]*unstructured.Unstructured

// Members lists a target's live objects by label, one request for each kind that its record names. Deleted ones that
// wait for a finalizer are among them. An object that carries the label and was never applied by syncer is not a
// member: people copy objects with their labels, and the endpoints controller copies those of a Service.
func (c *Cluster) Members(ctx context.Context, target Target, record *v1alpha1.PipelineSync) (Members, error) {
	return c.members(ctx, target, memberKinds(record, nil))
}

func (c *Cluster) members(ctx context.Context, target Target, kinds []schema.GroupVersionKind) (Members, error) {
	lists := make([][]unstructured.Unstructured, len(kinds)) // each worker owns one slot
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fanOut)
	for i, kind := range kinds {
		g.Go(func() (err error) {
			if lists[i], err = c.membersOf(gctx, target, kind); err != nil {
				return fmt.Errorf("listing the %s objects of %s: %w", kind.Kind, target, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	members := Members{}
	for _, list := range lists {
		for i := range list {
			if obj := &list[i]; manifest.OwnedFields(obj, FieldManager) != "" {
				members[manifest.IDOf(obj).Key()] = obj
			}
		}
	}
	return members, nil
}

// membersOf lists the members of one kind, in the given version where that is served. A kind that is gone took its
// objects with it.
func (c *Cluster) membersOf(ctx context.Context, target Target, kind schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	_, id := MemberLabel(c.namespace, target)
	for range 2 {
		mapping, err := c.kinds.resource(kind)
		if meta.IsNoMatchError(err) && kind.Version != "" {
			kind.Version = ""
			mapping, err = c.kinds.resource(kind)
		}
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		list, err := request(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return c.client.Resource(mapping.Resource).List(ctx, metav1.ListOptions{LabelSelector: labelMember + "=" + id})
		})
		if err == nil {
			return list.Items, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, rights(err)
		}
		c.kinds.forget() // it was served when this client last asked
	}
	return nil, nil
}

// memberKinds are the kinds that a target's objects may have: those of its set, of its inventory, and those that its
// record promised before it applied them. Each is best read in the version that git writes.
func memberKinds(record *v1alpha1.PipelineSync, set manifest.Set) []schema.GroupVersionKind {
	versions := map[schema.GroupKind]string{}
	if record != nil {
		for _, kind := range parseKinds(record.Annotations[annotationKinds]) {
			versions[kind] = ""
		}
		for _, entry := range record.Status.Inventory {
			gvk := entryID(entry).GroupVersionKind()
			versions[gvk.GroupKind()] = gvk.Version
		}
	}
	for _, obj := range set {
		gvk := manifest.IDOf(obj).GroupVersionKind()
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

// Live lists the live objects of an inventory whose record may not be read again yet.
func (c *Cluster) Live(ctx context.Context, target Target, inventory []v1alpha1.InventoryEntry) (Members, error) {
	return c.Members(ctx, target, &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: inventory}})
}

// Touched names the live objects of an inventory of which another manager took fields, from a look at their live state
// alone.
func Touched(entries []v1alpha1.InventoryEntry, live Members) []string {
	var out []string
	for _, entry := range entries {
		id := entryID(entry)
		if obj := live[id.Key()]; obj != nil && !untouched(obj, entry) {
			out = append(out, id.String())
		}
	}
	return out
}

// Applied reports whether a record's inventory is just what a set says: the same objects, each applied in this form.
func (c *Cluster) Applied(ctx context.Context, record *v1alpha1.PipelineSync, set manifest.Set) (bool, error) {
	key, err := c.keyFor(ctx, set, false)
	if err != nil || len(set) != len(record.Status.Inventory) {
		return false, err
	}
	hashes := map[string]bool{}
	for _, entry := range record.Status.Inventory {
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

// refuseForeign returns an error for a live object that belongs to another ApplySet.
func (c *Cluster) refuseForeign(ctx context.Context, target Target, live *unstructured.Unstructured) error {
	if live == nil {
		return nil
	}
	_, own := MemberLabel(c.namespace, target)
	other := live.GetLabels()[labelMember]
	if other == "" || other == own {
		return nil
	}
	owner, namespace := c.parentOf(ctx, other)
	return &OwnedError{ID: manifest.IDOf(live), Target: target, Owner: owner, Namespace: namespace}
}

// parentOf names the parent of an ApplySet for a person, and the namespace of its record; the ID itself where no record
// has it. A syncer may be allowed to read the records of its own namespace only.
func (c *Cluster) parentOf(ctx context.Context, id string) (owner, namespace string) {
	owner = "the ApplySet " + id
	mapping, err := c.kinds.resource(recordKind)
	if err != nil {
		return owner, ""
	}
	for _, where := range []string{c.namespace, metav1.NamespaceAll} {
		list, err := c.client.Resource(mapping.Resource).Namespace(where).List(ctx, metav1.ListOptions{LabelSelector: labelParent + "=" + id})
		if err != nil || len(list.Items) != 1 {
			continue
		}
		if record, err := decodeRecord(&list.Items[0]); err == nil {
			return Target{record.Spec.Pipeline, record.Spec.Environment}.String(), record.Namespace
		}
	}
	return owner, ""
}
