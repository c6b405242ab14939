package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// uncompared are what a plan says of objects that it could not compare. Of one that cannot be read, what was found last
// stands: that it cannot be seen does not say that it is over.
func (c *carrier) uncompared(w *target.Desired, plan *apply.Plan) []drift.Finding {
	var out []drift.Finding
	pipeline, environment := w.Target.Pipeline, w.Target.Environment
	for _, u := range plan.Uncompared() {
		out = append(out, drift.Uncompared(pipeline, environment, u.Change, u.Err, u.Unread, manifest.FieldManager)...)
		if !u.Unread || w.Record == nil {
			continue
		}
		for _, f := range drift.Recorded(pipeline, environment, w.Record.Status.Drift) {
			if f.Object.Key() == u.Change.ID.Key() && slices.Contains([]drift.Kind{drift.Modified, drift.Added, drift.Missing}, f.Kind) {
				out = append(out, f)
			}
		}
	}
	return c.rated(out)
}

// uncomparedError names the objects that a plan could not compare; nil: it compared all.
func uncomparedError(plan *apply.Plan) error {
	var errs []error
	for _, u := range plan.Uncompared() {
		errs = append(errs, u.Err)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be compared: %w", manifest.Plural(len(errs), "object"), errors.Join(errs...))
}
