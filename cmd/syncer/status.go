package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

func newStatusCommand(shared *sharedFlags) *cobra.Command {
	var selection v1alpha1.Selection
	var output string
	var from remote
	cmd := &cobra.Command{
		Use:   "status [PIPELINE...]",
		Short: "Show what runs where",
		Long: `status prints one line for each target: the commit last applied, whether its
objects are healthy, whether somebody changed them in the cluster, the digests
that run, and when they were deployed. It needs neither git nor a registry.

With --server it asks a daemon, which knows how the objects were when it looked
last.

Exit status: 0 done, 2 failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection.Pipelines = args
			show := func(status view.Status, err error) error {
				if output == "json" {
					return errors.Join(err, printJSON(cmd.OutOrStdout(), status))
				}
				if err != nil && len(status.Targets) == 0 {
					return err
				}
				return errors.Join(err, printStatus(cmd.OutOrStdout(), status))
			}
			if from.asked() {
				status, lost, err := from.status(cmd.Context(), selection)
				if err != nil {
					return err
				}
				return show(status, lost)
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				return show(s.Status(cmd.Context(), selection))
			})
		},
	}
	remoteFlags(cmd, &from)
	environmentFlag(cmd, &selection.Environments)
	outputFlag(cmd, &output)
	return cmd
}

func printStatus(w io.Writer, status view.Status) error {
	if len(status.Targets) == 0 {
		_, err := fmt.Fprintln(w, "nothing has been deployed yet; run `syncer sync`")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TARGET\tCOMMIT\tREADY\tDRIFTED\tAGE\tIMAGES")
	for _, t := range status.Targets {
		fmt.Fprintf(table, "%s@%s\t%.8s\t%s\t%s\t%s\t%s\n", t.Pipeline, t.Environment, orDash(t.Commit), yesNo(t.Ready), yesNo(t.Drifted), orDash(t.Age), shortImages(t.Images))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, t := range status.Targets {
		if t.Message != "" {
			if _, err := fmt.Fprintf(w, "\n%s@%s: %s\n", t.Pipeline, t.Environment, drift.VisibleLines(t.Message)); err != nil {
				return err
			}
		}
	}
	return nil
}

// shortImages shortens digests to their first characters, by which people compare them.
func shortImages(images []v1alpha1.DeployedImage) string {
	var parts []string
	for _, image := range images {
		if digest := strings.TrimPrefix(image.Digest, "sha256:"); digest != "" {
			parts = append(parts, fmt.Sprintf("%.12s", digest))
		}
	}
	const shown = 2
	if len(parts) > shown {
		parts = append(parts[:shown], fmt.Sprintf("+%d", len(parts)-shown))
	}
	return orDash(strings.Join(parts, ","))
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
