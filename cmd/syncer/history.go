package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/view"
)

func newHistoryCommand(shared *sharedFlags) *cobra.Command {
	var environment, output string
	var from remote
	cmd := &cobra.Command{
		Use:   "history PIPELINE --env ENVIRONMENT",
		Short: "List the deployments of a target",
		Long: `history lists what was deployed to one target, the newest first: when, which
commit, who wrote it, by which digests, and which earlier deployment a rollback
went back to.

Exit status: 0 done, 2 failed.`,
		Args: onePipeline("history"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := v1alpha1.Target{Pipeline: args[0], Environment: environment}
			show := func(history view.History, err error) error {
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(cmd.OutOrStdout(), history)
				}
				return printHistory(cmd.OutOrStdout(), history)
			}
			if from.asked() {
				return show(from.history(cmd.Context(), target))
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				return show(s.History(cmd.Context(), target))
			})
		},
	}
	remoteFlags(cmd, &from)
	requiredEnvironment(cmd, &environment)
	outputFlag(cmd, &output)
	return cmd
}

// onePipeline is an argument check with an example in its error.
func onePipeline(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one pipeline and not %d, as in `syncer %s session-enrichment --env prod`", command, len(args), command)
		}
		return nil
	}
}

func requiredEnvironment(cmd *cobra.Command, environment *string) {
	cmd.Flags().StringVar(environment, "env", "", "environment (required)")
	if err := cmd.MarkFlagRequired("env"); err != nil {
		panic(err) // the flag is defined above
	}
}

func printHistory(w io.Writer, history view.History) error {
	out := &text{w: w}
	for _, d := range history.Deployments {
		rollback := ""
		if d.RollbackOf != 0 {
			rollback = fmt.Sprintf("  rollback to #%d", d.RollbackOf)
		}
		out.line("#%-3d %s  %-7s  %.8s  %s%s", d.Number, d.Time.Format("2006-01-02 15:04:05"), d.Outcome, d.Commit, d.Subject, rollback)
		out.line("     by %s", d.Author)
		if d.AllowedBy != "" {
			out.line("     without promotion, allowed by %s", d.AllowedBy)
		}
		for _, image := range d.Images {
			out.line("     %s  %.19s", image.Reference, orDash(image.Digest))
		}
	}
	return out.err
}
