package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/daemon"
	"github.com/syncerdev/syncer/pkg/server"
)

func newRunCommand(shared *sharedFlags) *cobra.Command {
	var options daemon.Options
	var serving server.Options
	var format, level string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Carry each new commit out, for ever",
		Long: `run does what sync does for each new commit, until it is told to stop (SIGINT or
SIGTERM); what is being written then may end, for as long as --drain-timeout
says. It logs what changes and nothing else. With leaderElection, which is the
default, it works while it holds a Lease in the cluster of an environment, and
stands by while another replica does.

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
			options.Identity = identity()
			s, err := newService(shared.config, commands.Options{CacheDir: shared.cache(), UserAgent: "syncer/" + buildVersion(), Log: log, Apart: commands.Always}, options)
			if err != nil {
				return err
			}
			return errors.Join(s.run(cmd.Context(), serving, log), s.close())
		},
	}
	environmentFlag(cmd, &options.Environments)
	cmd.Flags().DurationVar(&options.Drain, "drain-timeout", 30*time.Second, "how long targets may take to end after a\nsignal")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().BoolVar(&serving.Insecure, "insecure", false, "show everything to everybody, at an address\nthat is not loopback as well")
	cmd.Flags().BoolVar(&serving.Pprof, "pprof", false, "serve profiles of the process below\n/debug/pprof/")
	return cmd
}

// identity names this process among its replicas: by its pod, or else by its host, and by a random part, so that a
// restarted container has another identity.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "syncer"
	}
	return cmp.Or(os.Getenv("POD_NAME"), host) + "_" + rand.Text()[:8]
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
		options.ReplaceAttr = inSeconds
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options)), nil
	}
	return nil, fmt.Errorf("--log-format %s: the formats are text and json", format)
}

// inSeconds gives durations as seconds. Without it a JSON log has nanoseconds.
func inSeconds(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.Float64Value(attr.Value.Duration().Seconds())
	}
	return attr
}
