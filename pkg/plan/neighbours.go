package plan

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Neighbours are the targets of one commit in one cluster, including the plan's own target. An object that moves from one
// target to another is handed over. It is not deleted and created anew. Neighbours are not changed, and are safe for
// concurrent use.
type Neighbours struct {
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
func (n Neighbours) NamedBy(id manifest.ID) (v1alpha1.Target, bool) {
	if target, named := n.Named[placedKey(id)]; named {
		return target, true
	}
	for _, u := range n.Unrendered {
		if !u.MayName(id) {
			continue
		}
		ids, _ := u.Render()
		if slices.ContainsFunc(ids, func(other manifest.ID) bool { return placedKey(other) == placedKey(id) }) {
			return u.Target, true
		}
	}
	return v1alpha1.Target{}, false
}

// isSettled reports whether it is known what the target of an ApplySet names at the commit.
func (n Neighbours) isSettled(set string) bool {
	for _, u := range n.Unrendered {
		if u.Set == set {
			_, known := u.Render()
			return known
		}
	}
	target, known := n.Sets[set]
	return known && !slices.ContainsFunc(n.Unknown, func(u Unknown) bool { return u.Target == target })
}

// doubt says why an object that leaves a target may have moved to one whose set is not known; "": it did not.
func (n Neighbours) doubt(leaves v1alpha1.Target, id manifest.ID) string {
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

// placedKey is the key of an object. Git names no namespace for one of the whole cluster, nor for one of the namespace `default`,
// where its kind is not known here.
func placedKey(id manifest.ID) manifest.Key {
	id.Namespace = cmp.Or(id.Namespace, manifest.DefaultNamespace)
	return id.Key()
}

// handsOver reports whether a live object belongs to another target of the same commit which does not name it any more.
func (c *Comparer) handsOver(id manifest.ID, live *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	request, owner := c.request, live.GetLabels()[v1alpha1.LabelMember]
	if _, own := v1alpha1.MemberLabel(c.cluster.Namespace(), request.Target); owner == own || !request.Neighbours.isSettled(owner) {
		return false
	}
	target, _ := request.Neighbours.NamedBy(id)
	return target == request.Target
}
