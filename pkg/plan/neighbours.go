package plan

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Neighbours are the targets of one commit in one cluster, including the plan's own target. An object that moves from one
// target to another is handed over. It is not deleted and created anew.
type Neighbours struct {
	Named   map[manifest.Key]v1alpha1.Target // the target whose set names the object
	Known   map[string]bool                  // the ApplySets of the targets whose new sets are known
	Unknown []Unknown                        // the targets whose new sets are not known
}

// Unknown is a target whose set at the commit is not known, such as one that does not render.
type Unknown struct {
	Target v1alpha1.Target
	// MayName says why the target may have an object at the commit, as a clause; "" if it does not have it.
	MayName func(manifest.ID) string
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

// Add notes a target and its set. A target with an empty set names no objects any more.
func (n *Neighbours) Add(namespace string, target v1alpha1.Target, set []manifest.ID) {
	if n.Named == nil {
		n.Named, n.Known = map[manifest.Key]v1alpha1.Target{}, map[string]bool{}
	}
	n.Known[v1alpha1.ApplySetID(namespace, target)] = true
	for _, id := range set {
		n.Named[id.Key()] = target
		if id.Namespace == "" {
			id.Namespace = manifest.DefaultNamespace // namespaced, but of a kind that is not known here
			n.Named[id.Key()] = target
		}
	}
}

// handsOver reports whether a live object belongs to another target of the same commit which does not name it any more.
func (c *Comparer) handsOver(id manifest.ID, live *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	request, owner := c.request, live.GetLabels()[v1alpha1.LabelMember]
	_, own := v1alpha1.MemberLabel(c.cluster.Namespace(), request.Target)
	return owner != own && request.Neighbours.Known[owner] && request.Neighbours.Named[id.Key()] == request.Target
}
