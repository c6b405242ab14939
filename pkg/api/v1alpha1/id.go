package v1alpha1

import "github.com/syncerdev/syncer/pkg/manifest"

// ID names the object of an inventory entry.
func (e InventoryEntry) ID() manifest.ID {
	return manifest.ID{APIVersion: e.APIVersion, Kind: e.Kind, Namespace: e.Namespace, Name: e.Name}
}

// ID names the object of a reference.
func (r ObjectReference) ID() manifest.ID {
	return manifest.ID{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// ReferenceTo returns the reference that names an object.
func ReferenceTo(id manifest.ID) ObjectReference {
	return ObjectReference{APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}
