package apply_test

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
)

// Changes that an apply holds are sorted as those of a plan are, whatever the order of their execution. The first object by
// name, that a change waits for, is named.
func TestHeldChangesAreSortedByObject(t *testing.T) {
	b := bench.New(t)
	wave := func(doc, n string) string {
		return strings.Replace(doc, "metadata: {", "metadata: {annotations: {argocd.argoproj.io/sync-wave: \""+n+"\"}, ", 1)
	}
	account := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: $NS}\n" // goes before ConfigMaps
	applied := pass.Sync(b, b.Set(wave(bench.Backfill("z", 600), "-1"), wave(bench.Backfill("a", 600), "0"), wave(bench.Settings("b", "1"), "1"), wave(account, "1")))
	if got := bench.Held(applied.Held); got != "Dependency ConfigMap/b, Dependency Job/a, Dependency ServiceAccount/a" {
		t.Errorf("held: %s", got)
	}
	for _, change := range applied.Held {
		if change.ID.Kind == "Job" {
			continue
		}
		if got := change.Held.Message; !strings.HasPrefix(got, "Job/"+b.Namespace+"/a waits itself: Job/"+b.Namespace+"/z ") {
			t.Errorf("%s waits because %s", change.ID, got)
		}
	}
	if !applied.Pending {
		t.Error("a change that is made was not pending")
	}
}
