package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/setup"
)

func newCheckCommand(shared *sharedFlags) *cobra.Command {
	var environments []string
	var output, as string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is missing, and how to mend it",
		Long: `check looks at everything that syncer needs and changes nothing: the
configuration, the repository, each environment's API server, CRD, namespace and
clock, the rights to what the repository deploys, and the registries of its
images. It prints a line for each, and for each right that is missing.

WARN is something that syncer works without, such as a right to a kind that the
repository does not have. FAIL is something that the newest commit needs.

It runs as you. --as system:serviceaccount:syncer-system:syncer asks for the
rights of the daemon's account, which takes the right to impersonate it.

Exit status: 0 nothing failed, 2 something did.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd, shared, environments, output, as)
		},
	}
	environmentFlag(cmd, &environments)
	cmd.Flags().StringVar(&as, "as", "", "act as this user in the clusters")
	outputFlag(cmd, &output)
	return cmd
}

// errChecks ends a command whose checks failed; their lines have the details.
var errChecks = errors.New("a check failed")

func check(cmd *cobra.Command, shared *sharedFlags, environments []string, output, as string) error {
	out := &text{w: cmd.OutOrStdout()}
	notify := func(c setup.Check) {
		if output == "text" {
			printCheck(out, c)
		}
	}
	s, err := shared.open(commands.Options{Log: warnings(cmd.ErrOrStderr()), As: as})
	if err != nil {
		checks := brokenConfiguration(err)
		for _, c := range checks.Checks {
			notify(c)
		}
		return finishChecks(cmd, checks, output, out.err)
	}
	checker := setup.Checker{Planner: s.Planner, Source: s.Source, Registry: s.Registry, As: as, Now: time.Now}
	checks, err := checker.Check(cmd.Context(), environments, notify)
	err = errors.Join(err, s.Close(), out.err)
	return finishChecks(cmd, checks, output, err)
}

func finishChecks(cmd *cobra.Command, checks setup.Checks, output string, err error) error {
	if output == "json" && err == nil {
		err = printJSON(cmd.OutOrStdout(), checks)
	}
	if checks.Failed() {
		err = errors.Join(err, errChecks)
	}
	return err
}

// brokenConfiguration returns the checks of a configuration that cannot be read: a failed one for each error.
func brokenConfiguration(err error) setup.Checks {
	checks := setup.Checks{Checks: []setup.Check{}}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		checks.Checks = append(checks.Checks, setup.Check{
			Check: setup.CheckConfiguration, Environments: []string{}, Status: setup.CheckFail,
			Message: line, Fix: "mend the file; docs/reference/configuration.md has every key",
		})
	}
	return checks
}

func printCheck(out *text, c setup.Check) {
	message := c.Message
	if len(c.Environments) > 0 {
		message = fmt.Sprintf("%s: %s", strings.Join(c.Environments, ", "), message)
	}
	if c.Fix != "" {
		message += "; " + c.Fix
	}
	out.line("%-4s  %-13s  %s", c.Status, c.Check, message)
}
