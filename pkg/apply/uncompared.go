package apply

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Uncompared is an object that cannot be compared with git, because the API server refuses to read it or to try it. Git did
// not change the object since it was applied, or does not have it any more, so the rest of the target does not wait for it.
// The object stays as it is.
type Uncompared struct {
	// Change has the live object if it can be read, and the fields that others took from syncer.
	Change manifest.Change
	Err    error
	// Unread means that even the live state is unknown.
	Unread bool
}

// Uncompared lists the objects that a plan could not compare, sorted.
func (p *Plan) Uncompared() []Uncompared {
	var out []Uncompared
	inSet := map[manifest.Key]bool{}
	for _, s := range p.steps {
		inSet[s.change.ID.Key()] = true
		if s.uncompared != nil {
			out = append(out, Uncompared{Change: *s.change, Err: s.uncompared, Unread: s.unread})
		}
	}
	for key, entry := range p.recorded {
		if err := p.unread.Of(key); err != nil && !inSet[key] {
			id := entry.ID()
			change := manifest.Change{ID: id, Action: manifest.None, Drifted: true}
			out = append(out, Uncompared{Change: change, Err: answer.Explain(&unstructured.Unstructured{}, id, "reading", err), Unread: true})
		}
	}
	slices.SortFunc(out, func(a, b Uncompared) int { return a.Change.ID.Compare(b.Change.ID) })
	return out
}

// setAside lets a plan continue without an object that cannot be compared for a reason of its own. If git changed the object
// since it was applied, the reason concerns the target: all objects that git changes are tried before the first write.
func (p *planner) setAside(obj *unstructured.Unstructured, hash string, reason error) (step, error) {
	id, known := p.appliedAs(obj, hash)
	if !known || !answer.IsOfObject(reason) {
		return step{}, reason
	}
	change := &manifest.Change{ID: id, Action: manifest.None, Drifted: true, Live: p.plan.Members[id.Key()], Want: obj}
	s := step{change: change, rendered: obj, sent: obj, uncompared: reason}
	// If the kind is not served at all, its objects are gone with it. If it is served in another version, they are among the
	// members.
	s.unread = p.plan.unread.Of(id.Key()) != nil || change.Live == nil && !p.nowhere[id.Key()] && !meta.IsNoMatchError(reason)
	if change.Live == nil && !s.unread && p.recorded[id.Key()].MayBeGone() {
		s.gone, s.uncompared, change.Drifted = true, nil, false // the object ran, so nothing remains to compare
	}
	if change.Live != nil {
		p.plan.request.Rules.yield(&s)
		change.Fields = p.taken(s)
	}
	return s, nil
}

// appliedAs finds the inventory entry which says that an object was applied exactly as git has it. Discovery does not show
// whether a kind that is not served is namespaced. The entry shows it.
func (p *planner) appliedAs(obj *unstructured.Unstructured, hash string) (manifest.ID, bool) {
	id := manifest.IDOf(obj)
	for _, namespace := range []string{id.Namespace, cmp.Or(id.Namespace, manifest.DefaultNamespace), ""} {
		id.Namespace = namespace
		if entry, ok := p.recorded[id.Key()]; ok && hash != "" && entry.Hash == hash && !entry.Unconfirmed {
			return id, true
		}
	}
	return manifest.ID{}, false
}

// taken returns the fields of a live object that others took from syncer and that have another value now. Without a dry run
// it cannot compare values that syncer owns: the API server may write them in another form.
func (p *planner) taken(s step) []manifest.FieldChange {
	live := s.change.Live
	return slices.DeleteFunc(manifest.Diff(live, manifest.Overlay(live, s.sent), p.salt()), func(f manifest.FieldChange) bool {
		path, err := manifest.ParsePath(f.Path)
		if err != nil || manifest.Owns(live, path, manifest.FieldManager) {
			return true
		}
		_, taken := manifest.ManagerOf(live, path, manifest.FieldManager)
		return f.From != nil && !taken
	})
}

// Readable returns the inventory entries whose objects a plan could read, or could find to be gone.
func (p *Plan) Readable(entries []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	hidden := map[manifest.Key]bool{}
	for _, u := range p.Uncompared() {
		if u.Unread {
			hidden[u.Change.ID.Key()] = true
		}
	}
	if len(hidden) == 0 {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(entry v1alpha1.InventoryEntry) bool { return hidden[entry.ID().Key()] })
}
