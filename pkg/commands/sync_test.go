package commands

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// plain is a ConfigMap without a namespace.
func plain(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {key: \"" + value + "\"}\n"
}

func TestSyncReconcilesEverySelectedTarget(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")).and(pipeline("b", plain("b", "1"))), "First")
	pass := p.sync("dev")
	wantVerdicts(t, pass, "a@dev Applied, b@dev Applied")
	if pass.Subject != "First" || pass.Author != "merger <merger@example.com>" || !pass.Differs() || pass.Rewound != "" {
		t.Errorf("%+v", pass)
	}
	if len(p.progress) != 4 || p.progress[3].Result == nil || p.progress[3].Total != 2 {
		t.Errorf("the progress: %+v", p.progress)
	}
	pass = p.sync()
	wantVerdicts(t, pass, "a@dev Unchanged, a@prod Applied, b@dev Unchanged, b@prod Applied")
	diff, err := p.session.Diff(p.Ctx, "", v1alpha1.Selection{})
	if err != nil || diff.Differs() {
		t.Errorf("%s, %v", verdicts(diff), err)
	}
	if _, err := p.session.Sync(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: []string{"test"}}}); err == nil {
		t.Error("an unknown environment was synced")
	}
}

// A target that fails does not stop the others. Here it is the one that another waits for.
func TestSyncGoesOnAfterAFailure(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")).and(pipeline("b", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {key: 1}\n")), "First")
	pass, err := p.session.Sync(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: []string{"dev"}}})
	if err != nil || pass.Failures() != 1 {
		t.Errorf("%d failures, %v", pass.Failures(), err)
	}
	wantVerdicts(t, pass, "a@dev Applied, b@dev Failed")
}

func TestDiffOfARevision(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")), "First")
	first := lab.Git(t, p.dir, "", "rev-parse", "HEAD")[:40]
	p.commit(pipeline("a", plain("a", "2")), "Second")
	p.sync("dev")
	diff, err := p.session.Diff(p.Ctx, first, v1alpha1.Selection{Environments: []string{"dev"}})
	if err != nil || diff.Commit != first {
		t.Fatalf("%+v, %v", diff, err)
	}
	wantVerdicts(t, diff, "a@dev Applied")
	if fields := diff.Targets[0].Changes[0].Fields; len(fields) != 1 || fields[0].Path != "data.key" {
		t.Errorf("%+v", fields)
	}
	for name, f := range map[string]func() error{
		"an unknown environment": func() error {
			_, err := p.session.Diff(p.Ctx, "", v1alpha1.Selection{Environments: []string{"test"}})
			return err
		},
		"an unknown revision": func() error { _, err := p.session.Diff(p.Ctx, "v1", v1alpha1.Selection{}); return err },
		"an unknown pipeline": func() error {
			_, err := p.session.Diff(p.Ctx, "", v1alpha1.Selection{Pipelines: []string{"x"}})
			return err
		},
	} {
		if f() == nil {
			t.Errorf("there is a diff of %s", name)
		}
	}
}

// Another syncer with a newer commit wrote the record after this one had planned. It is noticed before the first write, and the
// newer commit is synced.
func TestSyncTakesTheNewerCommitOfAnotherSyncer(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")), "First")
	p.sync("dev")
	p.commit(pipeline("a", plain("a", "2")), "Second")
	at, err := fetchNewest(p.Ctx, p.session.Source)
	if err != nil {
		t.Fatal(err)
	}
	p.commit(pipeline("a", plain("a", "3")), "Third")
	other := p.open("")
	if _, err := other.Sync(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: []string{"dev"}}}); err != nil {
		t.Fatal(err)
	}
	pass, err := p.session.syncCommit(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: []string{"dev"}}}, at)
	if err != nil || pass.Subject != "Third" {
		t.Errorf("%+v, %v", pass, err)
	}
	wantVerdicts(t, pass, "a@dev Unchanged")
	if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace+"-dev", "a"), "data", "key"); got != "3" {
		t.Errorf("a is %v", got)
	}
}

