package target

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// claim refuses objects that two targets of one cluster name. The target that has the object keeps it.
func (c *Commit) claim() {
	type place struct {
		cluster *cluster.Cluster
		key     manifest.Key
	}
	claims := map[place][]*Desired{}
	ids := map[manifest.Key]manifest.ID{}
	for _, d := range c.All() {
		for _, id := range d.Rendered.Set.IDs() {
			at := place{d.Cluster.Server(), placed(id)}
			ids[at.key] = id
			if !slices.Contains(claims[at], d) { // a target that writes an object both ways has no conflict with itself
				claims[at] = append(claims[at], d)
			}
		}
	}
	for at, claimants := range claims {
		if len(claimants) < 2 {
			continue
		}
		for _, d := range claimants {
			if d.owns(at.key) {
				continue
			}
			others := slices.DeleteFunc(slices.Clone(claimants), func(o *Desired) bool { return o == d })
			d.Err = errors.Join(d.Err, fmt.Errorf("%s is in %s and in %s; keep it in one of the two", ids[at.key], d.Target, others[0].Target))
		}
	}
}

func (d *Desired) owns(key manifest.Key) bool {
	if d.Record == nil {
		return false
	}
	return slices.ContainsFunc(d.Record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return placed(e.ID()) == key
	})
}

// placed is the key of an object whose namespace comes from the inventory, because git names none.
func placed(id manifest.ID) manifest.Key {
	id.Namespace = cmp.Or(id.Namespace, metav1.NamespaceDefault)
	return id.Key()
}
