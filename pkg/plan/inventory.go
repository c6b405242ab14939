package plan

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Inventory is the target's inventory if nothing were applied. It differs from the recorded one where the record is behind:
// after a crash, after the record was lost, or when git writes the same objects differently.
func (p *Plan) Inventory() []v1alpha1.InventoryEntry { return inventory.Sorted(p.Entries()) }

// Entries is Inventory by key.
func (p *Plan) Entries() map[manifest.Key]v1alpha1.InventoryEntry {
	c, entries, inSet := p.comparer, maps.Clone(p.comparer.recorded), map[manifest.Key]bool{}
	if entries == nil {
		entries = map[manifest.Key]v1alpha1.InventoryEntry{}
	}
	for _, s := range p.steps {
		if s.IsPrune() {
			continue
		}
		inSet[s.Key()] = true
		if entry, changes := c.entryOf(s, entries[s.Key()], p.Members[s.Key()]); changes {
			entries[s.Key()] = entry
		}
	}
	for key, entry := range entries {
		live := p.Members[key]
		if live == nil && !inSet[key] && c.found.Unread.Of(key) == nil {
			delete(entries, key) // the object is gone from git and from the cluster
			continue
		}
		if live != nil {
			entries[key] = c.NoteEnd(entry, live)
		}
	}
	return entries
}

// NoteEnd returns the entry of a live object with the end of its run, where the object shows that.
func (c *Comparer) NoteEnd(entry v1alpha1.InventoryEntry, live *unstructured.Unstructured) v1alpha1.InventoryEntry {
	if entry.Completed {
		return entry
	}
	if entry.EndedRun != "" && entry.EndedRun == c.runOf(live).ID {
		return entry // the object shows the run from before its change
	}
	if verdict := c.cluster.Judge().Health(live); verdict.Completed {
		entry.Completed, entry.Failed = true, verdict.Status == health.Failed
	}
	return entry
}

// entryOf returns the entry of an object of git that the plan leaves as it is. before is the recorded entry. It reports
// whether the entry is known.
func (c *Comparer) entryOf(s *Step, before v1alpha1.InventoryEntry, live *unstructured.Unstructured) (v1alpha1.InventoryEntry, bool) {
	switch {
	case s.State == Ran:
		entry := c.NewEntry(s, s.Rendered)
		if entry.UID = s.Runs.As; before.Spec == entry.Spec && s.Runs.As == "" {
			entry.UID = before.UID // otherwise the UID belongs to an earlier object of the same name
		}
		entry.Others, entry.Completed, entry.Failed, entry.Fields = before.Others, before.Completed, before.Failed, before.Fields
		return entry, true
	case s.State == NextRun:
		before.Skipped = s.Hash
		return before, before.Name != ""
	case live != nil && s.Change.Action == manifest.None && !s.Change.Drifted && !s.Stays():
		entry := c.NewEntry(s, live)
		entry.Unconfirmed = c.NeedsFence(s)
		entry.Others = ignore.Others(before, live)
		entry.Completed = before.Completed && before.Hash == entry.Hash
		entry.Failed = before.Failed && before.Hash == entry.Hash
		if before.EndedRun != "" && c.runOf(live).ID == before.EndedRun {
			entry.EndedRun = before.EndedRun
		}
		return entry, true
	}
	return v1alpha1.InventoryEntry{}, false
}

// NewEntry returns the record's entry for an object as an apply left it.
func (c *Comparer) NewEntry(s *Step, live *unstructured.Unstructured) v1alpha1.InventoryEntry {
	id := s.Change.ID
	entry := v1alpha1.InventoryEntry{
		APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
		Hash:      s.Hash,
		Fields:    manifest.OwnedState(live, manifest.FieldManager, c.key),
		Ephemeral: health.RemovesItself(live),
		EndedRun:  s.Runs.Ended,
		UID:       live.GetUID(),
	}
	if written, known := manifest.LastWrite(live, manifest.FieldManager); known && !written.IsZero() {
		entry.Written = &metav1.Time{Time: written}
	}
	if entry.Ephemeral || c.cluster.Judge().RunsToCompletion(id.GroupKind()) {
		entry.Spec = manifest.SpecHash(s.Rendered)
	}
	return entry
}
