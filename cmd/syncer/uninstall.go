package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/setup"
)

func newUninstallCommand(shared *sharedFlags) *cobra.Command {
	var options setup.UninstallOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the daemon and its rights, and leave what it deployed",
		Long: `uninstall deletes the daemon and the rights that install gave it, in the cluster
of each environment. What was deployed goes on running. The records stay too,
with the pins and the history that the next install goes on from; --records
deletes those of this configuration, and then the CRD where no other record is
left, and the namespace where nothing else is in it.

--delete-deployed deletes what this configuration deployed, and nothing else, as
a prune does: work that runs is waited for, and objects that are marked to be
kept stay. It needs --yes as well.

Each object that is deleted or kept is printed, with the reason.

Exit status: 0 done, 2 failed, or something could not be deleted yet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.DeleteDeployed && !yes && !options.DryRun {
				return errors.New("--delete-deployed deletes what runs; add --yes if that is meant, or --dry-run to see what it would delete")
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				out := &text{w: cmd.OutOrStdout()}
				options.Delete = s.Delete
				options.Notify = func(removal setup.Removal) { printRemoval(out, removal) }
				return errors.Join(setup.Uninstall(cmd.Context(), s.Planner, options), out.err)
			})
		},
	}
	environmentFlag(cmd, &options.Environments)
	cmd.Flags().BoolVar(&options.Records, "records", false, "delete the records of this configuration as well")
	cmd.Flags().BoolVar(&options.DeleteDeployed, "delete-deployed", false, "delete what this configuration deployed as well")
	cmd.Flags().BoolVar(&yes, "yes", false, "what --delete-deployed does is meant")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "say what would be done, and do nothing")
	return cmd
}

func printRemoval(out *text, removal setup.Removal) {
	action := "Keep"
	if removal.Deleted {
		action = "Delete"
	}
	if removal.Reason == "" {
		out.line("%-6s  %s", action, removal.Object)
		return
	}
	out.line("%-6s  %s (%s)", action, removal.Object, removal.Reason)
}
