package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
		if s.State == Unlabelled {
			out = append(out, Stray{ID: s.Change.ID, Unlabelled: true, By: inventory.WriterOf(s.Change.Live)})
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

// Terminating lists the objects that left git, are being deleted, and are not gone yet.
func (p *Plan) Terminating() []string {
	var out []string
	for _, s := range p.steps {
		if s.IsPrune() && s.Change.Live.GetDeletionTimestamp() != nil {
			out = append(out, Terminating(s.Change.Live))
		}
	}
	return out
}

// Terminating describes the wait of an object that is being deleted.
func Terminating(obj *unstructured.Unstructured) string {
	text := fmt.Sprintf("%s is being deleted", manifest.IDOf(obj))
	if deleted := obj.GetDeletionTimestamp(); deleted != nil {
		text += " since " + deleted.UTC().Format(time.RFC3339)
	}
	if finalizers := obj.GetFinalizers(); len(finalizers) > 0 {
		text += " and waits for its finalizers " + strings.Join(finalizers, ", ")
	}
	return text
}
