package main

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
)

func newPinsCommand(shared *sharedFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "Work with the digests that references are pinned to",
	}
	cmd.AddCommand(newPinsRefreshCommand(shared))
	return cmd
}

func newPinsRefreshCommand(shared *sharedFlags) *cobra.Command {
	var environment string
	cmd := &cobra.Command{
		Use:   "refresh PIPELINE --env ENVIRONMENT IMAGE",
		Short: "Print the commit that looks an image up again",
		Long: `refresh prints the commit that makes one environment look the digest of an image
up again, as a patch for git am. Merge it like any change; a revert brings the
earlier digest back. IMAGE is the reference as git writes it.

  syncer pins refresh api-ingest --env prod registry.example.com/api:v1 | git am

Exit status: 0 done, 2 failed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("refresh takes a pipeline and an image and not %d arguments, as in `syncer pins refresh api-ingest --env prod registry.example.com/api:v1`", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				refresh, err := s.Refresh(cmd.Context(), v1alpha1.Target{Pipeline: args[0], Environment: environment}, args[1])
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), refresh.Patch(patchAuthor(), time.Now()))
				return err
			})
		},
	}
	requiredEnvironment(cmd, &environment)
	return cmd
}

// patchAuthor is the author that git would give to a commit made here, as far as the environment shows it. git am keeps
// the author, and notes the user who runs it as the committer.
func patchAuthor() string {
	name := cmp.Or(os.Getenv("GIT_AUTHOR_NAME"), os.Getenv("USER"), "syncer")
	mail := cmp.Or(os.Getenv("GIT_AUTHOR_EMAIL"), os.Getenv("EMAIL"), name+"@localhost")
	return fmt.Sprintf("%s <%s>", name, mail)
}
