package pipeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

const (
	knownCommits = 2000 // by which a commit that nobody here has heard of is told from an old one
	// boardCalm is the time from a change to the view that shows it: a rollout changes many records at once.
	boardCalm = 100 * time.Millisecond
)

// board is where a daemon publishes what it knows. It follows the records of every environment by watches, also on a
// replica that stands by, so that all of them show the same. It is safe for concurrent use.
type board struct {
	runner *Runner
	wake   chan struct{} // something is to be published

	mu      sync.Mutex
	view    *view.View
	changed chan struct{} // closed when there is a newer view

	source  view.Source
	commits []view.Commit
	records map[string]cluster.Snapshot // by environment
	agenda  *target.Commit              // of the newest commit; nil: not planned yet
	replica view.Replica
	behinds map[v1alpha1.Target]behind
}

// behind is how far a target is behind a commit, so that it is counted once.
type behind struct {
	version string // of the record
	commit  string
	count   int
}

func newBoard(r *Runner) *board {
	b := &board{
		runner: r, wake: make(chan struct{}, 1), changed: make(chan struct{}), records: map[string]cluster.Snapshot{}, behinds: map[v1alpha1.Target]behind{},
		replica: view.Replica{Version: strings.TrimPrefix(r.agent, "syncer/"), Leads: []string{}},
	}
	s := r.Config.Source
	b.source = view.Source{URL: s.PublicURL(), Follows: cmp.Or(s.Branch, s.Tag, s.Semver, s.Commit)}
	b.view = b.assemble(r.dates().Date())
	return b
}

// View is what a Loop knows now. It is never nil and never changed.
func (r *Runner) View() *view.View {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	return r.board.view
}

// Changed is closed when there is a newer view than the one that View gave last.
func (r *Runner) Changed() <-chan struct{} {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	return r.board.changed
}

// fetched takes in what a look at the repository gave.
func (b *board) fetched(ctx context.Context, snap source.Snapshot, err error) {
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	known := b.source.Commit
	b.mu.Unlock()
	outcome := "unchanged"
	switch {
	case err != nil:
		outcome = "failed"
	case snap.Commit != known:
		outcome = "changed"
	}
	b.runner.metrics.git.WithLabelValues(outcome).Inc()
	var commits []view.Commit
	if err == nil && snap.Commit != known {
		log, failure := b.runner.source.Log(ctx, snap.Commit, knownCommits)
		if failure != nil {
			b.runner.log.Warn("reading the last commits", "error", failure)
		}
		for _, c := range log {
			commits = append(commits, view.Commit{Hash: c.Hash, Author: c.Author, Subject: c.Subject, Time: c.Time.UTC()})
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := b.source.Error
	b.source.Error = ""
	if err != nil {
		b.source.Error = err.Error()
	} else {
		at := b.runner.dates().Date().UTC()
		b.source.FetchedAt = &at
	}
	if err == nil && snap.Commit != known {
		b.source.Commit, b.commits = snap.Commit, commits
	}
	if snap.Commit != known || failed != b.source.Error {
		b.publishSoon()
		return
	}
	v := *b.view // who looks sees when the repository was read; nobody is woken for it
	v.Source = b.source
	b.view = &v
}

// knows reports whether a commit is among the last ones of the source.
func (b *board) knows(commit string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.commits, func(c view.Commit) bool { return c.Hash == commit })
}

// plannedFor takes in what the newest commit says of each target.
func (b *board) plannedFor(a *target.Commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agenda = a
	b.publishSoon()
}

// leads takes in which Leases this replica holds.
func (b *board) leads(leases []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replica.Leads = leases
	b.publishSoon()
}

// publishSoon has the next view made.
func (b *board) publishSoon() { signal(b.wake) }

// follow watches the records of the environments and publishes what changes, until the context ends.
func (b *board) follow(ctx context.Context, d *daemon) {
	b.mu.Lock()
	b.replica.Identity = d.options.Identity
	b.mu.Unlock()
	var watches sync.WaitGroup
	defer watches.Wait()
	b.watch(ctx, d, &watches)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		b.publish(ctx)
		if clock.Sleep(ctx, boardCalm) != nil {
			return
		}
	}
}

// watch follows the records of each cluster once, whatever number of environments is in it.
func (b *board) watch(ctx context.Context, d *daemon, watches *sync.WaitGroup) {
	environments, err := d.Config.Select(d.options.Environments)
	if err != nil {
		return // Loop has looked
	}
	byCluster := map[*cluster.Cluster][]string{}
	for _, environment := range environments {
		server, err := d.clusters.Of(environment)
		if err != nil {
			b.told([]string{environment.Name}, cluster.Snapshot{Err: err})
			continue
		}
		byCluster[server] = append(byCluster[server], environment.Name)
	}
	for server, names := range byCluster {
		watches.Go(func() {
			if err := server.Records().Follow(ctx, func(r cluster.Snapshot) { d.wakeDependents(b.told(names, r)) }); err != nil {
				b.told(names, cluster.Snapshot{Err: err})
			}
		})
	}
}

