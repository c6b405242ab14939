package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/pipeline"
	"github.com/syncerdev/syncer/pkg/server"
)

func newRunCommand(shared *sharedFlags) *cobra.Command {
	var options pipeline.SyncOptions
	var serving server.Options
	var format, level string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Carry each new commit out, for ever",
		Long: `run does what sync does at the interval of the source, until it is told to stop
(SIGINT or SIGTERM). It logs what changes and nothing else.

With server in the configuration it listens for HTTP: pages, an API, metrics,
health and webhooks. At an address that is not loopback, whoever asks needs a
token of the cluster.

Exit status: 0 it was told to stop, 2 it could not start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd, format, level)
			if err != nil {
				return err
			}
			return shared.with(pipeline.Options{Log: log}, func(r *pipeline.Runner) error {
				return follow(cmd.Context(), r, options, serving, log)
			})
		},
	}
	environmentFlag(cmd, &options.Environments)
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().BoolVar(&serving.Insecure, "insecure", false, "show everything to everybody, at an address that is not\nloopback as well")
	cmd.Flags().BoolVar(&serving.Pprof, "pprof", false, "serve profiles of the process below /debug/pprof/")
	return cmd
}

func newLogger(cmd *cobra.Command, format, level string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{}
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: the levels are debug, info, warn and error", level)
	}
	options.Level = parsed
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options)), nil
	}
	return nil, fmt.Errorf("--log-format %s: the formats are text and json", format)
}
