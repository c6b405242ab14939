// Package publish makes the views of a daemon: it follows the records of every environment, keeps what is known of the repository
// and of the newest commit, and counts how far each target is behind. It writes nothing.
package publish

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

const (
	// viewDebounce is the time from a change to the view that shows it: a rollout changes many records at once.
	viewDebounce = 100 * time.Millisecond
	// readTime is how long after a question for a view the next ones are made without a question.
	readTime = time.Minute
	// makeTimeout bounds the making of a view that somebody waits for: it counts commits, and may ask for the key of hashes.
	makeTimeout = 10 * time.Second
)

// Parts are what a publisher works with.
type Parts struct {
	Config *v1alpha1.Config
	// Environments whose records are followed; empty: all.
	Environments []string
	Clusters     *target.Clusters
	Source       Source
	Dates        target.Dates
	Guard        target.Guard
	// Underway says the message of a target that a commit is on its way to; empty: none is.
	Underway func(v1alpha1.Target) string
	// Identity names this process among its replicas, and Version its build.
	Identity, Version string
}

// Source knows the history of the repository. A *source.Repository does.
type Source interface {
	Since(ctx context.Context, from, to string) ([]source.Commit, error)
}

// Publisher makes the views of a daemon, while somebody reads them. It follows the records of every environment by watches,
// also on a replica that stands by, so that all replicas show the same. It is safe for concurrent use.
type Publisher struct {
	parts Parts
	wake  chan struct{} // requests a view

	making  sync.Mutex // held while a view is made; before mu
	behinds map[v1alpha1.Target]behind
	kept    view.Kept

	mu      sync.Mutex
	view    *view.View    // nil: it is made when somebody asks
	asked   time.Time     // when somebody asked last
	changed chan struct{} // closed when there is a newer view
	facts   facts
}

// facts are what views are made of.
type facts struct {
	source  view.Source
	commits []view.Commit
	records map[string]cluster.Shown // by environment
	planned *target.Commit           // the newest commit; nil: not planned yet
	replica view.Replica
}

// behind is how far a target is behind a commit, so that it is counted once.
type behind struct {
	version string // of the record
	commit  string
	from    weak.Pointer[target.Rendering]
	count   int
}

// New returns a publisher that follows no records before Run.
func New(parts Parts) *Publisher {
	s := parts.Config.Source
	return &Publisher{
		parts: parts, wake: make(chan struct{}, 1), changed: make(chan struct{}), behinds: map[v1alpha1.Target]behind{},
		facts: facts{
			source:  view.Source{URL: s.PublicURL(), Follows: cmp.Or(s.Branch, s.Tag, s.Semver, s.Commit)},
			records: map[string]cluster.Shown{},
			replica: view.Replica{Version: parts.Version, Leads: []string{}},
		},
	}
}

// Current returns the newest view. It makes one where nobody has asked for a view in a while.
func (p *Publisher) Current() *view.View {
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	p.asked = time.Now()
	v := p.view
	p.mu.Unlock()
	if v != nil {
		return v
	}
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	return p.make(ctx)
}

// Newer is closed when there is a newer view than the current one.
func (p *Publisher) Newer() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Source returns what is known of the repository.
func (p *Publisher) Source() view.Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.facts.source
}

// Fetched publishes the answer of the repository, with the last commits where it has a new one.
func (p *Publisher) Fetched(snap source.Snapshot, commits []source.Commit, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := &p.facts.source
	known, failed := of.Commit, of.Error
	of.Error = ""
	if err != nil {
		of.Error = err.Error()
	} else {
		at := p.parts.Dates.Date().UTC()
		of.FetchedAt = &at
	}
	if err == nil && snap.Commit != known {
		of.Commit, p.facts.commits = snap.Commit, shown(commits)
	}
	if snap.Commit != known || failed != of.Error {
		p.PublishSoon()
		return
	}
	if p.view != nil {
		v := *p.view // a reader sees when the repository was read; no reader is woken for it
		v.Source = *of
		p.view = &v
	}
}

// shown returns commits as views have them.
func shown(log []source.Commit) (out []view.Commit) {
	for _, c := range log {
		out = append(out, view.Commit{Hash: c.Hash, Author: c.Author, Subject: c.Subject, Time: c.Time.UTC()})
	}
	return out
}

