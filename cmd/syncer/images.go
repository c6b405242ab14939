package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/view"
)

func newImagesCommand(shared *sharedFlags) *cobra.Command {
	var selection v1alpha1.Selection
	var output string
	var from remote
	cmd := &cobra.Command{
		Use:   "images [PIPELINE...]",
		Short: "Compare the images that environments run",
		Long: `images prints what each environment runs of each pipeline: the tag, the digest,
when it was pinned and by which commit. A row marked with ! has one tag that
stands for different bytes in two environments. A line marked with ? is a value
that looks like an image, not pinned, with the setting that pins it.

Exit status: 0 done, 2 failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection.Pipelines = args
			show := func(images view.Images, order []string, err error) error {
				if output == "json" {
					return errors.Join(err, printJSON(cmd.OutOrStdout(), images))
				}
				return errors.Join(err, printImages(cmd.OutOrStdout(), images, order))
			}
			if from.asked() {
				images, order, lost, err := from.images(cmd.Context(), selection)
				if err != nil {
					return err
				}
				return show(images, order, lost)
			}
			return shared.with(commands.Options{Log: warnings(cmd.ErrOrStderr())}, func(s *commands.Session) error {
				images, err := s.Images(cmd.Context(), selection)
				var order []string
				for _, environment := range s.Config.Environments {
					order = append(order, environment.Name)
				}
				return show(images, order, err)
			})
		},
	}
	remoteFlags(cmd, &from)
	environmentFlag(cmd, &selection.Environments)
	outputFlag(cmd, &output)
	return cmd
}

func printImages(w io.Writer, images view.Images, order []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range images.Pipelines {
		fmt.Fprintf(table, "%s\n", p.Pipeline)
		for _, row := range p.Images {
			mark := " "
			if row.Differs {
				mark = "!"
			}
			fmt.Fprintf(table, "%s %s\n", mark, manifest.Visible(row.Repository))
			environments := slices.SortedFunc(maps.Keys(row.Environments), func(a, b string) int {
				return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
			})
			for _, name := range environments {
				cell := row.Environments[name]
				pinned := "-"
				if cell.PinnedAt != nil {
					pinned = cell.PinnedAt.Format("2006-01-02 15:04")
				}
				fmt.Fprintf(table, "    %s\t%s\t%.12s\t%s\t%.8s\n", name, manifest.Visible(tagOf(cell.Reference)), strings.TrimPrefix(cell.Digest, "sha256:"), pinned, orDash(cell.Commit))
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return printUnpinned(w, images)
}

// printUnpinned prints the values that may be an image that runs by tag, and how to pin each.
func printUnpinned(w io.Writer, images view.Images) error {
	out := &text{w: w}
	for _, p := range images.Pipelines {
		for _, u := range p.Unpinned {
			out.line("? %s  %s@%s  %s  %s", u.Reference, p.Pipeline, u.Environment, u.Object, u.Path)
			out.line("    %s", u.Message)
		}
	}
	return out.err
}

// tagOf is the part of a reference after the repository: its tag, or a remark that it has none.
func tagOf(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	if _, tag, ok := strings.Cut(reference[strings.LastIndex(reference, "/")+1:], ":"); ok {
		return tag
	}
	return "(digest)"
}
