package pin

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// verify makes sure that every image is signed that has to be. It refuses a template that may become one of these images.
func (d *decider) verify(ctx context.Context, decided Decision) error {
	rules := d.desired.Environment.Images.Signatures
	var errs []error
	for _, ref := range d.desired.Rendered.Refs {
		for _, required := range rules {
			if ref.Form == image.Template && image.MayMatch(required.Match, ref.Value) {
				rule := fmt.Sprintf("images.signatures wants a signature for %s, and a template may become anything", required.Match)
				errs = append(errs, &image.RefusedError{Object: ref.Object, Path: ref.Path, Value: ref.Value, Rule: rule})
			}
		}
	}
	for _, ref := range target.Distinct(d.desired.Rendered.Refs) {
		digest, repository := decided.Digest(ref), image.Repository(ref.Value)
		for _, required := range rules {
			if !image.Matches(required.Match, repository) || d.isVerified(repository, digest) {
				continue
			}
			if d.lookup == nil {
				d.lookup = d.resolver.lookupFor(ctx, d.request.Lookups, d.desired)
			}
			if err := d.lookup.Verify(ctx, image.Located(ref.Value), digest, required.PublicKeyFile); err != nil {
				errs = append(errs, d.desired.PlaceErrors(ref.Value, err)...)
			}
		}
	}
	return errors.Join(errs...)
}

// isVerified reports whether an image was deployed here before, and so verified then: a rollback needs no registry.
func (d *decider) isVerified(repository, digest string) bool {
	if d.desired.Record == nil {
		return false
	}
	for _, pin := range d.desired.Record.Spec.Images {
		if pin.Digest == digest && image.Repository(pin.Reference) == repository {
			return true
		}
	}
	return false
}
