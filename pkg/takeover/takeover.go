package takeover

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/syncerdev/syncer/pkg/manifest"
)

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

// TakenOver returns an object as the takeover leaves it: syncer owns the fields of its former managers, and nothing else
// differs.
func TakenOver(live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	out, err := gathered(live)
	if err != nil {
		return nil, err
	}
	return out, csaupgrade.UpgradeManagedFields(out, sets.New(predecessor), manifest.FieldManager)
}

// OwnFields returns the fields that syncer applies.
func OwnFields(obj *unstructured.Unstructured) *fieldpath.Set {
	for _, entry := range obj.GetManagedFields() {
		if isOwn(entry) {
			return fieldsOf(entry)
		}
	}
	return &fieldpath.Set{}
}

// Difference returns the merge patch that turns one object into another.
func Difference(from, to *unstructured.Unstructured) ([]byte, error) {
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

// Patch returns the JSON patch that gives syncer the fields of an object's former managers. The API server refuses it as a
// conflict if the object has changed.
func Patch(live *unstructured.Unstructured) ([]byte, error) {
	obj, err := gathered(live)
	if err != nil {
		return nil, err
	}
	return csaupgrade.UpgradeManagedFieldsPatch(obj, sets.New(predecessor), manifest.FieldManager)
}

// Released returns the merge patch that removes from an object, as TakenOver returned it, the fields that only the former
// managers own. want is the object as an apply would leave it before that.
func Released(live, want *unstructured.Unstructured) ([]byte, error) {
	had, keep := &fieldpath.Set{}, OwnFields(want)
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
	fields, _ := object.(map[string]any) // without returns a map for a map
	less := (&unstructured.Unstructured{Object: fields}).DeepCopy()
	less.SetManagedFields(live.GetManagedFields())
	less.SetResourceVersion(live.GetResourceVersion())
	return Difference(live, less)
}

// SoleOwner returns the JSON patch that takes the fields of syncer from the managers that created an object anew, and from
// placeholder managers. It returns nil if syncer is the only owner already.
func SoleOwner(live *unstructured.Unstructured) ([]byte, error) {
	own := OwnFields(live)
	var entries []metav1.ManagedFieldsEntry
	changed := false
	for _, entry := range live.GetManagedFields() {
		fields := fieldsOf(entry)
		maker := entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == "" && !slices.Contains(manifest.QuietManagers, entry.Manager)
		if rest := fields.Difference(own); maker && !rest.Equals(fields) {
			var err error
			if entry, err = withFields(entry, rest); err != nil {
				return nil, err
			}
			fields, changed = rest, true
		}
		if !fields.Empty() || entry.Manager == manifest.FieldManager {
			entries = append(entries, entry)
		}
	}
	if !changed {
		return nil, nil
	}
	return json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
	})
}
