package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// Refresh is the commit that looks one reference up again.
type Refresh struct {
	File    string // pipeline.yaml, in the repository
	Before  string // its content; "" where there is none
	After   string
	Subject string
}

// Refresh gives the change of pipeline.yaml that makes one environment look a reference up again. It writes nothing:
// the change is a commit of the repository, so that reverting it brings the earlier digest back.
func (s *Session) Refresh(ctx context.Context, of v1alpha1.Target, reference string) (Refresh, error) {
	environments, err := s.Config.Select([]string{of.Environment})
	if err != nil {
		return Refresh{}, err
	}
	snap, err := s.Source.Fetch(ctx)
	if err != nil {
		return Refresh{}, err
	}
	pipelines, err := s.Planner.Discover(snap)
	if err != nil {
		return Refresh{}, err
	}
	pipeline := find(pipelines, of.Pipeline)
	if pipeline == nil || pipeline.Overlays[of.Environment] == "" {
		return Refresh{}, fmt.Errorf("commit %.8s has no overlay of pipeline %q for %s", snap.Commit, of.Pipeline, of.Environment)
	}
	d := s.Planner.Desired(pipeline, environments[0], snap)
	s.Planner.RenderOne(ctx, d)
	if d.Err != nil {
		return Refresh{}, d.Err
	}
	if tags := image.Tags(d.Rendered.Refs); !slices.Contains(tags, reference) {
		return Refresh{}, fmt.Errorf("%s does not use %s by a tag; it uses %s", of, reference, strings.Join(tags, ", "))
	}
	out := Refresh{
		File:    path.Join(pipeline.Folder(of.Environment), target.SettingsFile),
		Subject: fmt.Sprintf("Refresh the digest of %s in %s", reference, of.Environment),
	}
	before, err := fs.ReadFile(snap.Files, out.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Refresh{}, err
	}
	out.Before = string(before)
	out.After, err = refreshed(before, of.Environment, reference, newText(s.Reconciler.Dates.Date(), d.Settings.Images.Refresh[reference]))
	return out, err
}

// newText is a text that no refresh had before: the time, and a later one where the clock stands or went back. An
// earlier text would be a return to its pin, and no refresh.
func newText(now time.Time, before string) string {
	if last, err := time.Parse(time.RFC3339, before); err == nil && !now.After(last) {
		now = last.Add(1)
	}
	return now.UTC().Format(time.RFC3339Nano)
}
