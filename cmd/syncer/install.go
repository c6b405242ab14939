package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/setup"
)

// defaultImage is the image of `install --daemon` without --image; the linker sets it (-X main.defaultImage=...).
var defaultImage string

type installFlags struct {
	environments []string
	onlyPrint    bool
	daemon       bool
	image        string
	replicas     int
}

func newInstallCommand(shared *sharedFlags) *cobra.Command {
	var flags installFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Prepare the clusters, and install the daemon",
		Long: `install applies what syncer needs in each environment's cluster: the namespace
of its records, the PipelineSync CRD, and a service account with the rights that
a daemon needs. --print prints the manifests instead, for a repository of your
own.

--daemon installs the daemon as well, in the cluster of the first environment or
of the one that --env names: syncer.yaml becomes the ConfigMap syncer-config.
Files that it names have to be in the Secret syncer-credentials, which is yours
to make, and are written as /etc/syncer/credentials/NAME. Run it again after a
change of the configuration; the pods are then replaced.

Exit status: 0 done, 2 failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(cmd); err != nil {
				return err
			}
			switch {
			case flags.daemon:
				return installDaemon(cmd, shared, flags)
			case flags.onlyPrint:
				return printInstall(cmd, shared)
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				changes, err := setup.Install(cmd.Context(), s.Config, s.Planner.Clusters, flags.environments)
				return errors.Join(err, printInstalled(cmd.OutOrStdout(), changes))
			})
		},
	}
	environmentFlag(cmd, &flags.environments)
	cmd.Flags().BoolVar(&flags.onlyPrint, "print", false, "print the manifests and apply nothing")
	cmd.Flags().BoolVar(&flags.daemon, "daemon", false, "install the daemon as well, in one cluster")
	cmd.Flags().StringVar(&flags.image, "image", defaultImage, "image of the daemon")
	cmd.Flags().IntVar(&flags.replicas, "replicas", 2, "pods of the daemon, of which one works at a\ntime")
	return cmd
}

func (f installFlags) check(cmd *cobra.Command) error {
	switch {
	case !f.daemon && (cmd.Flags().Changed("image") || cmd.Flags().Changed("replicas")):
		return errors.New("--image and --replicas are for --daemon")
	case !f.daemon:
		return nil
	case f.image == "":
		return errors.New("--daemon needs --image, such as --image registry.example.com/syncer:v1.0.0")
	case f.replicas < 1:
		return fmt.Errorf("--replicas %d: at least 1", f.replicas)
	case len(f.environments) > 1:
		return errors.New("the daemon runs in one cluster; name one environment with --env")
	}
	return nil
}

func installDaemon(cmd *cobra.Command, shared *sharedFlags, flags installFlags) error {
	data, err := os.ReadFile(shared.config)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	options := setup.DaemonOptions{
		File: shared.config, Data: data, Image: flags.image, Replicas: flags.replicas, UserAgent: "syncer/" + buildVersion(),
	}
	if len(flags.environments) > 0 {
		options.Environment = flags.environments[0]
	}
	var changes []manifest.Change
	var set manifest.Set
	var note string
	if flags.onlyPrint {
		set, note, err = setup.DaemonManifests(options)
	} else {
		changes, note, err = setup.InstallDaemon(cmd.Context(), options)
	}
	if note != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "syncer: %s\n", manifest.Visible(note))
	}
	if flags.onlyPrint && err == nil {
		return printSet(cmd.OutOrStdout(), set)
	}
	return errors.Join(err, printInstalled(cmd.OutOrStdout(), changes))
}

func printInstalled(w io.Writer, changes []manifest.Change) error {
	out := &text{w: w}
	for _, change := range changes {
		action := string(change.Action)
		if change.Action == manifest.None {
			action = "-" // as it should be
		}
		out.line("%-6s  %s", action, change.ID)
	}
	return out.err
}

// printInstall needs a configuration only for the namespace, and uses the default one without a configuration.
func printInstall(cmd *cobra.Command, shared *sharedFlags) error {
	namespace := v1alpha1.DefaultNamespace
	data, err := os.ReadFile(shared.config)
	switch {
	case err == nil:
		config, err := v1alpha1.DecodeConfig(shared.config, data)
		if err != nil {
			return err
		}
		namespace = config.Namespace
	case cmd.Flags().Changed("config"):
		return fmt.Errorf("reading the configuration: %w", err)
	}
	set, err := setup.InstallManifests(namespace)
	if err != nil {
		return err
	}
	return printSet(cmd.OutOrStdout(), set)
}

func printSet(w io.Writer, set manifest.Set) error {
	doc, err := set.YAML()
	if err != nil {
		return err
	}
	_, err = w.Write(doc)
	return err
}
