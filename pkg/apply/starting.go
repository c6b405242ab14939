package apply

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// beganMeanwhile holds the replacement of an object whose run has begun since the plan was made. The status may not show the
// run yet, so a delete that requires the judged state would pass.
func (a *application) beganMeanwhile(ctx context.Context, s *plan.Step) error {
	live := s.Change.Live
	if s.Rendered == nil || !a.cluster.Judge().Run(live).Starting {
		return nil
	}
	policy, err := a.policies.ForRunning(s.Rendered)
	if err != nil || policy == v1alpha1.Replace {
		return err
	}
	if run := inventory.RunOf(ctx, a.cluster, live); run.State == health.Running {
		return &heldError{manifest.Held{Action: manifest.Replace, Reason: manifest.HeldRunning, Message: run.Message, For: []manifest.ID{s.Change.ID}}}
	}
	return nil
}
