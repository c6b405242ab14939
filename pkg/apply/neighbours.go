package apply

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Neighbours are the targets of one commit in one cluster, including the plan's own target. An object that moves from one
// target to another is handed over. It is not deleted and created anew.
type Neighbours struct {
	Named map[manifest.Key]v1alpha1.Target // the target whose set names the object
	Known map[string]bool                  // the ApplySets of the targets whose new sets are known
}

// Add notes a target and its set. A target with an empty set names no objects any more.
func (n *Neighbours) Add(namespace string, target v1alpha1.Target, set manifest.Set) {
	if n.Named == nil {
		n.Named, n.Known = map[manifest.Key]v1alpha1.Target{}, map[string]bool{}
	}
	n.Known[v1alpha1.ApplySetID(namespace, target)] = true
	for _, obj := range set {
		id := manifest.IDOf(obj)
		n.Named[id.Key()] = target
		if id.Namespace == "" {
			id.Namespace = manifest.DefaultNamespace // namespaced, but of a kind that is not known here
			n.Named[id.Key()] = target
		}
	}
}

// handsOver reports whether a live object belongs to another target of the same commit which does not name it any more.
func (p *planner) handsOver(id manifest.ID, live *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	request, owner := p.plan.request, live.GetLabels()[v1alpha1.LabelMember]
	_, own := v1alpha1.MemberLabel(p.cluster.Namespace(), request.Target)
	return owner != own && request.Neighbours.Known[owner] && request.Neighbours.Named[id.Key()] == request.Target
}
