package publish

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// history answers which commits are newer than another one.
type history func(from, to string) ([]source.Commit, error)

func (h history) Since(_ context.Context, from, to string) ([]source.Commit, error) {
	return h(from, to)
}

// newTest is a publisher of the environment dev, without a cluster.
func newTest(edit ...func(*Parts)) *Publisher {
	parts := Parts{
		Config:   &v1alpha1.Config{Name: "test", Source: v1alpha1.Source{URL: "/repo", Branch: "main"}, Environments: []v1alpha1.Environment{{Name: "dev"}}},
		Clusters: target.NewClusters(cluster.Options{}), Dates: target.Dates{Now: time.Now}, Identity: "me", Version: "1.2.3",
		Underway: func(v1alpha1.Target) string { return "" },
	}
	for _, change := range edit {
		change(&parts)
	}
	return New(parts)
}

// recordIn is the record of a pipeline in dev.
func recordIn(pipeline string) *v1alpha1.PipelineSync {
	record := &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Owner: "test", Pipeline: pipeline, Environment: "dev"}}
	record.Name, record.ResourceVersion = pipeline+".dev", "1"
	return record
}

// records are records that can be read.
func records(all ...*v1alpha1.PipelineSync) cluster.Shown {
	return cluster.Shown{Read: true, Changed: all, List: func() []*v1alpha1.PipelineSync { return all }}
}

// A view costs something for every target. So none is made where nobody asks, and each change has one made while somebody
// does.
func TestViewsAreMadeWhileSomebodyReadsThem(t *testing.T) {
	p := newTest()
	made, names := 0, []string{"a"}
	change := func(changed ...string) map[v1alpha1.Target]bool {
		shown := cluster.Shown{Read: true, List: func() (all []*v1alpha1.PipelineSync) {
			made++
			for _, name := range names {
				all = append(all, recordIn(name))
			}
			return all
		}}
		for _, name := range changed {
			shown.Changed = append(shown.Changed, recordIn(name))
		}
		told, _ := p.read([]string{"dev"}, shown)
		return told
	}
	publish := func() {
		t.Helper()
		before := p.Newer()
		p.publish(t.Context())
		select {
		case <-before:
		default:
			t.Error("a reader that waits is not told of a change")
		}
	}

	if changed := change("a"); len(changed) != 1 || !changed[v1alpha1.Target{Pipeline: "a", Environment: "dev"}] {
		t.Errorf("changed: %v", changed)
	}
	publish()
	publish()
	if made != 0 {
		t.Errorf("%d views were made for nobody", made)
	}
	if v := p.Current(); len(v.Targets) != 1 || p.Current() != v || made != 1 {
		t.Errorf("the first reader gets %d targets; %d views were made", len(v.Targets), made)
	}
	names = append(names, "b")
	change("b")
	publish()
	if v := p.Current(); len(v.Targets) != 2 || made != 2 {
		t.Errorf("a reader gets %d targets; %d views were made", len(v.Targets), made)
	}
	p.asked = time.Now().Add(-2 * readTime)
	change()
	publish()
	if made != 2 {
		t.Errorf("%d views were made, the last ones for nobody", made)
	}
	names = append(names, "c")
	if v := p.Current(); len(v.Targets) != 3 || made != 3 {
		t.Errorf("a reader after a while gets %d targets; %d views were made", len(v.Targets), made)
	}
}

// wakes reports whether a function requests a view.
func wakes(p *Publisher, do func()) bool {
	do()
	select {
	case <-p.wake:
		return true
	default:
		return false
	}
}

func TestAnswersOfTheRepositoryAreShown(t *testing.T) {
	p := newTest()
	p.Current()
	two := []source.Commit{{Hash: "b", Subject: "Two", Time: time.Unix(2, 0)}, {Hash: "a", Subject: "One"}}
	for _, step := range []struct {
		what  string
		do    func()
		wakes bool
		shown string // COMMIT ERROR
	}{
		{"a try that fails", func() { p.FetchFailed(errors.New("no answer")) }, true, " no answer"},
		{"another one", func() { p.FetchFailed(errors.New("no answer")) }, false, " no answer"},
		{"the first commit", func() { p.Fetched(source.Snapshot{Commit: "b"}, two, nil) }, true, "b "},
		{"no new commit", func() { p.Fetched(source.Snapshot{Commit: "b"}, nil, nil) }, false, "b "},
		{"a failure", func() { p.Fetched(source.Snapshot{}, nil, errors.New("refused")) }, true, "b refused"},
		{"its end", func() { p.Fetched(source.Snapshot{Commit: "b"}, nil, nil) }, true, "b "},
	} {
		if got := wakes(p, step.do); got != step.wakes {
			t.Errorf("%s has a view made: %t", step.what, got)
		}
		if of := p.Source(); of.Commit+" "+of.Error != step.shown {
			t.Errorf("after %s it shows %q %q, want %q", step.what, of.Commit, of.Error, step.shown)
		}
	}
	if !p.Knows("a") || !p.Knows("b") || p.Knows("c") {
		t.Error("it does not know the commits that were read last")
	}
	p.publish(t.Context())
	v := p.Current()
	if len(v.Commits) != 2 || v.Commits[0].Subject != "Two" || v.Source.Follows != "main" || v.Replica.Version != "1.2.3" {
		t.Errorf("the view has %v, %v, %v", v.Commits, v.Source, v.Replica)
	}
	before := *v.Source.FetchedAt
	p.Fetched(source.Snapshot{Commit: "b"}, nil, nil)
	if at := p.Current().Source.FetchedAt; !at.After(before) || !v.Source.FetchedAt.Equal(before) {
		t.Error("a view does not say when the repository was last read, or a view that is read was changed")
	}
}

