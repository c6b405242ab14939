package pipeline

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// pinRequest says how the references of a target are resolved in this pass.
func (c *carrier) pinRequest(w *target.Desired) pin.Request {
	request := pin.Request{Lookups: c.lookups, AllowPromotion: c.permits().Promotions[w.Target] != ""}
	if c.agenda != nil {
		request.From = c.agenda.Find(v1alpha1.Target{Pipeline: w.Target.Pipeline, Environment: w.Environment.Images.PromoteFrom})
	}
	return request
}

// imageResults lists the references of a target for a report.
func imageResults(w *target.Desired, decided pin.Decision) []ImageResult {
	refs := slices.Clone(w.Rendered.Refs)
	image.SortReferences(refs)
	out := make([]ImageResult, len(refs))
	for i, ref := range refs {
		out[i] = ImageResult{Object: ref.Object, Path: ref.Path, Reference: ref.Value, Digest: decided.Digest(ref)}
	}
	return out
}
