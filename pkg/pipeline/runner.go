// Package pipeline joins the rooms: it reads the configuration, finds the pipelines of a commit, and carries each
// through source, render, image, apply and drift, once or for ever. It is the only package that knows them all, and
// the home of clock and logger.
package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
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
	// Progress is told of each target's start and end. It may be called by many goroutines. Optional.
	Progress func(Progress)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Progress is one step of a pass.
type Progress struct {
	Target v1alpha1.Target
	Total  int // targets in the pass
	Commit string
	Result *TargetResult // nil: the target starts
	Took   time.Duration
}

// Runner carries one configuration out. Its exported methods run one at a time.
type Runner struct {
	Config *v1alpha1.Config

	source   *source.Repository
	registry *image.Registry
	judge    *health.Judge
	log      *slog.Logger
	progress func(Progress)
	now      func() time.Time // for durations
	wall     func() time.Time // for dates; nil: now
	agent    string
	as       string
	planner  *target.Planner

	mu       sync.Mutex
	clusters *target.Clusters
	audits   map[string]*audit.Log // by file
	pins     *pin.Resolver

	severities []drift.SeverityRule
	exemptions map[string][]apply.Ignore // by environment: drift that is not corrected
	expected   []drift.ExpectedRule      // differences between environments

	loops    bool // false in a command that runs once
	states   *states
	underway underway
	metrics  *metrics

	board  *board
	wake   chan struct{}             // asks a Loop to look at the repository
	asked  chan struct{}             // somebody outside asked for that
	alive  atomic.Pointer[time.Time] // when the Loop last went round, by the monotonic clock; nil: none runs
	logged logged                    // by a Loop
	gate   gate
}

