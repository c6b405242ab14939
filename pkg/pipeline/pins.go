package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// keptPins bounds how many pins of references that are no longer used a record keeps, so that a revert within the last
// deployments is exact and a record cannot grow for ever.
const keptPins = 200

// decision is what a target's references stand for.
type decision struct {
	digests map[string]string
	pins    []v1alpha1.PinnedImage // what the record's spec is to hold, sorted by reference
	stale   []string               // Track references that could not be looked up and keep their digest
}

// decide gives each tag of a target its digest: the recorded one under Pin, the tag's own of now under Track, and a
// look-up for a reference that was never deployed here.
func (w *work) decide(ctx context.Context, lookup *image.Lookup, now time.Time) (decision, error) {
	recorded := map[string]v1alpha1.PinnedImage{}
	if w.record != nil {
		for _, pin := range w.record.Spec.Images {
			recorded[pin.Reference] = pin
		}
	}
	tags := image.Tags(w.refs)
	var ask []string
	for _, tag := range tags {
		if _, pinned := recorded[tag]; !pinned || w.environment.Images.Policy == v1alpha1.Track {
			ask = append(ask, tag)
		}
	}
	resolved, failed := lookup.All(ctx, ask)
	d := decision{digests: map[string]string{}}
	var errs []error
	for _, tag := range tags {
		pin, pinned := recorded[tag]
		digest, fresh := resolved[tag]
		switch {
		case fresh && digest != pin.Digest:
			pin = v1alpha1.PinnedImage{Reference: tag, Digest: digest, ResolvedAt: metav1.NewTime(now.UTC().Truncate(time.Second)), Commit: w.snapshot.Commit}
		case failed[tag] != nil && pinned:
			d.stale = append(d.stale, tag) // what runs goes on running, whatever its registry says today
		case failed[tag] != nil:
			errs = append(errs, w.blame(tag, failed[tag])...)
			continue
		}
		recorded[tag] = pin
		d.digests[tag] = pin.Digest
	}
	if len(errs) > 0 {
		return decision{}, errors.Join(errs...)
	}
	d.pins = keep(recorded, tags)
	return d, nil
}

func samePins(a, b []v1alpha1.PinnedImage) bool {
	return slices.EqualFunc(a, b, func(x, y v1alpha1.PinnedImage) bool {
		return x.Reference == y.Reference && x.Digest == y.Digest
	})
}

// blame names each place that uses a reference which could not be resolved.
func (w *work) blame(tag string, err error) []error {
	var errs []error
	for _, ref := range w.refs {
		if ref.Value == tag && ref.Form == image.Tag {
			errs = append(errs, fmt.Errorf("%s: %s: %w", ref.Object, ref.Path, err))
		}
	}
	return errs
}

// keep drops the oldest pins that are not in use.
func keep(pins map[string]v1alpha1.PinnedImage, inUse []string) []v1alpha1.PinnedImage {
	var used, unused []v1alpha1.PinnedImage
	for _, pin := range pins {
		if slices.Contains(inUse, pin.Reference) {
			used = append(used, pin)
		} else {
			unused = append(unused, pin)
		}
	}
	slices.SortFunc(unused, func(a, b v1alpha1.PinnedImage) int { return b.ResolvedAt.Compare(a.ResolvedAt.Time) })
	kept := append(used, unused[:min(len(unused), keptPins)]...)
	slices.SortFunc(kept, func(a, b v1alpha1.PinnedImage) int { return strings.Compare(a.Reference, b.Reference) })
	return kept
}

// applicable is what syncer applies: the rendered set with digests, without what belongs to the API server, and with
// the label that makes its objects members of the target.
func (w *work) applicable(digests map[string]string, namespace string) (manifest.Set, error) {
	set, err := image.Pin(w.plain, w.fields, digests)
	if err != nil {
		return nil, err
	}
	key, value := apply.MemberLabel(namespace, w.target)
	return set.Applicable().Label(key, value), nil
}

// images lists the references of a target for a report.
func (w *work) images(digests map[string]string) []ImageResult {
	refs := slices.Clone(w.refs)
	image.SortReferences(refs)
	out := make([]ImageResult, len(refs))
	for i, ref := range refs {
		out[i] = ImageResult{Object: ref.Object, Path: ref.Path, Reference: ref.Value, Digest: digests[ref.Value]}
		if ref.Form == image.Digest {
			_, out[i].Digest, _ = strings.Cut(ref.Value, "@")
		}
	}
	return out
}

// deployed lists the distinct references of a target and their digests.
func (w *work) deployed(digests map[string]string) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for _, ref := range w.images(digests) {
		out = append(out, v1alpha1.DeployedImage{Reference: ref.Reference, Digest: ref.Digest})
	}
	slices.SortFunc(out, func(a, b v1alpha1.DeployedImage) int { return strings.Compare(a.Reference, b.Reference) })
	return slices.Compact(out)
}
