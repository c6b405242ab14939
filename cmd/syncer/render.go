package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func newRenderCommand(shared *sharedFlags) *cobra.Command {
	var options commands.RenderOptions
	cmd := &cobra.Command{
		Use:   "render PIPELINE --env ENVIRONMENT",
		Short: "Print what sync applies, byte for byte",
		Long: `render prints the objects of one target as sync applies them: with the digests
that are deployed or would be, and with the label that marks the target's
objects. --tags prints what git says instead: tags as written, and nothing that
syncer adds.

Exit status: 0 done, 2 failed.`,
		Args: onePipeline("render"),
		RunE: func(cmd *cobra.Command, args []string) error {
			options.Pipeline = args[0]
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				rendered, err := s.Render(cmd.Context(), options)
				if err != nil {
					return err
				}
				if rendered.Note != "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "syncer: %s\n", manifest.Visible(rendered.Note))
				}
				for _, warning := range rendered.Warnings {
					fmt.Fprintf(cmd.ErrOrStderr(), "syncer: warning: %s\n", warning)
				}
				doc, err := rendered.Set.YAML()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(doc)
				return err
			})
		},
	}
	requiredEnvironment(cmd, &options.Environment)
	cmd.Flags().StringVar(&options.Revision, "revision", "", "commit, branch or tag (default: the newest commit)")
	cmd.Flags().BoolVar(&options.Tags, "tags", false, "print what git says, with tags as written")
	return cmd
}