// FetchFailed shows why the repository is not read yet.
func (p *Publisher) FetchFailed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.facts.source.Error != err.Error() {
		p.facts.source.Error = err.Error()
		p.PublishSoon()
	}
}

// Knows reports whether a commit is among the last ones of the source.
func (p *Publisher) Knows(commit string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.facts.commits, func(c view.Commit) bool { return c.Hash == commit })
}

// Planned publishes what the newest commit says of each target.
func (p *Publisher) Planned(commit *target.Commit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts.planned = commit
	p.PublishSoon()
}

// Leads publishes which Leases this replica holds.
func (p *Publisher) Leads(leases []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts.replica.Leads = leases
	p.PublishSoon()
}

// PublishSoon requests the next view.
func (p *Publisher) PublishSoon() {
	select {
	case p.wake <- struct{}{}:
	default: // it is requested already
	}
}

// RecordsChanged receives the environments of a cluster, their targets whose record changed, and whether their records can be
// read that could not be before.
type RecordsChanged func(environments []string, changed map[v1alpha1.Target]bool, readable bool)

// Run follows the records of the environments and publishes what changes, until the context ends.
func (p *Publisher) Run(ctx context.Context, changed RecordsChanged) {
	p.mu.Lock()
	p.facts.replica.Identity = p.parts.Identity
	p.mu.Unlock()
	var watches sync.WaitGroup
	defer watches.Wait()
	p.follow(ctx, &watches, changed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.publish(ctx)
		if clock.Sleep(ctx, viewDebounce) != nil {
			return
		}
	}
}

// follow watches the records of each cluster once, also where several environments are in it.
func (p *Publisher) follow(ctx context.Context, watches *sync.WaitGroup, changed RecordsChanged) {
	environments, err := p.parts.Config.Select(p.parts.Environments)
	if err != nil {
		return // the daemon has checked it
	}
	byCluster := map[*cluster.Cluster][]string{}
	for _, environment := range environments {
		server, err := p.parts.Clusters.Of(environment)
		if err != nil {
			p.read([]string{environment.Name}, cluster.Shown{Err: err})
			continue
		}
		byCluster[server] = append(byCluster[server], environment.Name)
	}
	for server, names := range byCluster {
		watches.Go(func() {
			if err := server.Records().Follow(ctx, func(s cluster.Shown) {
				targets, readable := p.read(names, s)
				changed(names, targets, readable)
			}); err != nil {
				p.read(names, cluster.Shown{Err: err})
			}
		})
	}
}

// AnyRead says why the records of no environment were read yet; nil: some were.
func (p *Publisher) AnyRead() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.New("the records of the environments are being read")
	for _, records := range p.facts.records {
		if records.Read {
			return nil
		}
		err = cmp.Or(records.Err, err)
	}
	return err
}

// read publishes the records of environments that are in one cluster. It returns the targets whose record changed, and whether
// the records could not be read before.
func (p *Publisher) read(environments []string, records cluster.Shown) (changed map[v1alpha1.Target]bool, readable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.facts.records[environments[0]]
	readable = (!before.Read || before.Err != nil) && records.Read && records.Err == nil
	for _, name := range environments {
		p.facts.records[name] = cluster.Shown{Read: records.Read, List: records.List, Err: records.Err}
	}
	p.PublishSoon()
	changed = map[v1alpha1.Target]bool{}
	for _, record := range records.Changed {
		if slices.Contains(environments, record.Spec.Environment) {
			changed[v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}] = true
		}
	}
	return changed, readable
}

