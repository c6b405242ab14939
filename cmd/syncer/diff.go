package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func newDiffCommand(shared *sharedFlags, differs *bool) *cobra.Command {
	var selection v1alpha1.Selection
	var revision, output string
	cmd := &cobra.Command{
		Use:   "diff [PIPELINE...]",
		Short: "Show what a sync would change",
		Long: `diff shows what syncing a revision would change, from server-side dry runs. It
writes nothing. What somebody changed in the cluster is drift, which git does
not change; see syncer drift. A commit that an environment would not follow,
because of its signatures, is compared all the same, with a warning.

Exit status: 0 nothing would change, 1 something would, 2 the comparison failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection.Pipelines = args
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				pass, err := s.Diff(cmd.Context(), revision, selection)
				if pass != nil {
					*differs = pass.Differs()
					for _, refused := range pass.Refused {
						fmt.Fprintf(cmd.ErrOrStderr(), "syncer: warning: %s\n", manifest.Visible(refused.Preview()))
					}
				}
				return showPass(cmd, pass, err, output, printDiff)
			})
		},
	}
	environmentFlag(cmd, &selection.Environments)
	cmd.Flags().StringVar(&revision, "revision", "", "commit, branch or tag (default: the newest commit)")
	outputFlag(cmd, &output)
	return cmd
}

// printDiff prints the targets that would change, each object with its fields before and after.
func printDiff(w io.Writer, pass *commands.Pass) error {
	out := &text{w: w}
	changed := 0
	for _, target := range pass.Targets {
		if len(target.Changes) == 0 && target.Error == "" && target.Message == "" && len(target.Warnings) == 0 {
			continue
		}
		if len(target.Changes) > 0 || target.Error != "" || target.Message != "" {
			changed++
		}
		out.line("%s%s", target.Target(), prefixed("  ", target.Message))
		for _, change := range target.Changes {
			out.line("  %-7s %s", change.Action, change.Object)
			if change.Held != nil {
				out.line("          %s waits: %s", strings.ToLower(string(change.Held.Action)), change.Held.Message)
			}
			for _, field := range change.Fields {
				out.line("          %s", field.Path)
				out.value("            - ", field.From)
				out.value("            + ", field.To)
			}
		}
		out.warnings(target)
		out.problem(target)
	}
	if changed == 0 && len(pass.Targets) > 0 {
		out.line("commit %.8s changes nothing in %s", pass.Commit, counted(len(pass.Targets), "target"))
	}
	return out.err
}
