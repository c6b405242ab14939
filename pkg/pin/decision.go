package pin

import (
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Decision is what the references of a target stand for.
type Decision struct {
	// Resolved has the digests by reference as git writes it.
	Resolved map[string]image.Resolved
	// Pins are what the spec of the record has to hold, sorted.
	Pins []v1alpha1.PinnedImage
	// Moved are the references whose tag was found to have moved.
	Moved []string
	// Kept are the references that could not be looked up, and keep their digest.
	Kept []string
}

// Digest returns what a reference stands for; "" for a template.
func (d Decision) Digest(ref image.Reference) string {
	if ref.Form == image.Digest {
		_, digest, _ := strings.Cut(ref.Value, "@")
		return digest
	}
	return d.Resolved[ref.Value].Digest
}

// Deployed lists the distinct references of a target and what they stand for, sorted. It leaves out the objects that are
// left alone: they run what they ran, whatever git says.
func (d Decision) Deployed(desired *target.Desired, alone map[manifest.Key]bool) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for _, ref := range desired.Rendered.Refs {
		if !alone[ref.Object.Key()] {
			out = append(out, v1alpha1.DeployedImage{Reference: ref.Value, Tag: d.Resolved[ref.Value].Tag, Digest: d.Digest(ref)})
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.DeployedImage) int { return strings.Compare(a.Reference, b.Reference) })
	return slices.Compact(out)
}

// Same reports whether a record need not be written for its pins alone.
func Same(a, b []v1alpha1.PinnedImage) bool {
	return slices.EqualFunc(a, b, func(x, y v1alpha1.PinnedImage) bool {
		return target.KeyOf(x) == target.KeyOf(y) && x.Tag == y.Tag && x.Digest == y.Digest && x.Seen == y.Seen &&
			(x.UnusedSince == nil) == (y.UnusedSince == nil)
	})
}
