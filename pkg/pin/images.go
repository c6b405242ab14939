package pin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// Findings returns what registries say of the deployed images of a target. It asks them at most once in the interval of
// images, and gives the last answer in between. Each finding has the time of when it was first made.
func (r *Resolver) Findings(ctx context.Context, lookups *Lookups, d *target.Desired, pins []v1alpha1.PinnedImage) []drift.Finding {
	last, recent := r.Checks.images(d.Target, d.Environment.Images.Interval.Duration)
	if recent {
		return stillDeployed(last, pins)
	}
	findings := r.Check(ctx, lookups, d, pins)
	for i := range findings {
		findings[i].Time = since(last, d.Record, findings[i], r.Dates.Stamp(d.Cluster).Time)
	}
	r.Checks.noteImages(d.Target, d.Environment.Images.Interval.Duration, findings)
	return findings
}

// Recheck asks the registries about the images of a target that is in sync. Where they say something new, or where a range
// may choose a new tag, it reports that the target is to be reconciled, and after what time. The API server is asked for
// nothing but pull secrets, and not for these where credentials are given.
func (r *Resolver) Recheck(ctx context.Context, d *target.Desired, pins []v1alpha1.PinnedImage, credentials *image.Credentials) (wait time.Duration, isNew bool) {
	lookups := r.NewLookups()
	lookups.known = credentials
	interval := d.Environment.Images.Interval.Duration
	before, _ := r.Checks.images(d.Target, interval)
	found := r.Check(ctx, lookups, d, pins)
	same := slices.EqualFunc(before, found, func(a, b drift.Finding) bool {
		return a.Kind == b.Kind && a.Object == b.Object && a.Path == b.Path && a.Live == b.Live
	})
	ranges := d.Policy() == v1alpha1.Track && len(d.Settings.Images.Select) > 0 // a new tag may be the highest
	if ctx.Err() != nil || same && !ranges {
		return 0, false
	}
	r.Checks.dropImages(d.Target)
	return r.Checks.Recheck(d.Target, interval), true
}

// stillDeployed drops findings about digests that a newer deployment replaced.
func stillDeployed(findings []drift.Finding, pins []v1alpha1.PinnedImage) []drift.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f drift.Finding) bool {
		return !slices.ContainsFunc(pins, func(p v1alpha1.PinnedImage) bool { return p.UnusedSince == nil && p.Digest == f.Desired })
	})
}

// since is when a finding was first made: by the process that wrote the record, or by this one.
func since(before []drift.Finding, record *v1alpha1.PipelineSync, f drift.Finding, now time.Time) *time.Time {
	if at := RecordedSince(record, f); at != nil {
		return at
	}
	for _, old := range before {
		if old.Kind == f.Kind && old.Object == f.Object && old.Path == f.Path && old.Desired == f.Desired && old.Live == f.Live {
			return old.Time
		}
	}
	return &now
}

// RecordedSince returns when a finding was first made by a record; nil where the record does not have it.
func RecordedSince(record *v1alpha1.PipelineSync, f drift.Finding) *time.Time {
	if record == nil || record.Status.Drift == nil {
		return nil
	}
	for _, old := range record.Status.Drift.Findings {
		if old.Kind == string(f.Kind) && old.Path == f.Path && old.Object.Kind == f.Object.Kind &&
			old.Object.Namespace == f.Object.Namespace && old.Object.Name == f.Object.Name && old.Message == f.Message && old.Time != nil {
			at := old.Time.UTC()
			return &at
		}
	}
	return nil
}

// Check asks the registries whether each deployed digest is still there, and what its tag stands for now. There is no
// finding about an image whose registry does not answer.
func (r *Resolver) Check(ctx context.Context, lookups *Lookups, d *target.Desired, pins []v1alpha1.PinnedImage) []drift.Finding {
	byKey := map[target.PinKey]v1alpha1.PinnedImage{}
	for _, pin := range pins {
		byKey[target.KeyOf(pin)] = pin
	}
	lookup := r.lookupFor(ctx, lookups, d)
	images := make([]*drift.CheckedImage, len(d.Rendered.Refs)) // each worker owns one slot
	var g panics.Group
	for i, ref := range d.Rendered.Refs {
		pin, ok := byKey[d.PinKey(ref.Value)]
		if !ok {
			continue
		}
		g.Go(func() error {
			found, err := checkImage(ctx, lookup, ref, pin)
			if err == nil {
				images[i] = &found
			} else if !errors.Is(err, context.Canceled) {
				r.Log.Warn("an image could not be checked", "pipeline", d.Target.Pipeline, "environment", d.Target.Environment, "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	var found []drift.CheckedImage
	for _, deployed := range images {
		if deployed != nil {
			found = append(found, *deployed)
		}
	}
	return drift.Images(d.Target.Pipeline, d.Target.Environment, found)
}

// checkImage compares a pin with its registry.
func checkImage(ctx context.Context, lookup *image.Lookup, ref image.Reference, pin v1alpha1.PinnedImage) (drift.CheckedImage, error) {
	deployed := drift.CheckedImage{Object: ref.Object, Path: ref.Path, Reference: ref.Value, Deployed: pin.Digest, Now: pin.Digest}
	if ref.Form == image.Tag {
		deployed.Reference = image.WithTag(ref.Value, pin.Tag)
		now, err := lookup.Digest(ctx, deployed.Reference)
		switch {
		case errors.Is(err, image.ErrNotFound):
			deployed.Now = ""
		case err != nil:
			return deployed, err
		default:
			deployed.Now = now
		}
		if deployed.Now == pin.Digest {
			return deployed, nil // the tag leads to the digest, so the digest is there
		}
	}
	_, err := lookup.Digest(ctx, image.Located(ref.Value)+"@"+pin.Digest)
	if errors.Is(err, image.ErrNotFound) {
		deployed.Missing, err = true, nil
	}
	return deployed, err
}