// upstream is a repository that a test writes.
type upstream struct {
	tip     string
	commits []source.Commit
	err     error
	fetches int
}

func (r *upstream) Fetch(context.Context) (source.Snapshot, error) {
	r.fetches++
	return source.Snapshot{Commit: r.tip}, r.err
}

func (r *upstream) Log(context.Context, string, int) ([]source.Commit, error) {
	return r.commits, r.err
}

func TestNewestCommitIsConfirmedBeforeTheFirstWrite(t *testing.T) {
	r := &upstream{tip: "a"}
	n, err := fetchNewest(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if r.tip = "b"; n.confirm(t.Context()) != nil || r.fetches != 1 {
		t.Error("a fresh answer is not enough")
	}
	expire := func() { n.asked = n.asked.Add(-time.Minute) }
	if expire(); !errors.Is(n.confirm(t.Context()), reconcile.ErrOutdated) {
		t.Error("a newer commit was not noticed")
	}
	r.err = errors.New("the repository is away")
	if expire(); n.confirm(t.Context()) != nil {
		t.Error("a repository that does not answer stops a sync")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if expire(); !errors.Is(n.confirm(stopped), context.Canceled) {
		t.Error("a sync that was stopped goes on")
	}
}

func TestPassesAreJoined(t *testing.T) {
	result := func(pipeline string, verdict reconcile.Verdict, failure error) reconcile.Result {
		return reconcile.Result{Pipeline: pipeline, Environment: "dev", Result: verdict, Detail: reconcile.Detail{Failure: failure}}
	}
	first := &Pass{Rewound: "a", Targets: []reconcile.Result{
		result("applied", reconcile.Applied, nil), result("overtaken", reconcile.Failed, reconcile.ErrOutdated), result("gone", reconcile.Applied, nil),
	}}
	if !first.overtaken() || (*Pass)(nil).overtaken() {
		t.Error("it is not known whether a target was left to another syncer")
	}
	later := &Pass{Targets: []reconcile.Result{
		result("applied", reconcile.Unchanged, nil), result("overtaken", reconcile.Unchanged, nil), result("new", reconcile.Applied, nil),
	}}
	joined := first.then(later)
	wantVerdicts(t, joined, "applied@dev Applied, overtaken@dev Unchanged, new@dev Applied")
	if joined.Rewound != "a" || joined.overtaken() || joined.Failures() != 0 {
		t.Errorf("%+v", joined)
	}
	if (*Pass)(nil).then(later) != later || first.then(nil) != nil {
		t.Error("one pass alone")
	}
}

// A sync that was stopped says so of each target that it did not come to.
func TestStoppedSyncFailsTheOtherTargets(t *testing.T) {
	p := newProject(t, "")
	commit := target.NewCommit([]*target.Desired{{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}, Environment: &p.session.Config.Environments[0], Settings: v1alpha1.PipelineSettings{DependsOn: []string{"b"}}, Level: 1},
		{Target: v1alpha1.Target{Pipeline: "b", Environment: "dev"}, Environment: &p.session.Config.Environments[0], Err: context.Canceled}})
	stopped, stop := context.WithCancel(t.Context())
	stop()
	results := p.session.reconcileAll(stopped, reconcile.NewPass(commit, p.session.Reconciler.Pins.NewLookups()), nil)
	for _, result := range results {
		if !errors.Is(result.Detail.Failure, context.Canceled) {
			t.Errorf("%s: %v", result.Target(), result.Detail.Failure)
		}
	}
	if len(results) != 2 {
		t.Errorf("%d results", len(results))
	}
}

func TestDelete(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")), "First")
	p.sync("dev")
	targets, incomplete, err := p.session.Planner.Recorded(p.Ctx, v1alpha1.Selection{})
	if err != nil || incomplete != nil || len(targets) != 1 {
		t.Fatalf("%v, %v, %v", targets, incomplete, err)
	}
	deleted, err := p.session.Delete(p.Ctx, targets[0])
	if err != nil || len(deleted) != 1 || deleted[0].Name != "a" {
		t.Errorf("%v, %v", deleted, err)
	}
}
