package apply

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Stray is an object that git does not have, that seems to belong to a target, and that syncer does not delete by itself.
type Stray struct {
	ID manifest.ID
	// Unlabelled means that syncer applied the object and that the object lost the target's label since. Otherwise the
	// object has the label, and syncer never applied it.
	Unlabelled bool
	By         manifest.Manager // the manager that created it or wrote it last; zero: not known
}

// Strays lists, sorted, the objects that git does not have and that syncer does not prune, because nothing proves that they
// belong to the target.
func (p *Plan) Strays() []Stray {
	var out []Stray
	for _, live := range p.strays {
		out = append(out, Stray{ID: manifest.IDOf(live), By: inventory.WriterOf(live)})
	}
	for _, s := range p.steps {
		if s.rendered == nil && s.unlabelled {
			out = append(out, Stray{ID: s.change.ID, Unlabelled: true, By: inventory.WriterOf(s.change.Live)})
		}
	}
	slices.SortFunc(out, func(a, b Stray) int { return a.ID.Compare(b.ID) })
	return out
}

// Seen returns the live objects that a pass judged: the given ones, and the plan's strays.
func (p *Plan) Seen(live inventory.Members) inventory.Members {
	if len(p.strays) == 0 {
		return live
	}
	out := make(inventory.Members, len(live)+len(p.strays))
	for key, obj := range p.strays {
		out[key] = obj
	}
	for key, obj := range live {
		out[key] = obj
	}
	return out
}
