package apply

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Inventory is the target's inventory if nothing were applied. It differs from the recorded one where the record is behind:
// after a crash, after the record was lost, or when git writes the same objects differently.
func (p *Plan) Inventory() []v1alpha1.InventoryEntry { return inventory.Sorted(p.inventory()) }

func (p *Plan) inventory() map[manifest.Key]v1alpha1.InventoryEntry {
	entries := map[manifest.Key]v1alpha1.InventoryEntry{}
	maps.Copy(entries, p.recorded)
	inSet := map[manifest.Key]bool{}
	for _, s := range p.steps {
		id := s.change.ID
		if s.rendered == nil {
			continue
		}
		inSet[id.Key()] = true
		before := entries[id.Key()]
		live := p.Members[id.Key()]
		switch {
		case s.gone:
			entry := p.newEntry(s, s.rendered)
			if entry.UID = s.ranAs; before.Spec == entry.Spec && s.ranAs == "" {
				entry.UID = before.UID // otherwise the UID belongs to an earlier object of the same name
			}
			entry.Others, entry.Completed, entry.Failed, entry.Fields = before.Others, before.Completed, before.Failed, before.Fields
			entries[id.Key()] = entry
		case s.skipped:
			before.Skipped = p.hashes[id.Key()]
			if before.Name != "" {
				entries[id.Key()] = before
			}
		case live != nil && s.change.Action == manifest.None && !s.change.Drifted && !s.left:
			entry := p.newEntry(s, live)
			entry.Unconfirmed = p.planner.needsFence(&s)
			entry.Others = others(before, live)
			entry.Completed = before.Completed && before.Hash == entry.Hash
			entry.Failed = before.Failed && before.Hash == entry.Hash
			if before.EndedRun != "" && p.judge.Run(live).ID == before.EndedRun {
				entry.EndedRun = before.EndedRun
			}
			entries[id.Key()] = entry
		}
	}
	for key, entry := range entries {
		live := p.Members[key]
		if live == nil && !inSet[key] && p.unread.Of(key) == nil {
			delete(entries, key) // the object is gone from git and from the cluster
			continue
		}
		if live == nil || entry.Completed {
			continue
		}
		if run := p.judge.Run(live); entry.EndedRun != "" && entry.EndedRun == run.ID {
			continue // the object shows the run from before its change
		}
		if verdict := p.judge.Health(live); verdict.Completed {
			entry.Completed, entry.Failed = true, verdict.Status == health.Failed
			entries[key] = entry
		}
	}
	return entries
}

// newEntry returns the record's entry for an object as an apply left it.
func (p *Plan) newEntry(s step, live *unstructured.Unstructured) v1alpha1.InventoryEntry {
	id := s.change.ID
	entry := v1alpha1.InventoryEntry{
		APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
		Hash:      p.hashes[id.Key()],
		Fields:    manifest.OwnedState(live, manifest.FieldManager, p.key),
		Ephemeral: health.RemovesItself(live),
		EndedRun:  s.endedRun,
		UID:       live.GetUID(),
	}
	if written, known := manifest.LastWrite(live, manifest.FieldManager); known && !written.IsZero() {
		entry.Written = &metav1.Time{Time: written}
	}
	if entry.Ephemeral || p.judge.RunsToCompletion(id.GroupKind()) {
		entry.Spec = manifest.SpecHash(s.rendered)
	}
	return entry
}
