package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/view"
)

// Images reads the records of the selected pipelines. The error names the environments that cannot be read.
func (r *Runner) Images(ctx context.Context, selection v1alpha1.Selection) (view.Images, error) {
	works, lost, err := r.planner.Recorded(ctx, selection)
	if err != nil {
		return view.Images{Pipelines: []view.PipelineImages{}}, err
	}
	var targets []view.Target
	for _, w := range works {
		targets = append(targets, view.OfRecord(w.Record, -1))
	}
	return view.ImagesOf(targets), lost
}
