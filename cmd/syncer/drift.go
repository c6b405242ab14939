package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/drift"
)

// markdownLimit is the largest comment on GitHub, less some room for a line above the report.
const markdownLimit = 65_000

const driftHelp = `drift compares every object with the commit last applied, and names the field
manager that made each difference: a client, such as kubectl-edit, and not a
person. It writes nothing. What a newer commit would change is a rollout and not
drift; see syncer diff.

An object costs a server-side dry run only where the hashes of its record do not
prove that nobody changed it. --full tries every object. It also finds what the
API server would refuse or change in an object today, by a new admission policy,
webhook or schema.

Fields that somebody added are found as well. What controllers decide by design
is left out; --explain counts it by rule.

--compare lists the fields in which two environments differ: those that their
overlays declare, and those that only a cluster has. -o markdown and -o html
compare each environment with the one before it in the configuration. Only a
difference that git does not declare counts for the exit status.

With --server it asks a daemon for what it found when it looked last, at most 50
findings of a target. Environments are not compared with each other then.

Changes that wait are listed and are no difference: git is ahead of the cluster
on purpose there.

Exit status: 0 no difference, 1 differences, 2 the comparison failed.`

func newDriftCommand(shared *sharedFlags, differs *bool) *cobra.Command {
	var options commands.DriftOptions
	var output, failOn string
	var since time.Duration
	var limit int
	var explain bool
	var from remote
	cmd := &cobra.Command{
		Use:   "drift [PIPELINE...]",
		Short: "Show how the cluster differs from the commit last applied",
		Long:  driftHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			options.Selection.Pipelines = args
			options.CompareAll = output == "markdown" || output == "html"
			at := drift.Severity(failOn)
			if at != drift.Info && at != drift.Warning && at != drift.Critical {
				return fmt.Errorf("--fail-on %s: the severities are info, warning and critical", failOn)
			}
			show := func(report drift.Report, err error) error {
				if report.GeneratedAt.IsZero() {
					return err
				}
				if since > 0 {
					report = report.Within(since)
				} else if output == "text" {
					report.Past = nil // only --since includes them
				}
				*differs = report.Fails(at)
				if err != nil && len(report.Findings) == 0 && output == "text" {
					return err // a report of no drift would be a guess
				}
				return errors.Join(err, printReport(cmd.OutOrStdout(), report, output, limit, explain))
			}
			if from.asked() {
				if len(options.Compare) > 0 || explain || options.Full {
					return errors.New("--compare, --explain and --full need the clusters, and a daemon keeps none of them; leave out --server")
				}
				report, more, lost, err := from.drift(cmd.Context(), options.Selection)
				if err != nil {
					return err
				}
				if more > 0 {
					warnings(cmd.ErrOrStderr()).Warn("a record keeps some of its target's findings; without --server all are compared", "missing", more)
				}
				return show(report, lost)
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				return show(s.Drift(cmd.Context(), options))
			})
		},
	}
	remoteFlags(cmd, &from)
	environmentFlag(cmd, &options.Selection.Environments)
	outputFlag(cmd, &output, "yaml", "markdown", "html", "junit", "sarif")
	cmd.Flags().DurationVar(&since, "since", 0, "only what came to be, or ended, within this time")
	cmd.Flags().StringSliceVar(&options.Compare, "compare", nil, "compare two environments with each other,\nas in staging,prod")
	cmd.Flags().BoolVar(&options.Full, "full", false, "try every object by a dry run, also those that\nnobody changed")
	cmd.Flags().StringVar(&failOn, "fail-on", "info", "exit with 1 from this severity on:\ninfo, warning or critical")
	cmd.Flags().IntVar(&limit, "limit", markdownLimit, "the most bytes that -o markdown prints;\n0 is no limit")
	cmd.Flags().BoolVar(&explain, "explain", false, "count what was left out because somebody decides\nit by design")
	return cmd
}

func printReport(w io.Writer, report drift.Report, output string, limit int, explain bool) error {
	switch output {
	case "json":
		return printJSON(w, report)
	case "yaml":
		return drift.YAML(w, report)
	case "markdown":
		return drift.Markdown(w, report, limit)
	case "html":
		return drift.HTML(w, report)
	case "junit":
		return drift.JUnit(w, report)
	case "sarif":
		return drift.SARIF(w, report)
	}
	style := drift.Style{Explain: explain}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		style.Color = os.Getenv("NO_COLOR") == "" // no-color.org
		style.Width, _, _ = term.GetSize(int(file.Fd()))
	}
	return drift.Text(w, report, style)
}
