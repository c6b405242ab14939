package inventory

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Wanted is a target whose objects a command reads.
type Wanted struct {
	Cluster *cluster.Cluster
	Record  *v1alpha1.PipelineSync
	Set     []manifest.ID
}

// Listing has the objects of many targets, as one list of each kind gave them. It is a Shown for commands that read each
// target once. It is not changed.
type Listing struct {
	lists map[list]map[string][]unstructured.Unstructured // by the ID of the ApplySet
}

// list is one request: a kind in one cluster, as one account.
type list struct {
	cluster *cluster.Cluster
	kind    schema.GroupVersionKind
}

// fewTargets is the number of targets in a cluster up to which a list for each of them is cheaper than a list of all objects.
const fewTargets = 8

// ListOnce lists each kind of many targets once in each cluster. It leaves out what it cannot list, such as a kind that an
// account may only list in its namespace; these objects are asked for target by target.
func ListOnce(ctx context.Context, wanted []Wanted) *Listing {
	kinds, targets := map[list]bool{}, map[*cluster.Cluster]int{}
	for _, w := range wanted {
		targets[w.Cluster]++
		for _, kind := range Kinds(w.Record, w.Set) {
			kinds[list{w.Cluster, kind}] = true
		}
	}
	var all []list
	for each := range kinds {
		if targets[each.cluster] > fewTargets {
			all = append(all, each)
		}
	}
	found := make([][]unstructured.Unstructured, len(all)) // each worker owns one slot
	errs := make([]error, len(all))
	var g panics.Group
	g.SetLimit(cluster.FanOut)
	for i, each := range all {
		g.Go(func() error {
			found[i], errs[i] = each.cluster.List(ctx, each.kind, metav1.NamespaceAll, metav1.ListOptions{LabelSelector: v1alpha1.LabelMember})
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	l := &Listing{lists: map[list]map[string][]unstructured.Unstructured{}}
	for i, each := range all {
		if errs[i] == nil {
			l.lists[each] = bySet(found[i])
		}
	}
	return l
}

func bySet(objects []unstructured.Unstructured) map[string][]unstructured.Unstructured {
	out := map[string][]unstructured.Unstructured{}
	for i := range objects {
		set := objects[i].GetLabels()[v1alpha1.LabelMember]
		out[set] = append(out[set], objects[i])
	}
	return out
}

// Members returns the listed objects of a target; see Shown.
func (l *Listing) Members(c *cluster.Cluster, target v1alpha1.Target, kind schema.GroupVersionKind, namespace string) ([]unstructured.Unstructured, bool) {
	sets, listed := l.lists[list{c, kind}]
	if !listed {
		return nil, false
	}
	var out []unstructured.Unstructured
	for _, obj := range sets[v1alpha1.ApplySetID(c.Namespace(), target)] {
		if namespace == "" || obj.GetNamespace() == namespace {
			out = append(out, obj)
		}
	}
	return out, true
}
