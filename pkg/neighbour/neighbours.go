// Package neighbour knows what the targets of one commit name and provide in a cluster, for those that judge one of them. It is
// pure: it holds what others have read and rendered.
package neighbour

import (
	"cmp"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// All are the targets of one commit in one cluster. An object that moves from one
// target to another is handed over. It is not deleted and created anew. All is not changed, and safe for
// concurrent use.
type All struct {
	// Named has the target whose set names an object. An object without a namespace stands under the namespace `default`.
	Named map[manifest.Key]v1alpha1.Target
	// Sets are the targets by the IDs of their ApplySets.
	Sets map[string]v1alpha1.Target
	// Unknown are the targets whose new sets are not known.
	Unknown []Unknown
	// Unrendered are the targets whose sets are rendered when they are needed.
	Unrendered []Unrendered
}

// Unknown is a target whose set at the commit is not known, such as one that does not render.
type Unknown struct {
	Target v1alpha1.Target
	// MayName says why the target may have an object at the commit, as a clause; "" if it does not have it.
	MayName func(manifest.ID) string
}

// Unrendered is a target whose set at the commit is not known yet.
type Unrendered struct {
	Target v1alpha1.Target
	Set    string // the ID of its ApplySet
	// MayName reports whether the files of the target may name an object.
	MayName func(manifest.ID) bool
	// Render returns what the target names; false: it does not render.
	Render func() ([]manifest.ID, bool)
}

// NamedBy returns the target that names an object at the commit.
func (n All) NamedBy(id manifest.ID) (v1alpha1.Target, bool) {
	if target, named := n.Named[Place(id)]; named {
		return target, true
	}
	for _, u := range n.Unrendered {
		if !u.MayName(id) {
			continue
		}
		ids, _ := u.Render()
		if slices.ContainsFunc(ids, func(other manifest.ID) bool { return Place(other) == Place(id) }) {
			return u.Target, true
		}
	}
	return v1alpha1.Target{}, false
}

// Settled reports whether it is known what the target of an ApplySet names at the commit.
func (n All) Settled(set string) bool {
	for _, u := range n.Unrendered {
		if u.Set == set {
			_, known := u.Render()
			return known
		}
	}
	target, known := n.Sets[set]
	return known && !slices.ContainsFunc(n.Unknown, func(u Unknown) bool { return u.Target == target })
}

// Doubt says why an object that leaves a target may have moved to one whose set is not known; "": it did not.
func (n All) Doubt(leaves v1alpha1.Target, id manifest.ID) string {
	for _, u := range n.Unknown {
		if u.Target == leaves {
			continue
		}
		if why := u.MayName(id); why != "" {
			return why
		}
	}
	return ""
}

// Place is the key of an object. Git names no namespace for one of the whole cluster, nor for one of the namespace `default`,
// where its kind is not known here.
func Place(id manifest.ID) manifest.Key {
	id.Namespace = cmp.Or(id.Namespace, manifest.DefaultNamespace)
	return id.Key()
}
