package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/daemon"
	"github.com/syncerdev/syncer/pkg/server"
)

// service is a daemon with its parts.
type service struct {
	session *commands.Session
	access  *daemon.Access
	daemon  *daemon.Daemon
}

// newService opens a configuration for a daemon. It sends nothing over the network.
func newService(config string, opening commands.Options, options daemon.Options) (*service, error) {
	s := &service{}
	metrics := daemon.NewMetrics(func() time.Time { return s.session.Reconciler.Dates.Date() })
	opening.Observe = commands.Observer{
		Requested: metrics.Requested, AskedRegistry: metrics.AskedRegistry, Rendered: metrics.Rendered, Panicked: metrics.Panicked,
		FetchFailed: func(err error) { s.daemon.FetchFailed(err) },
	}
	session, err := commands.Open(config, opening)
	if err != nil {
		return nil, err
	}
	s.session, s.access = session, daemon.NewAccess(session.Config, session.Clusters)
	reconciler := session.Reconciler
	reconciler.ChecksImages, reconciler.Rating.AuditLog = true, s.access.AuditLog
	s.daemon = daemon.New(daemon.Parts{
		Config: session.Config, Source: session.Source, Clusters: session.Clusters, Planner: session.Planner, Reconciler: reconciler,
		Metrics: metrics, Log: reconciler.Log, Version: strings.TrimPrefix(opening.UserAgent, "syncer/"),
	}, options)
	reconciler.Observe = s.daemon.Observe
	return s, nil
}

// run runs the daemon, and the server where the configuration has one. If one of them fails, the other ends as well.
func (s *service) run(ctx context.Context, serving server.Options, log *slog.Logger) error {
	config := s.session.Config
	if (serving.Insecure || serving.Pprof) && config.Server == nil {
		return errors.New("--insecure and --pprof are about a server, and the configuration has none; add `server: {}`")
	}
	both, ctx := errgroup.WithContext(ctx)
	if config.Server != nil {
		serving.Server, serving.Log = *config.Server, log
		serving.Allowed, serving.Right, serving.Audit = s.access.Allowed, s.access.Right, s.access.TakeAudit
		both.Go(func() error { return server.Serve(ctx, serving, s.daemon) })
	}
	both.Go(func() error { return s.daemon.Run(ctx) })
	return both.Wait()
}

// close releases the cache of the repository for other processes.
func (s *service) close() error { return s.session.Close() }
