package apply

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// claim decides whether a target may take a live object that is not at rest. It refuses an object of another ApplySet. It
// allows an object that another tool manages only where git says so. The plan shows an adopted object as the takeover will
// leave it.
func (p *planner) claim(ctx context.Context, s *step, live *unstructured.Unstructured) error {
	target := p.plan.request.Target
	if p.handsOver(s.change.ID, live) {
		return nil
	}
	if err := p.refuseForeign(ctx, s.change.ID, live); err != nil {
		return err
	}
	_, recorded := p.recorded[s.change.ID.Key()]
	if live == nil || recorded || inventory.IsMember(p.cluster, target, live) || inventory.IsDisabled(live) || live.GetDeletionTimestamp() != nil {
		return nil
	}
	tool := managedBy(live)
	if tool == nil {
		return nil
	}
	// The objects of `syncer install` belong to syncer, also where kubectl applied them before. They have no target.
	if s.rendered.GetAnnotations()[v1alpha1.AnnotationAdopt] != v1alpha1.Enabled && target != (v1alpha1.Target{}) {
		return &AdoptionError{ID: s.change.ID, Target: target, Tool: tool.Tool, Owner: tool.Owner}
	}
	taken, err := takenOver(live)
	if err != nil {
		return fmt.Errorf("%s: %w", s.change.ID, err)
	}
	s.adopts, s.change.Live = live, taken
	return nil
}

// refuseForeign returns an error for a live object of another ApplySet, unless that ApplySet hands the object over.
func (p *planner) refuseForeign(ctx context.Context, id manifest.ID, live *unstructured.Unstructured) error {
	if p.handsOver(id, live) {
		return nil
	}
	return refuseForeign(ctx, p.cluster, p.plan.request.Target, live)
}

// predecessor stands for all former managers of an object while their fields are merged.
const predecessor = "syncer-predecessor"

// gathered returns an object with one entry of managed fields for all fields of its former managers and of syncer. This is
// needed because csaupgrade merges entries of one version only, and ignores entries of server-side apply.
func gathered(live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	all := traces(live) // includes fields without a manager, for example after the managed fields were cleared
	entry := metav1.ManagedFieldsEntry{
		Manager: predecessor, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: live.GetAPIVersion(),
	}
	var rest []metav1.ManagedFieldsEntry
	for _, other := range live.GetManagedFields() {
		fields := share(live, other)
		all = all.Union(fields)
		if !fields.Empty() && entry.Time.Before(other.Time) {
			entry.Time = other.Time
		}
		if isOwn(other) || isTool(live, other) {
			continue
		}
		if !fields.Empty() {
			var err error
			if other, err = withFields(other, fieldsOf(other).Difference(fields)); err != nil {
				return nil, err
			}
		}
		if !fieldsOf(other).Empty() {
			rest = append(rest, other)
		}
	}
	entry, err := withFields(entry, all)
	if err != nil {
		return nil, err
	}
	out := live.DeepCopy()
	out.SetManagedFields(append([]metav1.ManagedFieldsEntry{entry}, rest...))
	return out, nil
}

// takenOver returns an object as the takeover leaves it: syncer owns the fields of its former managers, and nothing else
// differs.
func takenOver(live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	out, err := gathered(live)
	if err != nil {
		return nil, err
	}
	return out, csaupgrade.UpgradeManagedFields(out, sets.New(predecessor), manifest.FieldManager)
}

// adopt takes an object over. One patch of exactly the known state gives syncer the fields of the former managers; then
// adopt applies the object. This apply removes the fields that git does not set, because their only owner no longer sets
// them. An interruption between the two writes leaves an object with fields of syncer and without its label. The next pass
// applies it like any other object.
func (a *application) adopt(ctx context.Context, id manifest.ID, s *step) (*unstructured.Unstructured, error) {
	live := s.adopts
	s.adopts = nil
	for range changedTries {
		tool := managedBy(live)
		if tool == nil {
			return a.again(ctx, id, s)
		}
		err := a.upgrade(ctx, live)
		if err == nil {
			return a.again(ctx, id, s)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return nil, answer.Explain(live, id, "taking it over from "+tool.Tool, err)
		}
		if live, err = a.cluster.Get(ctx, id); err != nil {
			return nil, answer.Explain(s.rendered, id, "reading", err)
		}
		if live == nil {
			return a.again(ctx, id, s)
		}
		if err := refuseForeign(ctx, a.cluster, a.plan.request.Target, live); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: it changes faster than it can be taken over; syncer tries again at the next pass", id)
}

// upgrade gives syncer the fields of an object's former managers. A conflict means that the object has changed.
func (a *application) upgrade(ctx context.Context, live *unstructured.Unstructured) error {
	obj, err := gathered(live)
	if err != nil {
		return err
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(obj, sets.New(predecessor), manifest.FieldManager)
	if err != nil {
		return err
	}
	_, err = a.cluster.Patch(ctx, manifest.IDOf(live), patch)
	return err
}

// adopted returns the result of a dry run as it will be after the takeover: without the fields that only the former managers
// own. The API server cannot try this directly. A field with a default gets it again. adopted asks the API server for it,
// because managers that wrote with Update own the defaults as well.
func (p *planner) adopted(ctx context.Context, s *step, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := s.change.Live
	if managedBy(live) != nil { // the object was read again, because another process wrote it
		taken, err := takenOver(live)
		if err != nil {
			return nil, err
		}
		s.adopts, s.change.Live = live, taken
		live = taken
	}
	had, keep := &fieldpath.Set{}, ownFields(want)
	for _, entry := range live.GetManagedFields() {
		if fields := fieldsOf(entry); isOwn(entry) {
			had = fields
		} else {
			keep = keep.Union(fields)
		}
	}
	var object any = want.Object
	had.Difference(keep).Iterate(func(path fieldpath.Path) {
		if !touches(keep, path) {
			object = without(object, path)
		}
	})
	fields, ok := object.(map[string]any)
	if !ok {
		return want, nil
	}
	less := (&unstructured.Unstructured{Object: fields}).DeepCopy()
	less.SetManagedFields(live.GetManagedFields())
	less.SetResourceVersion(live.GetResourceVersion())
	patch, err := difference(live, less)
	if err != nil {
		return nil, err
	}
	tried, err := p.cluster.TryPatch(ctx, manifest.IDOf(live), patch)
	if err != nil {
		return nil, err
	}
	tried.SetManagedFields(want.GetManagedFields())
	return tried, nil
}

// ownFields returns the fields that syncer applies.
func ownFields(obj *unstructured.Unstructured) *fieldpath.Set {
	for _, entry := range obj.GetManagedFields() {
		if isOwn(entry) {
			return fieldsOf(entry)
		}
	}
	return &fieldpath.Set{}
}

// difference returns the merge patch that turns one object into another.
func difference(from, to *unstructured.Unstructured) ([]byte, error) {
	before, err := json.Marshal(from.Object)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(to.Object)
	if err != nil {
		return nil, err
	}
	return jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, before)
}
