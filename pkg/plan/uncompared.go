package plan

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// UncomparedObject is an object that cannot be compared with git, because the API server refuses to read it or to try it. Git did
// not change the object since it was applied, or does not have it any more, so the rest of the target does not wait for it.
// The object stays as it is.
type UncomparedObject struct {
	// Change has the live object if it can be read, and the fields that others took from syncer.
	Change manifest.Change
	Err    error
	// Unread means that even the live state is unknown.
	Unread bool
}

// Uncompared lists the objects that a plan could not compare, sorted.
func (p *Plan) Uncompared() []UncomparedObject {
	var out []UncomparedObject
	inSet := map[manifest.Key]bool{}
	for _, s := range p.steps {
		inSet[s.Change.ID.Key()] = true
		if s.IsUncompared() {
			out = append(out, UncomparedObject{Change: s.Change, Err: s.Err, Unread: s.State == Unread})
		}
	}
	for key, entry := range p.comparer.recorded {
		if err := p.comparer.found.Unread.Of(key); err != nil && !inSet[key] {
			id := entry.ID()
			change := manifest.Change{ID: id, Action: manifest.None, Drifted: true}
			out = append(out, UncomparedObject{Change: change, Err: answer.Explain(&unstructured.Unstructured{}, id, "reading", err), Unread: true})
		}
	}
	slices.SortFunc(out, func(a, b UncomparedObject) int { return a.Change.ID.Compare(b.Change.ID) })
	return out
}

// setAside lets a plan continue without an object that cannot be compared for a reason of its own. If git changed the object
// since it was applied, the reason concerns the target: all objects that git changes are tried before the first write.
func setAside(c *Comparer, obj *unstructured.Unstructured, hash string, reason error) (*Step, error) {
	id, known := appliedAs(c, obj, hash)
	if !known || !answer.IsOfObject(reason) {
		return nil, reason
	}
	s := &Step{
		Change: manifest.Change{ID: id, Action: manifest.None, Drifted: true, Live: c.found.Members[id.Key()], Want: obj},
		State:  Uncompared, Err: reason, Rendered: obj, Sent: obj, Hash: hash,
	}
	if live := s.Change.Live; live != nil {
		s.Sent, s.Owners.Quiet = c.request.Policies.Ignore.Yield(id, obj, live, nil)
		s.Change.Fields = takenFields(c, s)
	}
	switch {
	case isUnread(c, s, reason):
		s.State = Unread
	case s.Change.Live == nil && c.recorded[id.Key()].MayBeGone():
		s.State, s.Err, s.Change.Drifted = Ran, nil, false // the object ran, so nothing remains to compare
	}
	return s, nil
}

// isUnread reports whether the live state of an object that cannot be compared is unknown. If the kind is not served at all,
// its objects are gone with it. If it is served in another version, they are among the members.
func isUnread(c *Comparer, s *Step, reason error) bool {
	return c.found.Unread.Of(s.Key()) != nil || s.Change.Live == nil && !c.found.Absent[s.Key()] && !meta.IsNoMatchError(reason)
}

// appliedAs finds the inventory entry which says that an object was applied exactly as git has it. Discovery does not show
// whether a kind that is not served is namespaced. The entry shows it.
func appliedAs(c *Comparer, obj *unstructured.Unstructured, hash string) (manifest.ID, bool) {
	id := manifest.IDOf(obj)
	for _, namespace := range []string{id.Namespace, cmp.Or(id.Namespace, manifest.DefaultNamespace), ""} {
		id.Namespace = namespace
		if entry, ok := c.recorded[id.Key()]; ok && isApplied(entry, hash) {
			return id, true
		}
	}
	return manifest.ID{}, false
}

// takenFields returns the fields of a live object that others took from syncer and that have another value now. Without a dry run
// it cannot compare values that syncer owns: the API server may write them in another form.
func takenFields(c *Comparer, s *Step) []manifest.FieldChange {
	live := s.Change.Live
	return slices.DeleteFunc(manifest.Diff(live, manifest.Overlay(live, s.Sent), c.salt()), func(f manifest.FieldChange) bool {
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
