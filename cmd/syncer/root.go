package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
)

// newRootCommand builds the tree of commands. differs is set when a command that compares finds differences.
func newRootCommand(differs *bool) *cobra.Command {
	var shared sharedFlags
	root := &cobra.Command{
		Use:   "syncer",
		Short: "GitOps for data pipelines",
		Long: `syncer keeps the data pipelines of a git repository running in Kubernetes: it
renders each pipeline's overlay for dev, staging and prod, replaces image tags
by digests, applies the result server-side, and reports what differs.

Exit status of every command: 0 the same or done, 1 different (diff, drift),
2 failed.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&shared.config, "config", "syncer.yaml", "configuration file")
	flags.StringVar(&shared.cacheDir, "cache-dir", "", "where the repository's copy and its renderings are\nkept between runs (default: the user's cache\nfolder; memory when it cannot be written)")
	flags.StringVar(&shared.profile, "profile", "", "write profiles of the command into this folder")
	_ = flags.MarkHidden("profile") // the flag exists
	root.AddCommand(
		newSyncCommand(&shared),
		newRunCommand(&shared),
		newRenderCommand(&shared),
		newDiffCommand(&shared, differs),
		newDriftCommand(&shared, differs),
		newStatusCommand(&shared),
		newImagesCommand(&shared),
		newHistoryCommand(&shared),
		newPinsCommand(&shared),
		newInstallCommand(&shared),
		newUninstallCommand(&shared),
		newCheckCommand(&shared),
		newVersionCommand(),
	)
	return root
}

// sharedFlags are the flags of every command.
type sharedFlags struct{ config, cacheDir, profile string }

// open opens the configuration.
func (f *sharedFlags) open(options commands.Options) (*commands.Session, error) {
	options.CacheDir, options.UserAgent, options.Apart = f.cache(), "syncer/"+buildVersion(), commands.Many
	return commands.Open(f.config, options)
}

// cache is the folder for the copy of the repository. Without a folder, as in a container with a read-only root, it is
// empty, and syncer keeps the repository in memory.
func (f *sharedFlags) cache() string {
	if f.cacheDir != "" {
		return f.cacheDir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "syncer", "git")
}

// with opens a session, passes it to the work of a command, and closes it.
func (f *sharedFlags) with(options commands.Options, work func(*commands.Session) error) error {
	collectRarely()
	return profiled(f.profile, func() error {
		session, err := f.open(options)
		if err != nil {
			return err
		}
		return errors.Join(work(session), session.Close())
	})
}

// commandGC is how much the heap of a command may grow until garbage is collected, in percent. A collection at each doubling
// costs a fourth of the time of a comparison of a thousand targets.
const commandGC = 200

// collectRarely is for commands that end by themselves. GOGC in the environment counts more.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(commandGC)
	}
}

// outputFlag adds -o and checks it before the command's work.
func outputFlag(cmd *cobra.Command, output *string, more ...string) {
	formats := append([]string{"text", "json"}, more...)
	all := strings.Join(formats[:len(formats)-1], ", ") + " or " + formats[len(formats)-1]
	usage := all
	if len(more) > 0 { // too long for a line of help
		usage = strings.Replace(all, more[0]+", ", more[0]+",\n", 1)
	}
	cmd.Flags().StringVarP(output, "output", "o", "text", usage)
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, *output) {
			return fmt.Errorf("-o %s: the formats are %s", *output, strings.Replace(all, " or ", " and ", 1))
		}
		return inner(cmd, args)
	}
}

func environmentFlag(cmd *cobra.Command, environments *[]string) {
	cmd.Flags().StringArrayVar(environments, "env", nil, "only this environment (repeatable)")
}

// warnings logs the messages of a one-shot command beside its result: warnings and nothing below them.
func warnings(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
