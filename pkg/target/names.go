package target

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
)

// names knows which target names which object. It is kept from commit to commit, so that a commit costs the targets that name
// other objects than before. The maps that it publishes are not changed any more. The zero value is ready to use.
type names struct {
	of     map[v1alpha1.Target]naming
	shared map[spot][]v1alpha1.Target // the objects that several targets name
	// named has the target that names an object, and sets the targets by their ApplySets, in each cluster.
	named map[*cluster.Cluster]map[manifest.Key]v1alpha1.Target
	sets  map[*cluster.Cluster]map[string]v1alpha1.Target
	// own are the maps of named and sets that were not published since the last change.
	own map[*cluster.Cluster]bool
}

// naming is what one target names.
type naming struct {
	server *cluster.Cluster
	set    string // the ID of its ApplySet
	ids    []manifest.ID
}

// spot is an object in a cluster.
type spot struct {
	server *cluster.Cluster
	key    manifest.Key
}

// compare orders the objects of one cluster.
func (s spot) compare(o spot) int {
	return cmp.Or(cmp.Compare(s.key.Kind, o.key.Kind), cmp.Compare(s.key.Namespace, o.key.Namespace), cmp.Compare(s.key.Name, o.key.Name), cmp.Compare(s.key.Group, o.key.Group))
}

// update takes in the targets of a commit.
func (n *names) update(all []*Desired) {
	if n.of == nil {
		n.of, n.shared = map[v1alpha1.Target]naming{}, map[spot][]v1alpha1.Target{}
		n.named, n.sets = map[*cluster.Cluster]map[manifest.Key]v1alpha1.Target{}, map[*cluster.Cluster]map[string]v1alpha1.Target{}
	}
	n.own = map[*cluster.Cluster]bool{}
	there := 0
	for _, d := range all {
		if d.Cluster == nil {
			continue
		}
		there++
		before, known := n.of[d.Target]
		server, ids := d.Cluster.Server(), d.Rendered.Set.IDs()
		if known && before.server == server && slices.Equal(before.ids, ids) {
			continue
		}
		n.drop(d.Target)
		n.add(d.Target, naming{server, v1alpha1.ApplySetID(d.Cluster.Namespace(), d.Target), ids})
	}
	if there < len(n.of) {
		n.dropGone(all)
	}
}

func (n *names) dropGone(all []*Desired) {
	there := map[v1alpha1.Target]bool{}
	for _, d := range all {
		there[d.Target] = d.Cluster != nil
	}
	for target := range n.of {
		if !there[target] {
			n.drop(target)
		}
	}
}

func (n *names) add(target v1alpha1.Target, now naming) {
	n.of[target] = now
	n.change(now.server)
	n.sets[now.server][now.set] = target
	named := n.named[now.server]
	for _, id := range now.ids {
		at := spot{now.server, neighbour.Place(id)}
		switch other, taken := named[at.key]; {
		case !taken:
			named[at.key] = target
		case n.shared[at] == nil && other != target: // a target that writes an object both ways has no conflict with itself
			n.shared[at] = []v1alpha1.Target{other, target}
		case n.shared[at] != nil && !slices.Contains(n.shared[at], target):
			n.shared[at] = append(n.shared[at], target)
		}
	}
}

func (n *names) drop(target v1alpha1.Target) {
	before, known := n.of[target]
	if !known {
		return
	}
	delete(n.of, target)
	n.change(before.server)
	delete(n.sets[before.server], before.set)
	named := n.named[before.server]
	for _, id := range before.ids {
		at := spot{before.server, neighbour.Place(id)}
		others := slices.DeleteFunc(n.shared[at], func(other v1alpha1.Target) bool { return other == target })
		switch len(others) {
		case 0:
			if named[at.key] == target {
				delete(named, at.key)
			}
		case 1:
			delete(n.shared, at)
			named[at.key] = others[0]
		default:
			n.shared[at] = others
			named[at.key] = others[0]
		}
	}
}

// change copies the maps of a cluster before their first change since they were published.
func (n *names) change(server *cluster.Cluster) {
	if n.own[server] {
		return
	}
	n.own[server] = true
	n.named[server], n.sets[server] = maps.Clone(n.named[server]), maps.Clone(n.sets[server])
	if n.named[server] == nil {
		n.named[server], n.sets[server] = map[manifest.Key]v1alpha1.Target{}, map[string]v1alpha1.Target{}
	}
}

// claim refuses objects that two targets of one cluster name. The target that has the object keeps it.
func (n *names) claim(c *Commit) {
	for _, at := range slices.SortedFunc(maps.Keys(n.shared), spot.compare) {
		claimants := n.shared[at]
		slices.SortFunc(claimants, v1alpha1.Target.Compare)
		for _, target := range claimants {
			d := c.index[target]
			if d.owns(at.key) {
				continue
			}
			other := claimants[slices.IndexFunc(claimants, func(o v1alpha1.Target) bool { return o != target })]
			d.Err = errors.Join(d.Err, fmt.Errorf("%s is in %s and in %s; keep it in one of the two", n.id(target, at), target, other))
		}
	}
}

// id is the identity of an object as a target writes it.
func (n *names) id(target v1alpha1.Target, at spot) manifest.ID {
	ids := n.of[target].ids
	return ids[slices.IndexFunc(ids, func(id manifest.ID) bool { return neighbour.Place(id) == at.key })]
}

// settle gives each object that several targets name to one that can be deployed.
func (n *names) settle(c *Commit) {
	for at, claimants := range n.shared {
		winner := claimants[0]
		for _, target := range claimants {
			if c.index[target].Err == nil || c.index[winner].Err != nil {
				winner = target
			}
		}
		if n.named[at.server][at.key] != winner {
			n.change(at.server)
			n.named[at.server][at.key] = winner
		}
	}
}

func (d *Desired) owns(key manifest.Key) bool {
	if d.Record == nil {
		return false
	}
	return slices.ContainsFunc(d.Record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return neighbour.Place(e.ID()) == key
	})
}
