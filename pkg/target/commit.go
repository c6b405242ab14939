package target

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/source"
)

// Planner plans each target from a commit and the records. Only one of its methods may run at a time.
type Planner struct {
	Config   *v1alpha1.Config
	Source   Repository
	Clusters *Clusters
	// Renderings are kept from commit to commit, so that a commit costs only its changes.
	Renderings *Renderings
	// Trust says which environments follow only signed commits.
	Trust follow.Trust
	// Guard calls a function that is about one target, or one environment, and returns its panic as an error.
	Guard func(v1alpha1.Target, func() error) error
	Log   *slog.Logger

	pipelines map[string]*Pipeline // of the commit discovered last
	trail     trail
	names     names
}

// Repository is the history that a Planner reads. A *source.Repository is one.
type Repository interface {
	// Since lists the commits after one commit up to another, the newest first; all of them after "".
	Since(ctx context.Context, from, to string) ([]source.Commit, error)
	follow.History
}

// Commit is the plan of all targets from one commit and the records. It is not written after Plan has returned it.
type Commit struct {
	// Targets are the selected targets, sorted.
	Targets []*Desired
	// Others are the targets that were not selected. They are not rendered.
	Others []*Desired
	// Retired are targets that left git before, and whose records are still there.
	Retired []*Desired
	// Incomplete has an error for each environment whose records cannot be read.
	Incomplete []error
	// Unread names these environments.
	Unread []string
	// Refused are the environments that do not follow the commit, because it is not signed as they demand.
	Refused []*follow.Refusal
	// Allowed holds the permissions in the trailers of the commits that are new to the targets.
	Allowed Allowed
	// Neighbours are the targets of each cluster, with the objects that git names for them at this commit. A target that a
	// limit refuses is one of them: git still names its objects, and another target may take them over.
	Neighbours map[*cluster.Cluster]neighbour.All

	layout   string         // of the repository
	recorded map[string]int // the number of targets with a record in each environment, selected or not
	index    map[v1alpha1.Target]*Desired
	base     *Commit // of Only
}

// NewCommit returns a commit with targets that are selected, and others.
func NewCommit(targets []*Desired, others ...*Desired) *Commit {
	c := &Commit{Targets: targets, Others: others}
	c.makeIndex()
	n := &names{}
	n.update(c.All())
	c.findNeighbours(n)
	return c
}

// All lists every target of the environments that were read, the ones that were not selected included.
func (c *Commit) All() []*Desired { return slices.Concat(c.Targets, c.Others) }

// Find returns a target; nil where it does not exist.
func (c *Commit) Find(target v1alpha1.Target) *Desired {
	if c.base != nil && c.Targets[0].Target != target {
		return c.base.Find(target)
	}
	return c.index[target]
}

// Only returns a commit with one selected target, whose record is newer than that of the others. Find gives the others as
// they were planned; All does not list them.
func (c *Commit) Only(d *Desired, allowed Allowed) *Commit {
	out := NewCommit([]*Desired{d})
	out.Allowed, out.base = allowed, c
	return out
}

func (c *Commit) makeIndex() {
	c.index = make(map[v1alpha1.Target]*Desired, len(c.Targets)+len(c.Others))
	for _, d := range c.All() {
		c.index[d.Target] = d
	}
}

// Plan finds the targets of a snapshot and of the records, and renders them. It keeps an error of one target in that
// target. The targets of an environment that does not trust the commit are those of the commit that stays in force there.
func (p *Planner) Plan(ctx context.Context, snap source.Snapshot, selection v1alpha1.Selection) (*Commit, error) {
	return p.plan(ctx, newest{snap: snap}, selection)
}

// Preview is Plan with every environment at the commit. Refused has the environments that would not follow it.
func (p *Planner) Preview(ctx context.Context, snap source.Snapshot, selection v1alpha1.Selection) (*Commit, error) {
	return p.plan(ctx, newest{snap: snap, preview: true}, selection)
}

