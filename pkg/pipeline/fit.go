package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// fit returns the pins that a target's record is to hold beside the inventory of a set. A target that is too large for a
// record is refused before anything of it is tried or written.
func fitPins(w *target.Desired, decided pin.Decision, set manifest.Set) ([]v1alpha1.PinnedImage, error) {
	demand := record.Demand{Set: make([]manifest.ID, len(set)), Pins: decided.Pins, Images: decided.Deployed(w, nil)}
	for i, obj := range set {
		demand.Set[i] = manifest.IDOf(obj)
	}
	if w.Record != nil {
		demand.Before = *w.Record
	}
	return demand.Fit()
}
