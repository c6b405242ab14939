package target

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// PinKey identifies a digest: a commit that returns to the same key gets the earlier digest back.
type PinKey struct{ Reference, Refresh, Semver string }

// KeyOf returns the key of a pin.
func KeyOf(pin v1alpha1.PinnedImage) PinKey {
	return PinKey{pin.Reference, pin.Refresh, pin.Semver}
}

// PinKey returns the key of a reference of the target.
func (d *Desired) PinKey(reference string) PinKey {
	key := PinKey{Reference: reference, Refresh: d.Settings.Images.Refresh[reference]}
	if strings.Contains(reference, "@") {
		return key // git names the exact bytes, and no range chooses others
	}
	for _, s := range d.Settings.Images.Select {
		if image.Repository(s.Repository) == image.Repository(reference) {
			key.Semver = s.Semver
		}
	}
	return key
}

// ByRange separates the references with a tag from git from the references with a tag from a range. The latter get this
// tag.
func (d *Desired) ByRange(resolved map[string]image.Resolved) (written, chosen []image.Reference) {
	for _, ref := range d.Rendered.Refs {
		if ref.Form != image.Tag || d.PinKey(ref.Value).Semver == "" {
			written = append(written, ref)
			continue
		}
		ref.Value = image.WithTag(ref.Value, resolved[ref.Value].Tag)
		chosen = append(chosen, ref)
	}
	return written, chosen
}

// Policy is the image policy of the environment, or the one that pipeline.yaml sets instead.
func (d *Desired) Policy() v1alpha1.PinPolicy {
	return cmp.Or(d.Settings.Images.Policy, d.Environment.Images.Policy)
}

// Distinct lists the references of a target that name an image, each once.
func Distinct(refs []image.Reference) []image.Reference {
	seen := map[string]bool{}
	var out []image.Reference
	for _, ref := range refs {
		if ref.Form != image.Template && !seen[ref.Value] {
			seen[ref.Value] = true
			out = append(out, ref)
		}
	}
	return out
}

// PlaceErrors returns an error for each place that uses a reference which could not be resolved.
func (d *Desired) PlaceErrors(reference string, err error) []error {
	var errs []error
	for _, ref := range d.Rendered.Refs {
		if ref.Value == reference {
			errs = append(errs, fmt.Errorf("%s: %s: %w", ref.Object, ref.Path, err))
		}
	}
	return errs
}

// Applicable is the set that syncer applies: the rendered one with digests, without the fields of the API server, and with
// the label that makes its objects members of the target.
func (d *Desired) Applicable(resolved map[string]image.Resolved, namespace string) (manifest.Set, error) {
	set, err := image.Pin(d.Rendered.Set.Set(), d.Rendered.Fields, resolved)
	if err != nil {
		return nil, err
	}
	key, value := v1alpha1.MemberLabel(namespace, d.Target)
	return set.Applicable().Label(key, value), nil
}

// Recorded returns the digests that a record has for the references of the target.
func (d *Desired) Recorded(record *v1alpha1.PipelineSync) map[string]image.Resolved {
	pins := map[PinKey]v1alpha1.PinnedImage{}
	for _, pin := range record.Spec.Images {
		pins[KeyOf(pin)] = pin
	}
	resolved := map[string]image.Resolved{}
	for _, ref := range Distinct(d.Rendered.Refs) {
		if pin, ok := pins[d.PinKey(ref.Value)]; ok && ref.Form == image.Tag {
			resolved[ref.Value] = image.Resolved{Tag: pin.Tag, Digest: pin.Digest}
		}
	}
	return resolved
}
