// Package daemon decides when each target is reconciled, and by which replica: it polls the repository, watches objects and
// records, keeps a queue and back-offs, and holds Leases. How a target is reconciled is pkg/reconcile's, and what is shown pkg/publish's.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/publish"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
	"github.com/syncerdev/syncer/pkg/view"
)

// Parts are what a daemon works with.
type Parts struct {
	Config   *v1alpha1.Config
	Source   Source
	Clusters *target.Clusters
	Planner  *target.Planner
	// Reconciler reconciles the targets. Its Observe is to be the daemon's, and its Guard is to count in Metrics.
	Reconciler *reconcile.Reconciler
	Metrics    *Metrics
	Log        *slog.Logger
	// Version is that of this build, for the view.
	Version string
}

// Source is the repository that a daemon follows. A *source.Repository is one.
type Source interface {
	Fetch(ctx context.Context) (source.Snapshot, error)
	Log(ctx context.Context, from string, most int) ([]source.Commit, error)
	Since(ctx context.Context, from, to string) ([]source.Commit, error)
}

// Options are what a user may ask of a daemon.
type Options struct {
	// Environments to work on; empty: all.
	Environments []string
	// Drain is how long targets that are being written may take after the daemon was told to stop; 0: 30 s.
	Drain time.Duration
	// Identity names this process among its replicas, and is unique to it.
	Identity string
}

// Daemon reconciles the targets of the newest commit while Run runs. Its other methods may be called at any time, by many
// goroutines.
type Daemon struct {
	parts     Parts
	options   Options
	states    *states
	tracker   *underway.Tracker
	publisher *publish.Publisher

	pollNow  chan struct{}             // requests a poll of the repository
	passOn   chan struct{}             // requests one of the other replicas
	lastPoll atomic.Pointer[time.Time] // by the monotonic clock; nil: Run does not run
}

// New returns a daemon that does nothing before Run.
func New(parts Parts, options Options) *Daemon {
	d := &Daemon{parts: parts, options: options, states: &states{}, pollNow: make(chan struct{}, 1), passOn: make(chan struct{}, 1)}
	d.tracker = underway.NewTracker(parts.Reconciler.Dates, parts.Log, func(of v1alpha1.Target) {
		d.states.progresses(of)
		d.publisher.PublishSoon()
	})
	d.publisher = publish.New(publish.Parts{
		Config: parts.Config, Environments: options.Environments, Clusters: parts.Clusters, Source: parts.Source,
		Dates: parts.Reconciler.Dates, Guard: parts.Reconciler.Guard, Underway: d.tracker.Message,
		Identity: options.Identity, Version: parts.Version,
	})
	return d
}

// Run reconciles the targets of the newest commit, again and again, until the context ends. A repository that cannot be read
// leaves the last commit that was read in force. Between two commits a target is reconciled when something happens to it:
// when an object of it changes, when its wait ends, and when it is time to check its images. Run returns nil when the context
// has ended and what was being written is written.
func (d *Daemon) Run(ctx context.Context) error {
	if _, err := d.parts.Config.Select(d.options.Environments); err != nil {
		return err
	}
	log := d.parts.Log
	log.Info("following the repository", "url", d.parts.Config.Source.PublicURL(), "interval", d.parts.Config.Source.Interval.Duration)
	s := newScheduler(ctx, d)
	l := &loop{scheduler: s, fetching: newFetching(d.parts.Source.Fetch, &s.others), polls: newPollLimiter()}
	s.start(ctx)
	s.others.Go(func() { l.passOn(ctx) })
	for ctx.Err() == nil {
		l.poll(ctx)
		l.pause(ctx)
	}
	log.Info("told to stop; what is being written is written to its end")
	s.stop()
	return nil
}

// Wake has a running daemon poll the repository at once, or twice a second on average, here and on the replicas that
// hold Leases.
func (d *Daemon) Wake() {
	d.pollSoon()
	signal(d.passOn)
}

// pollSoon has this process poll the repository.
func (d *Daemon) pollSoon() { signal(d.pollNow) }

// signal requests something, unless that is requested already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// View is what the daemon knows now. It is never nil and never changed.
func (d *Daemon) View() *view.View { return d.publisher.Current() }

// Changed is closed when there is a newer view than the one that View gave last, or when View would make one.
func (d *Daemon) Changed() <-chan struct{} { return d.publisher.Newer() }

// Metrics are those of this process, for Prometheus.
func (d *Daemon) Metrics() prometheus.Gatherer { return d.parts.Metrics.registry }

// Ready says why the daemon is not ready to do its work: it has not read the repository yet, or the records of no
// environment. Later failures are seen in the View and in the metrics; another process would not fare better.
func (d *Daemon) Ready() error {
	source := d.publisher.Source()
	if source.Commit == "" {
		return fmt.Errorf("the repository has not been read yet: %s", cmp.Or(source.Error, "it is being fetched"))
	}
	return d.publisher.AnyRead()
}

// longestRound is how long one round of the loop may take beside its interval: it waits for the reconciles of a commit that
// a newer one replaces, and not for the repository.
const longestRound = 15 * time.Minute

// Alive says why the daemon should be started again: its loop has not gone round for too long.
func (d *Daemon) Alive() error {
	last := d.lastPoll.Load()
	if last == nil {
		return nil // it has not begun
	}
	if idle := time.Since(*last); idle > longestRound+2*d.parts.Config.Source.Interval.Duration {
		return fmt.Errorf("the repository was last looked at %s ago", idle.Round(time.Second))
	}
	return nil
}

// FetchFailed receives the error of a try to reach the repository that is made again.
func (d *Daemon) FetchFailed(err error) {
	d.parts.Metrics.requests.git.WithLabelValues("failed").Inc()
	d.publisher.FetchFailed(err)
	if d.states.isNewAbout(aboutTry, err.Error()) {
		d.parts.Log.Warn("the repository does not answer; it is asked again", "error", err)
	}
}

// Observe receives the state of a target after a reconcile.
func (d *Daemon) Observe(w *target.Desired, seen reconcile.Observation) {
	for _, f := range seen.Missed {
		d.parts.Metrics.targets.missed.Inc()
		d.parts.Log.Warn("a full comparison found what no watch had noticed", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "finding", f.Message)
	}
	state, _ := view.StateOf(seen.After)
	d.states.measure(w.Target, measured{findings: seen.Findings, state: state, held: seen.Held, objects: seen.Objects})
	d.parts.Metrics.live(w, seen.Before, seen.After)
}

// failed logs a failure once. It does not log a failure that a stop causes.
func (d *Daemon) failed(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil || !d.states.isNewAbout(aboutRollout, err.Error()) {
		return
	}
	d.parts.Log.Error("pass failed", "error", err)
}
