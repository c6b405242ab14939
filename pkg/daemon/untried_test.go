package daemon

import (
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// A commit that says nothing new of a target leaves it to its back-off, unless the last reconcile tried nothing, or waits for
// what git says of another target.
func TestACommitReconcilesATargetWhoseLastReconcileTriedNothing(t *testing.T) {
	server := away(t)
	held := func(reason manifest.HoldReason) reconcile.Result {
		change := manifest.Change{ID: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "moved"}, Action: manifest.Prune}
		change.Hold(reason, "another one may need it")
		return reconcile.Result{Result: reconcile.Held, Detail: reconcile.Detail{Wait: &target.Wait{Cluster: server, Held: []manifest.Change{change}}}}
	}
	for name, c := range map[string]struct {
		result    func(*Daemon, *target.Desired) reconcile.Result
		unchanged bool
	}{
		"its record could not be read again": {result: func(d *Daemon, w *target.Desired) reconcile.Result {
			pass := reconcile.NewPass(target.NewCommit([]*target.Desired{w}), d.parts.Reconciler.Pins.NewLookups())
			result, err := d.parts.Reconciler.Reconcile(t.Context(), reconcile.Request{Desired: w, Pass: pass, Stale: true})
			if err == nil || result.Result != reconcile.Failed {
				t.Fatalf("%v, %+v", err, result)
			}
			return result
		}},
		"a deletion waits for a pipeline that does not render": {result: func(*Daemon, *target.Desired) reconcile.Result { return held(manifest.HeldUnrendered) }},
		"a deletion waits for something of the cluster":        {unchanged: true, result: func(*Daemon, *target.Desired) reconcile.Result { return held(manifest.HeldInUse) }},
	} {
		d, _ := newTestDaemon()
		s := newScheduler(t.Context(), d)
		w := &target.Desired{
			Target: named("a"), Environment: &v1alpha1.Environment{Name: "prod"}, Cluster: server, Record: recordOf("test"), Overlay: "overlays/prod",
			Rendered: target.Rendered{From: &target.Rendering{}},
		}
		next := *w
		result := c.result(d, w)
		d.states.change(w.Target, func(of *state) {
			of.wait.note("Held", time.Minute)
			of.note(w, &result, false)
		})
		if got := s.isUnchanged(&next); got != c.unchanged {
			t.Errorf("%s: the next commit leaves it: %t", name, got)
		}
		s.wakeUps.stop()
	}
}
