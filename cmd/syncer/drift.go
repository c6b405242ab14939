package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/pipeline"
)

func newDriftCommand(shared *sharedFlags, differs *bool) *cobra.Command {
	var selection pipeline.Selection
	var output string
	cmd := &cobra.Command{
		Use:   "drift [PIPELINE...]",
		Short: "Show how the cluster differs from the commit last applied",
		Long: `drift compares every object with the commit last applied, from server-side dry
runs, and names the field manager that made each difference. It writes nothing.
What a newer commit would change is a rollout and not drift; see syncer diff.

Changes that wait are listed and are no difference: git is ahead of the cluster
on purpose there.

Exit status: 0 no difference, 1 differences, 2 the comparison failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection.Pipelines = args
			return shared.with(pipeline.Options{Log: warnings(cmd.ErrOrStderr())}, func(r *pipeline.Runner) error {
				report, err := r.Drift(cmd.Context(), selection)
				if report.GeneratedAt.IsZero() {
					return err
				}
				*differs = report.Differs()
				if output == "json" {
					return errors.Join(err, printJSON(cmd.OutOrStdout(), report))
				}
				if err != nil && len(report.Findings) == 0 {
					return err // to print that there is no drift would be a guess
				}
				return errors.Join(err, drift.Text(cmd.OutOrStdout(), report))
			})
		},
	}
	environmentFlag(cmd, &selection.Environments)
	outputFlag(cmd, &output)
	return cmd
}