func (p *Planner) plan(ctx context.Context, at newest, selection v1alpha1.Selection) (*Commit, error) {
	environments, err := p.Config.Select(selection.Environments)
	if err != nil {
		return nil, err
	}
	if at.pipelines, at.err = p.Discover(at.snap); at.err != nil && !p.Trust.DemandsAny() {
		return nil, at.err
	}
	c := &Commit{layout: p.Config.Source.Layout, recorded: map[string]int{}}
	known := map[string]bool{}
	reads := p.read(ctx, environments, at)
	c.Refused = refusals(reads)
	for i, environment := range environments {
		if err := reads[i].err; err != nil {
			c.Incomplete = append(c.Incomplete, fmt.Errorf("environment %s: %w", environment.Name, err))
			c.Unread = append(c.Unread, environment.Name)
		}
		for _, d := range reads[i].targets {
			if d.Overlay == "" && d.Record.Status.RemovedAt != nil {
				c.Retired = append(c.Retired, d)
				continue
			}
			known[d.Target.Pipeline] = true
			if d.Record != nil {
				c.recorded[environment.Name]++
			}
			if len(selection.Pipelines) == 0 || slices.Contains(selection.Pipelines, d.Target.Pipeline) {
				c.Targets = append(c.Targets, d)
			} else {
				c.Others = append(c.Others, d)
			}
		}
	}
	if err := checkSelection(selection, at.pipelines, known, len(c.Incomplete)+len(c.Refused) == 0); err != nil {
		return nil, err
	}
	slices.SortFunc(c.Targets, func(x, y *Desired) int { return x.Target.Compare(y.Target) })
	c.makeIndex()
	p.render(ctx, c.Targets, at.snap)
	p.names.update(c.All())
	p.names.claim(c)
	c.orderByDependency()
	p.trail.advance(ctx, p.Source, at.snap)
	c.Allowed = p.Trailers(ctx, c.Targets)
	c.findNeighbours(&p.names) // before the limits
	if err := p.addUnplanned(ctx, c, at); err != nil {
		return nil, err
	}
	c.limitRemovals()
	c.limitPrunes()
	return c, nil
}

// Discover finds the pipelines of a snapshot in every environment of the configuration.
func (p *Planner) Discover(snap source.Snapshot) ([]*Pipeline, error) {
	pipelines, err := p.discoverWith(snap, p.pipelines)
	if err != nil {
		return nil, err
	}
	p.pipelines = map[string]*Pipeline{}
	for _, pipeline := range pipelines {
		p.pipelines[pipeline.Name] = pipeline
	}
	return pipelines, nil
}

// discoverWith is Discover with the pipelines of another snapshot, of which those stay whose folders are the same.
func (p *Planner) discoverWith(snap source.Snapshot, known map[string]*Pipeline) ([]*Pipeline, error) {
	all, err := p.Config.Select(nil)
	if err != nil {
		return nil, err
	}
	pipelines, err := discover(snap.Files, p.Config.Source.Layout, v1alpha1.Names(all), known)
	if err != nil {
		return nil, fmt.Errorf("commit %.8s: %w", snap.Commit, err)
	}
	return pipelines, nil
}

// checkSelection refuses names of pipelines that neither git nor a record knows.
func checkSelection(selection v1alpha1.Selection, pipelines []*Pipeline, known map[string]bool, complete bool) error {
	for _, name := range selection.Pipelines {
		exists := slices.ContainsFunc(pipelines, func(p *Pipeline) bool { return p.Name == name })
		switch {
		case !exists && !known[name]:
			all := make([]string, len(pipelines))
			for i, p := range pipelines {
				all[i] = p.Name
			}
			return fmt.Errorf("there is no pipeline %q in the repository; it has %s", name, strings.Join(all, ", "))
		case !known[name] && complete:
			return fmt.Errorf("pipeline %s has no overlay for %s", name, strings.Join(selection.Environments, " and "))
		}
	}
	return nil
}

// environmentRead has the targets of an environment, as far as they could be read.
type environmentRead struct {
	targets []*Desired
	refused *follow.Refusal // it does not trust the newest commit
	err     error
}

// newest is the commit that is planned.
type newest struct {
	snap      source.Snapshot
	preview   bool // every environment follows it, trusted or not
	pipelines []*Pipeline
	err       error // why its pipelines cannot be found
}

// read joins git with the records of each environment. It reads the environments at the same time, so that it waits only
// once for silent clusters.
func (p *Planner) read(ctx context.Context, environments []*v1alpha1.Environment, at newest) []environmentRead {
	reads, lists := make([]environmentRead, len(environments)), &recordLists{}
	var g panics.Group
	for i, environment := range environments {
		g.Go(func() error {
			reads[i].err = p.Guard(v1alpha1.Target{Environment: environment.Name}, func() (err error) {
				return p.readEnvironment(ctx, environment, at, lists, &reads[i])
			})
			return nil
		})
	}
	_ = g.Wait() // each keeps its own error
	return reads
}