// anyRead says why the records of no environment were read yet; nil: some were.
func (b *board) anyRead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.New("the records of the environments are being read")
	for _, records := range b.records {
		if records.List != nil {
			return nil
		}
		err = cmp.Or(records.Err, err)
	}
	return err
}

// told takes in the records of environments that are in one cluster, and returns the targets whose record changed.
func (b *board) told(environments []string, records cluster.Snapshot) (changed map[v1alpha1.Target]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = changedRecords(environments, b.records[environments[0]].List, records.List)
	for _, name := range environments {
		b.records[name] = records
	}
	b.publishSoon()
	return changed
}

// changedRecords lists the targets whose record is new in some environments, or has another version than before.
func changedRecords(environments []string, before, now []*v1alpha1.PipelineSync) map[v1alpha1.Target]bool {
	versions, changed := map[string]string{}, map[v1alpha1.Target]bool{}
	for _, record := range before {
		versions[record.Name] = record.ResourceVersion
	}
	for _, record := range now {
		if slices.Contains(environments, record.Spec.Environment) && versions[record.Name] != record.ResourceVersion {
			changed[v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}] = true
		}
	}
	return changed
}

// publish makes a view of what is known now.
func (b *board) publish(ctx context.Context) {
	b.count(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view = b.assemble(b.runner.dates().Date())
	close(b.changed)
	b.changed = make(chan struct{})
}

// count counts how far targets are behind, where a record or the commit has changed since it was last counted.
func (b *board) count(ctx context.Context) {
	b.mu.Lock()
	a, commit := b.agenda, b.source.Commit
	records := map[string]cluster.Snapshot{}
	for name, r := range b.records {
		records[name] = r
	}
	b.mu.Unlock()
	if a == nil {
		return
	}
	works := map[v1alpha1.Target]*target.Desired{}
	for _, w := range a.All() {
		works[w.Target] = w
	}
	counted := map[v1alpha1.Target]behind{}
	for environment, r := range records {
		for _, record := range r.List {
			target := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: environment}
			w := works[target]
			if record.Spec.Environment != environment || w == nil {
				continue
			}
			now := behind{version: record.ResourceVersion, commit: w.Snapshot.Commit}
			if last := b.behinds[target]; last.version == now.version && last.commit == now.commit {
				counted[target] = last
				continue
			}
			now.count = -1
			_ = b.runner.guarded(target, func() error { // not known, then
				now.count = b.runner.behindOf(ctx, w, record, commit)
				return nil
			})
			counted[target] = now
		}
	}
	b.mu.Lock()
	b.behinds = counted
	b.mu.Unlock()
}

// behindOf counts the commits since the one last applied, where the newest one says something else for a target; -1: not
// known.
func (r *Runner) behindOf(ctx context.Context, w *target.Desired, record *v1alpha1.PipelineSync, newest string) int {
	applied := record.Status.LastAppliedCommit
	if applied == "" || w.Err != nil || w.Snapshot.Commit != newest || w.Overlay == "" {
		return -1
	}
	if applied == newest {
		return 0
	}
	set, err := w.Applicable(w.Recorded(record), w.Cluster.Namespace())
	if err != nil {
		return -1
	}
	if same, err := inventory.IsApplied(ctx, w.Cluster, record, set); err == nil && same {
		return 0
	}
	commits, err := r.source.Since(ctx, applied, newest)
	if err != nil {
		return -1 // history may not have been fetched that far
	}
	return len(commits)
}

// assemble builds a view. The caller holds the lock.
func (b *board) assemble(now time.Time) *view.View {
	facts := view.Facts{
		At: now, Config: b.runner.Config, Source: b.source, Replica: b.replica, Commits: b.commits,
		Records: map[string]view.Records{}, Settings: b.settings(), Behind: map[v1alpha1.Target]int{},
		Underway: b.runner.underway.said, Guard: b.runner.guarded,
	}
	for environment, records := range b.records {
		facts.Records[environment] = view.Records{List: records.List, Err: records.Err}
	}
	for of, known := range b.behinds {
		facts.Behind[of] = known.count
	}
	return view.New(facts)
}

// settings returns what pipeline.yaml and the layout say of each target. The caller holds the lock.
func (b *board) settings() map[v1alpha1.Target]view.Settings {
	out := map[v1alpha1.Target]view.Settings{}
	if b.agenda == nil {
		return out
	}
	for _, w := range b.agenda.All() {
		out[w.Target] = view.Settings{Owner: w.Settings.Owner, Folder: target.Folder(b.runner.Config.Source.Layout, w.Target)}
	}
	return out
}