func TestLeasesAndRecordsOfAReplicaAreShown(t *testing.T) {
	p := newTest()
	if err := p.AnyRead(); err == nil || !strings.Contains(err.Error(), "being read") {
		t.Errorf("before the first answer: %v", err)
	}
	if !wakes(p, func() { p.Leads([]string{"syncer-test"}) }) {
		t.Error("a new Lease has no view made")
	}
	away := errors.New("the API server does not answer")
	for _, step := range []struct {
		shown    cluster.Shown
		readable bool
		err      error
	}{
		{cluster.Shown{Err: away}, false, away},
		{records(recordIn("a")), true, nil},
		{records(recordIn("a")), false, nil},
		{cluster.Shown{Read: true, List: records(recordIn("a")).List, Err: away}, false, nil},
		{records(recordIn("a"), &v1alpha1.PipelineSync{}), true, nil},
	} {
		changed, readable := p.read([]string{"dev", "test"}, step.shown)
		if readable != step.readable || !errors.Is(p.AnyRead(), step.err) {
			t.Errorf("readable %t, %v; want %t, %v", readable, p.AnyRead(), step.readable, step.err)
		}
		if len(changed) > 1 {
			t.Errorf("a record of another environment counts: %v", changed)
		}
	}
	if leads := p.Current().Replica.Leads; !slices.Equal(leads, []string{"syncer-test"}) {
		t.Errorf("it leads %q", leads)
	}
}

// away is a cluster that does not answer. Without a Secret in a set, no request is made.
func away(t *testing.T) *cluster.Cluster {
	t.Helper()
	server, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1"}, connect.Limits{}, cluster.Options{Namespace: "syncer-system"})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// desired is what commit "new" says of a target of dev, with one ConfigMap.
func desired(t *testing.T, name string) *target.Desired {
	t.Helper()
	return &target.Desired{
		Target: v1alpha1.Target{Pipeline: name, Environment: "dev"}, Cluster: away(t), Overlay: "overlay", Snapshot: source.Snapshot{Commit: "new"},
		Rendered: target.Rendered{From: &target.Rendering{}, Set: manifest.Pack((&bench.Bench{T: t}).Set(bench.Settings("settings", "1")))},
	}
}

func TestHowFarATargetIsBehind(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*target.Desired, *v1alpha1.PipelineSync)
		want int
	}{
		"an older commit is applied":            {func(*target.Desired, *v1alpha1.PipelineSync) {}, 2},
		"none is applied":                       {func(_ *target.Desired, r *v1alpha1.PipelineSync) { r.Status.LastAppliedCommit = "" }, -1},
		"the newest one is applied":             {func(_ *target.Desired, r *v1alpha1.PipelineSync) { r.Status.LastAppliedCommit = "new" }, 0},
		"it cannot be rendered":                 {func(d *target.Desired, _ *v1alpha1.PipelineSync) { d.Err = errors.New("not YAML") }, -1},
		"it left git":                           {func(d *target.Desired, _ *v1alpha1.PipelineSync) { d.Overlay = "" }, -1},
		"the plan is of an older commit":        {func(d *target.Desired, _ *v1alpha1.PipelineSync) { d.Snapshot.Commit = "old" }, -1},
		"the history does not reach so far":     {func(_ *target.Desired, r *v1alpha1.PipelineSync) { r.Status.LastAppliedCommit = "ancient" }, -1},
		"the newest one changes nothing of it":  {isApplied(t), 0},
		"the newest one is not trusted":         {refuses("old"), 2},
		"it follows no commit yet":              {refuses(""), 2},
		"the count panics, which fails no view": {func(d *target.Desired, _ *v1alpha1.PipelineSync) { d.Cluster = nil }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTest(func(parts *Parts) {
				parts.Source = history(func(from, to string) ([]source.Commit, error) {
					if from != "old" || to != "new" {
						return nil, errors.New("not fetched so far")
					}
					return make([]source.Commit, 2), nil
				})
			})
			d, record := desired(t, "a"), recordIn("a")
			record.Status.LastAppliedCommit = "old"
			c.edit(d, record)
			p.Fetched(source.Snapshot{Commit: "new"}, nil, nil)
			p.Planned(target.NewCommit([]*target.Desired{d}))
			p.read([]string{"dev"}, records(record))
			p.Current()
			if got := p.behinds[d.Target].count; got != c.want {
				t.Errorf("it is %d commits behind, want %d", got, c.want)
			}
		})
	}
}