// recordsTimeout bounds how long a silent API server delays a commit in every other cluster.
const recordsTimeout = 20 * time.Second

// readEnvironment joins git with the records of one environment. Without a readable cluster there are no targets.
func (p *Planner) readEnvironment(ctx context.Context, environment *v1alpha1.Environment, at newest, lists *recordLists, into *environmentRead) error {
	cluster, err := p.Clusters.Of(environment)
	if err != nil {
		return err
	}
	reading, cancel := context.WithTimeout(ctx, recordsTimeout)
	defer cancel()
	records, err := lists.of(reading, cluster)
	if err != nil {
		return err
	}
	byPipeline, own := map[string]*v1alpha1.PipelineSync{}, []*v1alpha1.PipelineSync{}
	for _, record := range records {
		if record.Spec.Environment == environment.Name {
			byPipeline[record.Spec.Pipeline] = record
			if record.Spec.Owner == p.Config.Name {
				own = append(own, record)
			}
		}
	}
	view := p.viewOf(ctx, environment, at, own)
	into.refused = view.refused()
	if view.err != nil {
		return view.err
	}
	into.targets, err = p.targetsOf(cluster, environment, view, byPipeline)
	for _, d := range into.targets {
		d.Signature = view.Signature
	}
	return err
}

// targetsOf lists the targets of git and those that have only a record.
func (p *Planner) targetsOf(cluster *cluster.Cluster, environment *v1alpha1.Environment, view viewed, byPipeline map[string]*v1alpha1.PipelineSync) (targets []*Desired, err error) {
	for _, pipeline := range view.pipelines {
		d, err := p.joined(cluster, pipeline, environment, byPipeline[pipeline.Name], view.Snap)
		if err != nil {
			return targets, err
		}
		if d != nil {
			targets = append(targets, d)
			delete(byPipeline, pipeline.Name)
		}
	}
	for name, record := range byPipeline {
		if record.Spec.Owner != p.Config.Name {
			continue
		}
		acting, err := cluster.As(record.Spec.ServiceAccount)
		if err != nil {
			return targets, err
		}
		d := &Desired{
			Target:      v1alpha1.Target{Pipeline: name, Environment: environment.Name},
			Environment: environment, Cluster: acting, Record: record, Snapshot: view.Snap, Policies: EnvironmentPolicies(environment),
		}
		if view.Snap.Commit == "" && record.Status.RemovedAt == nil {
			d.stand(p.Config.Source.Layout, view.Signature.Refused)
		}
		targets = append(targets, d)
	}
	return targets, nil
}

// joined is a pipeline of git with its record; nil where git does not want the pipeline in the environment and nothing
// of it exists there.
func (p *Planner) joined(cluster *cluster.Cluster, pipeline *Pipeline, environment *v1alpha1.Environment, record *v1alpha1.PipelineSync, snap source.Snapshot) (*Desired, error) {
	overlay, ok := pipeline.Overlays[environment.Name]
	if !ok && (record == nil || record.Spec.Owner != p.Config.Name || record.Status.RemovedAt != nil) {
		return nil, nil
	}
	d := p.Desired(pipeline, environment, snap)
	d.Record = record
	account := d.Settings.ServiceAccount
	if !ok {
		account = record.Spec.ServiceAccount // it applied the objects to delete; pipeline.yaml may name another one by now
	}
	var err error
	if d.Cluster, err = cluster.As(account); err != nil {
		return nil, err
	}
	switch {
	case record != nil && record.Spec.Owner != p.Config.Name:
		d.Err = fmt.Errorf("the record %s/%s belongs to the configuration %q, not to %q; rename the pipeline, or give this configuration a namespace of its own", cluster.Namespace(), record.Name, record.Spec.Owner, p.Config.Name)
	case !ok:
		d.Overlay = pipeline.Expected(environment.Name)
		d.Err = &MissingOverlayError{Overlay: d.Overlay, Target: d.Target}
	default:
		d.Overlay = overlay
	}
	return d, nil
}

// Provides returns the namespaces and kinds that the selected targets provide in each cluster.
func (c *Commit) Provides() map[*cluster.Cluster]neighbour.Provides {
	out := map[*cluster.Cluster]neighbour.Provides{}
	for _, d := range c.Targets {
		if d.Cluster != nil && d.Rendered.Provides.Any() {
			out[d.Cluster.Server()] = out[d.Cluster.Server()].And(d.Rendered.Provides)
		}
	}
	return out
}