// Open reads a configuration file and prepares its runner. It reaches nothing over the network. Relative paths in the
// configuration are relative to the file.
func Open(file string, options Options) (*Runner, error) {
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
	var r *Runner
	repository, err := openSource(config.Source, options.CacheDir, func(err error) { r.fetchFails(err) })
	if err != nil {
		return nil, err
	}
	judge, err := health.New(judgedKinds(config.Kinds))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.ReplaceAll(err.Error(), "\n", "\n"+file+": "))
	}
	severities, exemptions, err := driftRules(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	expected, err := expectedRules(config.Compare.Ignore)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	now := options.Now
	if now == nil {
		now = time.Now
	}
	wall, known := clock.Wall(now), &states{}
	r = &Runner{
		severities: severities, exemptions: exemptions, expected: expected,
		Config: config, source: repository, judge: judge, states: known, metrics: newMetrics(wall, known),
		log: options.Log, progress: options.Progress, now: now, wall: wall, agent: options.UserAgent, as: options.As, wake: make(chan struct{}, 1), asked: make(chan struct{}, 1),
		audits: map[string]*audit.Log{},
	}
	r.clusters = target.NewClusters(cluster.Options{Namespace: config.Namespace, UserAgent: options.UserAgent, As: options.As, Judge: judge, Requested: r.metrics.requested})
	if r.registry, err = image.NewRegistry(registryHosts(config.Registries), r.metrics.askedRegistry); err != nil {
		return nil, err
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.pins = &pin.Resolver{
		Config: config, Clusters: r.clusters, Checks: pin.NewChecks(config, now), Dates: r.dates(), Log: r.log,
		Source: func(credentials image.Credentials) image.Source { return r.registry.With(credentials) },
	}
	if r.progress == nil {
		r.progress = func(Progress) {}
	}
	r.board = newBoard(r)
	r.planner = &target.Planner{Config: config, Source: repository, Clusters: r.clusters, Renderings: &target.Renderings{}, Guard: r.guarded, Log: r.log}
	r.planner.Renderings.Count = func(result target.RenderResult) { r.metrics.renders.WithLabelValues(string(result)).Inc() }
	return r, nil
}

// driftRules reads the rules of a configuration that name fields.
func driftRules(config *v1alpha1.Config) (severities []drift.SeverityRule, exemptions map[string][]apply.Ignore, err error) {
	for i, rule := range config.Severity {
		out := drift.SeverityRule{Group: rule.Group, Kind: rule.Kind, Severity: drift.Severity(rule.Severity)}
		if rule.Path != "" {
			if out.Path, err = manifest.ParsePath(rule.Path); err != nil {
				return nil, nil, fmt.Errorf("severity[%d].path: %w", i, err)
			}
		}
		severities = append(severities, out)
	}
	exemptions = map[string][]apply.Ignore{}
	for i, environment := range config.Environments {
		for n, rule := range environment.CorrectExcept {
			out, err := target.FieldRule(fmt.Sprintf("environments[%d].correctExcept[%d]", i, n), rule)
			if err != nil {
				return nil, nil, err
			}
			exemptions[environment.Name] = append(exemptions[environment.Name], out)
		}
	}
	return severities, exemptions, nil
}

// Metrics are those of this process, for Prometheus.
func (r *Runner) Metrics() prometheus.Gatherer { return r.metrics.registry }

// Ready says why a Loop is not ready to do its work: it has not read the repository yet, or the records of no
// environment. What fails later is seen in the View and in the metrics; another process would not fare better.
func (r *Runner) Ready() error {
	view := r.View()
	if view.Source.Commit == "" {
		return fmt.Errorf("the repository has not been read yet: %s", cmp.Or(view.Source.Error, "it is being fetched"))
	}
	return r.board.anyRead()
}

// longestRound is how long one round of a Loop may take beside its interval: it waits for the turns of a commit that
// a newer one takes the place of, and not for the repository.
const longestRound = 15 * time.Minute

// Alive says why a Loop should be started again: it has not gone round for too long.
func (r *Runner) Alive() error {
	last := r.alive.Load()
	if last == nil {
		return nil // it has not begun
	}
	if idle := time.Since(*last); idle > longestRound+2*r.Config.Source.Interval.Duration {
		return fmt.Errorf("the repository was last looked at %s ago", idle.Round(time.Second))
	}
	return nil
}

// Close gives the repository's cache back to other processes.
func (r *Runner) Close() error { return r.source.Close() }

func openSource(s v1alpha1.Source, cacheDir string, failed func(error)) (*source.Repository, error) {
	return source.Open(source.Options{
		URL: s.URL, Branch: s.Branch, Tag: s.Tag, Semver: s.Semver, Commit: s.Commit,
		RequireFastForward: s.RequireFastForward,
		Auth: source.Auth{
			Username: s.Auth.Username, PasswordFile: s.Auth.PasswordFile, TokenFile: s.Auth.TokenFile,
			SSHKeyFile: s.Auth.SSHKeyFile, KnownHostsFile: s.Auth.KnownHostsFile, CAFile: s.Auth.CAFile,
		},
		CacheDir: cacheDir,
		Failed:   failed,
	})
}

func registryHosts(registries []v1alpha1.Registry) []image.Host {
	hosts := make([]image.Host, len(registries))
	for i, r := range registries {
		hosts[i] = image.Host{Name: r.Host, PlainHTTP: r.PlainHTTP, Mirror: r.Mirror, CAFile: r.CAFile, CredentialsFile: r.CredentialsFile}
	}
	return hosts
}

func judgedKinds(kinds []v1alpha1.Kind) []health.Declared {
	out := make([]health.Declared, len(kinds))
	for i, k := range kinds {
		out[i] = health.Declared{Group: k.Group, Kind: k.Kind, Running: k.Running, Healthy: k.Healthy, Failed: k.Failed}
	}
	return out
}

// resolvePaths makes the paths of a configuration absolute, so that a command works from any folder.
func resolvePaths(config *v1alpha1.Config, folder string) {
	paths := []*string{
		&config.Source.Auth.PasswordFile, &config.Source.Auth.TokenFile, &config.Source.Auth.SSHKeyFile,
		&config.Source.Auth.KnownHostsFile, &config.Source.Auth.CAFile,
	}
	if v1alpha1.IsLocalPath(config.Source.URL) {
		paths = append(paths, &config.Source.URL)
	}
	for i := range config.Registries {
		paths = append(paths, &config.Registries[i].CAFile, &config.Registries[i].CredentialsFile)
	}
	for i := range config.Environments {
		paths = append(paths, &config.Environments[i].Cluster.Kubeconfig, &config.Environments[i].Cluster.AuditLog)
		for n := range config.Environments[i].Images.Signatures {
			paths = append(paths, &config.Environments[i].Images.Signatures[n].PublicKeyFile)
		}
	}
	if server := config.Server; server != nil {
		paths = append(paths, &server.WebhookSecretFile, &server.TLSCertFile, &server.TLSKeyFile, &server.AuditTokenFile)
	}
	for _, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(*p, "~/") {
			*p = filepath.Join(home, (*p)[2:])
			continue
		}
		*p = filepath.Join(folder, *p)
	}
}