// refuses has a target stay at a commit, because the newest one is not signed as its environment demands.
func refuses(inForce string) func(*target.Desired, *v1alpha1.PipelineSync) {
	return func(d *target.Desired, _ *v1alpha1.PipelineSync) {
		d.Snapshot.Commit, d.Signature.Refused = inForce, &follow.Refusal{Commit: "new", InForce: inForce}
	}
}

// isApplied edits a record so that it has all that a target wants.
func isApplied(t *testing.T) func(*target.Desired, *v1alpha1.PipelineSync) {
	return func(d *target.Desired, record *v1alpha1.PipelineSync) {
		set, err := d.Applicable(nil, d.Cluster.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range set {
			hash, err := manifest.Hash(obj, nil)
			if err != nil {
				t.Fatal(err)
			}
			record.Status.Inventory = append(record.Status.Inventory, v1alpha1.InventoryEntry{Hash: hash})
		}
	}
}

// A count may walk through much of the history. It is made again only where a record or the commit has changed, and a target
// that left git is forgotten.
func TestATargetIsCountedOnceForACommitAndARecord(t *testing.T) {
	counts := 0
	p := newTest(func(parts *Parts) {
		parts.Source = history(func(string, string) ([]source.Commit, error) {
			counts++
			return make([]source.Commit, 1), nil
		})
	})
	d, record := desired(t, "a"), recordIn("a")
	record.Status.LastAppliedCommit = "old"
	p.Fetched(source.Snapshot{Commit: "new"}, nil, nil)
	p.Planned(target.NewCommit([]*target.Desired{d}))
	wantCounts := func(what string, want int) {
		t.Helper()
		p.read([]string{"dev"}, records(record))
		p.publish(t.Context())
		p.Current()
		if counts != want {
			t.Errorf("%s: the history was asked %d times, want %d", what, counts, want)
		}
	}
	wantCounts("first", 1)
	wantCounts("again", 1)
	edited := *record
	edited.ResourceVersion = "2"
	record = &edited
	wantCounts("with another record", 2)
	next := *d
	next.Snapshot.Commit = "newer"
	p.Fetched(source.Snapshot{Commit: "newer"}, nil, nil)
	p.Planned(target.NewCommit([]*target.Desired{&next}))
	wantCounts("with another commit", 3)
	next.Signature.Refused = &follow.Refusal{Commit: "newest", InForce: "newer"}
	p.Fetched(source.Snapshot{Commit: "newest"}, nil, nil)
	wantCounts("with a commit that is not trusted", 4)
	wantCounts("with it, again", 4)
	p.Planned(target.NewCommit(nil))
	wantCounts("gone from git", 4)
	if len(p.behinds) > 0 {
		t.Errorf("a target that is gone is remembered: %v", p.behinds)
	}
}

// The records of all environments of a cluster come by one watch. A cluster that cannot be reached hides no other one.
func TestRecordsAreFollowed(t *testing.T) {
	b := bench.New(t)
	p := newTest(func(parts *Parts) {
		parts.Config.Environments = []v1alpha1.Environment{
			{Name: "prod", Cluster: v1alpha1.Cluster{Kubeconfig: b.Plane.Kubeconfig}}, {Name: "test", Cluster: v1alpha1.Cluster{Kubeconfig: b.Plane.Kubeconfig}},
			{Name: "gone", Cluster: v1alpha1.Cluster{Kubeconfig: filepath.Join(t.TempDir(), "none")}}, {Name: "unselected"},
		}
		parts.Environments, parts.Clusters = []string{"prod", "test", "gone"}, target.NewClusters(cluster.Options{Namespace: b.Records})
	})
	var mu sync.Mutex
	calls, told := map[string]int{}, map[v1alpha1.Target]bool{}
	ctx, cancel := context.WithCancel(b.Ctx)
	var running sync.WaitGroup
	running.Go(func() {
		p.Run(ctx, func(environments []string, changed map[v1alpha1.Target]bool, readable bool) {
			mu.Lock()
			defer mu.Unlock()
			if readable {
				calls[strings.Join(environments, " ")]++
			}
			for of := range changed {
				told[of] = true
			}
		})
	})
	defer running.Wait()
	defer cancel()
	b.Eventually("the records can be read", func() bool { return p.AnyRead() == nil })
	b.Deploy(b.Set(bench.Settings("settings", "1")))
	b.Eventually("the view has the target", func() bool { return p.Current().Target("orders", "prod") != nil })
	b.Eventually("the change is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told[b.Target] && len(calls) == 1 && calls["prod test"] == 1
	})
	v := p.Current()
	if v.Replica.Identity != "me" || len(p.facts.records) != 3 || p.facts.records["gone"].Err == nil {
		t.Errorf("the view is of %q, with %d environments; gone says %v", v.Replica.Identity, len(p.facts.records), p.facts.records["gone"].Err)
	}
}
