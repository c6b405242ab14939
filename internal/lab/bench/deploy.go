package bench

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Record reads the record of the target; nil: there is none.
func (b *Bench) Record() *v1alpha1.PipelineSync {
	b.T.Helper()
	record, err := b.Cluster.Records().Get(b.Ctx, b.Target)
	if err != nil {
		b.T.Fatal(err)
	}
	return record
}

// Spec is what syncer decides for the target.
func (b *Bench) Spec() v1alpha1.PipelineSyncSpec {
	return v1alpha1.PipelineSyncSpec{
		Owner: "test", Pipeline: b.Target.Pipeline, Environment: b.Target.Environment,
		Source: v1alpha1.RecordSource{URL: "https://git.example.com/pipelines.git", Commit: "c0ffee"},
	}
}

// Deploy leaves in the cluster what an apply of a set leaves there: the record, the objects with syncer's fields, and the
// inventory. It judges nothing; pkg/apply does.
func (b *Bench) Deploy(set manifest.Set) {
	b.T.Helper()
	before := b.Record()
	var promises cluster.Promises
	for _, obj := range set {
		promises.Kinds = append(promises.Kinds, manifest.IDOf(obj).GroupKind())
		promises.Namespaces = append(promises.Namespaces, obj.GetNamespace())
	}
	if _, err := b.Cluster.Records().SaveSpec(b.Ctx, b.Target, before, b.Spec(), promises); err != nil {
		b.T.Fatal(err)
	}
	var entries []v1alpha1.InventoryEntry
	for _, obj := range set {
		entries = append(entries, b.write(obj))
	}
	if before != nil {
		prune(b, before.Status.Inventory, entries)
	}
	b.Save(entries)
}

func (b *Bench) write(obj *unstructured.Unstructured) v1alpha1.InventoryEntry {
	b.T.Helper()
	judged, err := b.Cluster.Get(b.Ctx, manifest.IDOf(obj))
	if err != nil {
		b.T.Fatal(err)
	}
	live, err := b.Cluster.Write(b.Ctx, obj, judged)
	if err != nil {
		b.T.Fatal(err)
	}
	hash, err := manifest.Hash(obj, nil)
	if err != nil {
		b.T.Fatal(err)
	}
	id := manifest.IDOf(live)
	entry := v1alpha1.InventoryEntry{
		APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, UID: live.GetUID(),
		Hash: hash, Fields: manifest.OwnedState(live, manifest.FieldManager, nil),
	}
	if written, known := manifest.LastWrite(live, manifest.FieldManager); known {
		entry.Written = &metav1.Time{Time: written}
	}
	return entry
}

// prune deletes the objects of the former inventory that are not in the present one.
func prune(b *Bench, former, present []v1alpha1.InventoryEntry) {
	b.T.Helper()
	for _, entry := range former {
		if slices.ContainsFunc(present, func(e v1alpha1.InventoryEntry) bool { return e.ID().Key() == entry.ID().Key() }) {
			continue
		}
		live, err := b.Cluster.Get(b.Ctx, entry.ID())
		if err == nil && live != nil {
			err = b.Cluster.Delete(b.Ctx, live, metav1.DeletePropagationBackground)
		}
		if err != nil {
			b.T.Fatal(err)
		}
	}
}

// Save writes the inventory of the record.
func (b *Bench) Save(inventory []v1alpha1.InventoryEntry) {
	b.T.Helper()
	status := v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "c0ffee", Inventory: inventory}
	if record := b.Record(); record != nil {
		status.ConfirmedApply = record.Status.ConfirmedApply
	}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, status, ""); err != nil {
		b.T.Fatal(err)
	}
}
