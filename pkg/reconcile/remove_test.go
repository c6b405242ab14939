package reconcile_test

import (
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// others are the files of a pipeline that stays. Without one, a commit would remove everything.
var others = pipeline("others", bench.Settings("other", "1")).and(pipeline("more", bench.Settings("more", "1")))

// deployed is a project whose target was deployed with some objects.
func deployed(t *testing.T, config string, docs ...string) *project {
	t.Helper()
	p := newProject(t, config)
	p.registry.push("registry.example.com/ingest:v1", "a")
	pass := reconcile.NewPass(p.commit(orders(docs...).and(others), "First"), p.r.Pins.NewLookups())
	for _, d := range pass.Commit.Targets {
		if _, err := p.reconcile(pass, d.Target); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestTargetThatLeftGitIsDeleted(t *testing.T) {
	p := deployed(t, "", bench.Settings("a", "1"), bench.Settings("b", "1"))
	commit := p.commit(others, "Remove orders")
	diff, err := p.diff(commit)
	if err != nil || diff.Result != reconcile.Applied || len(diff.Changes) != 2 {
		t.Errorf("the diff: %+v, %v", diff, err)
	}
	result := p.want(reconcile.Applied, "it is no longer in git: 2 objects pruned", commit)
	if len(result.Changes) != 2 || !result.Detail.Converged {
		t.Errorf("%+v", result)
	}
	if p.Get(bench.ConfigMaps, p.Namespace, "a") != nil || p.Record() != nil {
		t.Error("it is still there")
	}
	if p.Get(bench.ConfigMaps, p.Namespace, "other") == nil {
		t.Error("another pipeline is gone")
	}
}

// The record of a target with pins stays, so that a revert brings its digests back, until the pins are past their time.
func TestPinsOfARemovedTargetAreKept(t *testing.T) {
	p := deployed(t, "  images: {keepPins: {for: 1h}}\n", nightly)
	p.want(reconcile.Applied, "1 object pruned", p.commit(others, "Remove orders"))
	record := p.Record()
	if record == nil || record.Status.RemovedAt == nil || len(record.Spec.Images) != 1 || len(record.Status.Inventory) > 0 {
		t.Fatalf("%+v", record)
	}
	p.registry.push("registry.example.com/ingest:v1", "b")
	result := p.want(reconcile.Applied, "1 created", p.commit(orders(nightly).and(others), "Restore orders"))
	if got := result.Images[0].Digest; got != record.Spec.Images[0].Digest {
		t.Errorf("the digest is %s", got)
	}
	p.want(reconcile.Applied, "1 object pruned", p.commit(others, "Remove orders again"))
	if err := p.r.Forget(p.Ctx, p.again().Retired); err != nil || p.Record() == nil {
		t.Errorf("forgotten before its time: %v", err)
	}
	p.r.Config.Environments[0].Images.KeepPins.For.Duration = 0
	old := p.again().Retired
	old[0].Record.Status.RemovedAt.Time = old[0].Record.Status.RemovedAt.Add(-1 << 32)
	if err := p.r.Forget(p.Ctx, old); err != nil || p.Record() != nil {
		t.Errorf("not forgotten: %v", err)
	}
}

func TestObjectsStayWherePruneIsDisabled(t *testing.T) {
	p := deployed(t, "  prune: {enabled: false}\n", bench.Settings("a", "1"))
	p.want(reconcile.Unchanged, "its objects stay, because prune is disabled for prod", p.commit(others, "Remove orders"))
	if p.Get(bench.ConfigMaps, p.Namespace, "a") == nil || p.Record() == nil {
		t.Error("something was deleted")
	}
}

func TestRemovalAboveTheLimitIsRefused(t *testing.T) {
	p := deployed(t, "  prune: {maxObjects: 1}\n", bench.Settings("a", "1"), bench.Settings("b", "1"))
	p.want(reconcile.Failed, "would delete 2 of the 2 objects of orders@prod, which is above the limit of 1 objects", p.commit(others, "Remove orders"))
	p.wantCondition("Ready", "False PruneRefused")
	p.want(reconcile.Applied, "2 objects pruned", p.commit(others, "Remove orders\n\nSyncer-Allow-Prune: orders"))
}

func TestMissingOverlay(t *testing.T) {
	p := deployed(t, "", bench.Settings("a", "1"))
	left := others.and(files{"pipelines/orders/base/kustomization.yaml": "resources: []\n"})
	p.want(reconcile.Failed, "the overlay pipelines/orders/overlays/prod is gone while the pipeline's folder stands", p.commit(left, "Remove the overlay"))
	p.wantCondition("Ready", "False OverlayMissing")
	p.want(reconcile.Applied, "1 object pruned", p.commit(left, "It is meant\n\nSyncer-Allow-Prune: orders@prod"))
}

// A running Job is not deleted. Its record stays, and says so, until the run has ended.
func TestRemovalWaitsForARun(t *testing.T) {
	p := deployed(t, "", job("a"), bench.Settings("a", "1"))
	p.Status(bench.Jobs, "load", started)
	commit := p.commit(others, "Remove orders")
	result := p.want(reconcile.Held, "it is no longer in git: ", commit)
	if result.Detail.Wait == nil || result.Detail.Converged {
		t.Errorf("%+v", result.Detail)
	}
	p.wantCondition("Held", "True")
	if len(p.Record().Status.Inventory) == 0 {
		t.Error("the record does not know its objects any more")
	}
	p.Status(bench.Jobs, "load", finished)
	p.want(reconcile.Applied, "it is no longer in git", p.again())
	if record := p.Record(); record.Status.RemovedAt == nil {
		t.Errorf("the record does not say that the target is removed: %+v", record.Status)
	}
}

// Uninstall deletes the objects of a target as if it had left git, whatever the commit says.
func TestRemove(t *testing.T) {
	p := deployed(t, "", bench.Settings("a", "1"))
	targets, incomplete, err := p.r.Planner.Recorded(p.Ctx, v1alpha1.Selection{Pipelines: []string{"orders"}})
	if err != nil || incomplete != nil || len(targets) != 1 {
		t.Fatalf("%v, %v, %v", targets, incomplete, err)
	}
	result, err := p.r.Remove(p.Ctx, targets[0])
	if err != nil || result.Result != reconcile.Applied || len(result.Changes) != 1 {
		t.Errorf("%+v, %v", result, err)
	}
}

// The record of a target that left git may be deleted while the target waits for its reconcile: another syncer removed it.
func TestRemoveWithoutARecord(t *testing.T) {
	removed := &target.Desired{Target: v1alpha1.Target{Pipeline: "extra", Environment: "dev"}}
	result, err := (&reconcile.Reconciler{}).Remove(t.Context(), removed)
	if err != nil || result.Result != reconcile.Unchanged || !result.Detail.Converged {
		t.Errorf("%+v, %v", result, err)
	}
}
