package main

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/syncerdev/syncer/pkg/pipeline"
	"github.com/syncerdev/syncer/pkg/server"
)

// follow runs the loop, and the server where the configuration has one. Either ends with the other's failure.
func follow(ctx context.Context, r *pipeline.Runner, options pipeline.LoopOptions, serving server.Options, log *slog.Logger) error {
	if (serving.Insecure || serving.Pprof) && r.Config.Server == nil {
		return errors.New("--insecure and --pprof are about a server, and the configuration has none; add `server: {}`")
	}
	both, ctx := errgroup.WithContext(ctx)
	if r.Config.Server != nil {
		serving.Server, serving.Log = *r.Config.Server, log
		serving.Allowed, serving.Right, serving.Audit = r.Allowed, r.Right, r.TakeAudit
		both.Go(func() error { return server.Serve(ctx, serving, r) })
	}
	both.Go(func() error { return r.Loop(ctx, options) })
	return both.Wait()
}
