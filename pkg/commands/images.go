package commands

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/view"
)

// Images compares the images of the environments of each selected pipeline, by the records. The error names the environments
// that cannot be read.
func (s *Session) Images(ctx context.Context, selection v1alpha1.Selection) (view.Images, error) {
	targets, incomplete, err := s.Planner.Recorded(ctx, selection)
	if err != nil {
		return view.Images{Pipelines: []view.PipelineImages{}}, err
	}
	views := make([]view.Target, len(targets))
	for i, d := range targets {
		views[i] = view.OfRecord(d.Record, -1)
	}
	return view.ImagesOf(views), incomplete
}
