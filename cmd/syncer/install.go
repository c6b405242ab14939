package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pipeline"
)

func newInstallCommand(shared *sharedFlags) *cobra.Command {
	var environments []string
	var onlyPrint bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Prepare the clusters: namespace, CRD and RBAC",
		Long: `install applies what syncer needs in each environment's cluster: the namespace
of its records, the PipelineSync CRD, and a service account with the rights that
a daemon needs. --print prints the manifests instead, for a repository of your
own.

Exit status: 0 done, 2 failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if onlyPrint {
				return printInstall(cmd, shared)
			}
			return shared.with(pipeline.Options{Log: warnings(cmd.ErrOrStderr())}, func(r *pipeline.Runner) error {
				changes, err := r.Install(cmd.Context(), environments)
				out := &text{w: cmd.OutOrStdout()}
				for _, change := range changes {
					action := string(change.Action)
					if change.Action == manifest.None {
						action = "-" // as it should be
					}
					out.line("%-6s  %s", action, change.ID)
				}
				return errors.Join(err, out.err)
			})
		},
	}
	environmentFlag(cmd, &environments)
	cmd.Flags().BoolVar(&onlyPrint, "print", false, "print the manifests and apply nothing")
	return cmd
}

// printInstall needs a configuration only for the namespace, so it does without one.
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
	set, err := pipeline.InstallManifests(namespace)
	if err != nil {
		return err
	}
	doc, err := set.YAML()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(doc)
	return err
}
