package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
)

func newSyncCommand(shared *sharedFlags) *cobra.Command {
	var options commands.SyncOptions
	var output string
	cmd := &cobra.Command{
		Use:   "sync [PIPELINE...]",
		Short: "Carry the newest commit out, once",
		Long: `sync fetches the newest commit and brings every target to what it says. Targets
do not depend on each other's success. Fields that somebody changed in the
cluster are left alone where git did not change the object, unless the
environment corrects drift or --correct is given.

Exit status: 0 all is done, 2 a target failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			options.Selection.Pipelines = args
			if options.Wait < 0 {
				return fmt.Errorf("--wait %s: it cannot be negative", options.Wait)
			}
			progress := newProgress(cmd.ErrOrStderr())
			defer progress.end()
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr()), Progress: progress.step}, func(s *commands.Session) error {
				pass, err := s.Sync(cmd.Context(), options)
				progress.end()
				return showPass(cmd, pass, err, output, printSync)
			})
		},
	}
	environmentFlag(cmd, &options.Selection.Environments)
	cmd.Flags().BoolVar(&options.Correct, "correct", false, "also undo changes that were made in the cluster")
	cmd.Flags().DurationVar(&options.Wait, "wait", 0, "wait this long for every object to be healthy, and\nfail when one is not")
	outputFlag(cmd, &output)
	return cmd
}

// showPass prints a pass and turns its failures into the command's error.
func showPass(cmd *cobra.Command, pass *commands.Pass, err error, output string, print func(io.Writer, *commands.Pass) error) error {
	if pass == nil {
		return err
	}
	if pass.Rewound != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "syncer: the branch's history was rewritten: it stood at %.8s before\n", pass.Rewound)
	}
	var printErr error
	if output == "json" {
		printErr = printJSON(cmd.OutOrStdout(), pass)
	} else {
		printErr = print(cmd.OutOrStdout(), pass)
	}
	if errors.Is(cmd.Context().Err(), context.Canceled) {
		return errors.Join(printErr, errors.New("interrupted; what was done is done, and the next sync does the rest"))
	}
	if n := pass.Failures(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d targets failed", n, len(pass.Targets)))
	}
	return errors.Join(err, printErr)
}

// printSync prints one line for each target, and below it the changes or the error.
func printSync(w io.Writer, pass *commands.Pass) error {
	out := &text{w: w}
	out.line("commit %.8s  %s", pass.Commit, pass.Subject)
	for _, target := range pass.Targets {
		out.line("%-9s  %s%s", target.Result, target.Target(), prefixed("  ", target.Message))
		for _, change := range target.Changes {
			out.line("           %-7s %s", change.Action, change.Object)
			out.held(change)
			out.taken(change)
		}
		out.warnings(target)
		out.problem(target)
	}
	return out.err
}
