// Package commands does what a command of syncer does once: it opens a configuration, syncs, compares, renders, and reads
// records. Nothing of it runs on its own.
package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/renderers"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Options are what a command adds to the configuration.
type Options struct {
	// CacheDir holds the copy of the repository between runs; empty: memory.
	CacheDir string
	// UserAgent names this build to the API servers.
	UserAgent string
	// As is the user to act as in every cluster; empty: the one of the kubeconfig.
	As  string
	Log *slog.Logger
	// Progress receives the start and the end of each target. It may be called by many goroutines. Optional.
	Progress func(Progress)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Observe receives what a process counts. Optional.
	Observe Observer
	// Apart says which overlays are rendered in processes of this program.
	Apart Apart
}

// Apart says which overlays are rendered in processes of the program. All but Never need a program that serves
// renderers.WorkerCommand.
type Apart int

const (
	Never  Apart = iota
	Many         // where there are so many that it pays
	Always       // as a daemon needs, which is not to end with one of them
)

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Observer receives what a process counts. Each function may be called by many goroutines; nil ones are not called.
type Observer struct {
	// Requested receives the verb and the status of each request to an API server; status 0: no answer came.
	Requested func(verb string, code int)
	// AskedRegistry receives the outcome of each request to an image registry.
	AskedRegistry func(host, outcome string)
	// Rendered receives the result of each overlay that a commit needs.
	Rendered func(target.RenderResult)
	// FetchFailed receives the error of a try to reach the repository that is made again.
	FetchFailed func(error)
	// Panicked receives the target of each panic; the zero target stands for work that is of none.
	Panicked func(v1alpha1.Target)
}

// Progress is one step of a command.
type Progress struct {
	Target v1alpha1.Target
	Total  int // targets of the command
	Commit string
	Result *reconcile.Result // nil: the target starts
	Took   time.Duration
}

// Session is an opened configuration. Its methods run one at a time.
type Session struct {
	Config     *v1alpha1.Config
	Source     *source.Repository
	Clusters   *target.Clusters
	Planner    *target.Planner
	Registry   *image.Registry
	Reconciler *reconcile.Reconciler

	pool     *renderers.Pool
	expected []drift.ExpectedRule // differences between environments
	progress func(Progress)
}

// Open reads a configuration file and prepares its connections. It sends nothing over the network. Relative paths in the
// configuration are relative to the file.
func Open(file string, options Options) (*Session, error) {
	config, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	repository, err := openSource(config.Source, options.CacheDir, options.Observe.FetchFailed)
	if err != nil {
		return nil, err
	}
	kinds, err := health.New(declaredKinds(config.Kinds))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.ReplaceAll(err.Error(), "\n", "\n"+file+": "))
	}
	rules, err := readRules(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	options.setDefaults()
	trust, err := follow.New(config, options.Now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	registry, err := image.NewRegistry(registryHosts(config.Registries), registryLimits(config.RegistryLimits), options.Observe.AskedRegistry)
	if err != nil {
		return nil, err
	}
	clusters := target.NewClusters(cluster.Options{
		Namespace: config.Namespace, UserAgent: options.UserAgent, As: options.As, Judge: kinds, Requested: options.Observe.Requested,
	})
	guard := target.Guard{Log: options.Log, Count: options.Observe.Panicked}
	limits := renderLimits(config.Render)
	pool := renderers.NewPool(renderers.Options{Limits: limits, Workers: config.Render.Workers})
	renderings := &target.Renderings{Build: limits.Local(), Count: options.Observe.Rendered}
	switch options.Apart {
	case Many:
		renderings.Build, renderings.Few = pool.Build, limits.Local()
	case Always:
		renderings.Build = pool.Build
	}
	if options.CacheDir != "" {
		renderings.Build, renderings.Few = kept(config, options.CacheDir, limits, renderings.Build), kept(config, options.CacheDir, limits, renderings.Few)
	}
	planner := &target.Planner{
		Config: config, Source: repository, Clusters: clusters, Trust: trust, Guard: guard.Call, Log: options.Log,
		Renderings: renderings,
	}
	return &Session{
		Config: config, Source: repository, Clusters: clusters, Planner: planner, Registry: registry,
		Reconciler: newReconciler(planner, guard, registry, rules, options), pool: pool, expected: rules.expected, progress: options.Progress,
	}, nil
}

// kept keeps the builds of a builder in the cache folder for the next process.
func kept(config *v1alpha1.Config, cacheDir string, limits renderers.Limits, build renderers.Builder) renderers.Builder {
	if build == nil {
		return nil
	}
	return renderers.Kept(filepath.Join(cacheDir, "rendered"), config.Source.PublicURL(), limits, build)
}

// newReconciler makes the parts that reconcile targets.
func newReconciler(planner *target.Planner, guard target.Guard, registry *image.Registry, rules rules, options Options) *reconcile.Reconciler {
	dates := target.Dates{Now: options.Now, Wall: clock.Wall(options.Now)}
	pins := &pin.Resolver{
		Config: planner.Config, Clusters: planner.Clusters, Checks: pin.NewChecks(planner.Config, options.Now), Dates: dates, Log: options.Log,
		Source: func(credentials image.Credentials) image.Source { return registry.With(credentials) },
	}
	audits := &auditLogs{}
	return &reconcile.Reconciler{
		Config: planner.Config, Planner: planner, Pins: pins, Dates: dates, Guard: guard, Log: options.Log,
		Rating: reconcile.Rating{Severities: rules.severities, Exempt: rules.exempt, AuditLog: audits.of, Log: options.Log},
	}
}

// Delete deletes the objects and the record of one target, as if it had left git, and returns the objects that it deleted. The
// error says what still exists.
func (s *Session) Delete(ctx context.Context, d *target.Desired) (deleted []manifest.ID, err error) {
	result, err := s.Reconciler.Remove(ctx, d)
	for _, change := range result.Changes {
		if change.Action == manifest.Prune {
			deleted = append(deleted, change.Object)
		}
	}
	if err == nil && result.Result == reconcile.Held {
		err = errors.New(result.Message)
	}
	return deleted, err
}

// Close ends the processes that render, and gives the cache of the repository back to other processes.
func (s *Session) Close() error {
	s.Planner.Renderings.Stop()
	s.pool.Close()
	return s.Source.Close()
}

func readConfig(file string) (*v1alpha1.Config, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration %s; name one with --config, or write it (see docs/reference/configuration.md)", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config, err := v1alpha1.DecodeConfig(file, data)
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	resolvePaths(config, folder)
	return config, nil
}