// publish makes a view of what is known now. It makes none where nobody has asked for one in a while: a view costs time and
// memory for every target.
func (p *Publisher) publish(ctx context.Context) {
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	isRead := time.Since(p.asked) < readTime
	p.view = nil
	p.mu.Unlock()
	if isRead {
		p.make(ctx)
	} else {
		p.kept = view.Kept{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// make makes a view of what is known now. The caller holds making.
func (p *Publisher) make(ctx context.Context) *view.View {
	p.mu.Lock()
	known := p.facts
	known.records = maps.Clone(p.facts.records)
	p.mu.Unlock()
	lists := map[string]view.Records{}
	for environment, records := range known.records {
		lists[environment] = view.Records{Err: records.Err}
		if records.Read {
			lists[environment] = view.Records{List: records.List(), Err: records.Err}
		}
	}
	if known.planned != nil {
		p.countBehind(ctx, known, lists)
	}
	v := p.assemble(known, lists)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view = v
	return v
}

// countBehind counts how far targets are behind, where a record or the commit has changed since the last count.
func (p *Publisher) countBehind(ctx context.Context, known facts, lists map[string]view.Records) {
	counted := map[v1alpha1.Target]behind{}
	for environment, r := range lists {
		for _, record := range r.List {
			of := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: environment}
			d := known.planned.Find(of)
			if record.Spec.Environment != environment || d == nil {
				continue
			}
			now := behind{version: record.ResourceVersion, commit: d.Snapshot.Commit, from: weak.Make(d.Rendered.From)}
			if d.Signature.Refused != nil { // each newer commit counts
				now.commit, now.from = known.source.Commit, weak.Pointer[target.Rendering]{}
			}
			if last := p.behinds[of]; last.version == now.version && (last.commit == now.commit || last.count == 0 && d.Signature.Refused == nil && d.Rendered.From != nil && last.from == now.from) {
				now.count = last.count // a commit that leaves the target as it is leaves it up to date
				counted[of] = now
				continue
			}
			now.count = -1
			_ = p.parts.Guard.Call(of, func() error { // after a panic it is not known
				now.count = p.behindOf(ctx, d, record, known.source.Commit)
				return nil
			})
			counted[of] = now
		}
	}
	p.behinds = counted
}

// behindOf counts the commits since the one last applied, where the newest one changes a target; -1: not known. Where the newest
// one is not trusted, it counts those since the one in force: whether they change the target is not known.
func (p *Publisher) behindOf(ctx context.Context, d *target.Desired, record *v1alpha1.PipelineSync, newest string) int {
	applied := record.Status.LastAppliedCommit
	if refused := d.Signature.Refused; refused != nil && applied != "" && refused.Commit == newest {
		return p.count(ctx, cmp.Or(refused.InForce, applied), newest)
	}
	if applied == "" || d.Err != nil || d.Snapshot.Commit != newest || d.Overlay == "" {
		return -1
	}
	if applied == newest {
		return 0
	}
	set, err := d.Applicable(d.Recorded(record), d.Cluster.Namespace())
	if err != nil {
		return -1
	}
	if same, err := inventory.IsApplied(ctx, d.Cluster, record, set); err == nil && same {
		return 0
	}
	return p.count(ctx, applied, newest)
}

// count counts the commits after one, up to another; -1: not known.
func (p *Publisher) count(ctx context.Context, from, to string) int {
	commits, err := p.parts.Source.Since(ctx, from, to)
	if err != nil {
		return -1 // history may not have been fetched that far
	}
	return len(commits)
}

// assemble makes a view of some facts. The caller holds making.
func (p *Publisher) assemble(known facts, lists map[string]view.Records) *view.View {
	f := view.Facts{
		At: p.parts.Dates.Date(), Config: p.parts.Config, Source: known.source, Replica: known.replica, Commits: known.commits,
		Records: lists, Settings: p.settings(known.planned), Behind: map[v1alpha1.Target]int{},
		Underway: p.parts.Underway, Guard: p.parts.Guard.Call, Kept: &p.kept,
	}
	for of, known := range p.behinds {
		f.Behind[of] = known.count
	}
	return view.New(f)
}

// settings returns what pipeline.yaml and the layout say of each target.
func (p *Publisher) settings(commit *target.Commit) map[v1alpha1.Target]view.Settings {
	out := map[v1alpha1.Target]view.Settings{}
	if commit == nil {
		return out
	}
	for _, d := range commit.All() {
		out[d.Target] = view.Settings{
			Owner: d.Settings.Owner, Folder: target.Folder(p.parts.Config.Source.Layout, d.Target), LeftGit: d.Overlay == "",
		}
	}
	return out
}
