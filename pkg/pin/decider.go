package pin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// decider gives the references of one target their digests, once.
type decider struct {
	resolver  *Resolver
	desired   *target.Desired
	request   Request
	lookup    *image.Lookup // nil: the registries were not asked yet
	promotion *promotion    // nil: digests come from the registry
	recorded  map[target.PinKey]v1alpha1.PinnedImage
	moved     []string
	kept      []string
}

func newDecider(r *Resolver, desired *target.Desired, request Request) *decider {
	d := &decider{resolver: r, desired: desired, request: request, recorded: map[target.PinKey]v1alpha1.PinnedImage{}}
	if desired.Record != nil {
		for _, pin := range desired.Record.Spec.Images {
			d.recorded[target.KeyOf(pin)] = pin
		}
	}
	return d
}

func (d *decider) decide(ctx context.Context) (Decision, error) {
	if d.desired.Cluster != nil && len(d.lost()) > 0 {
		if err := d.recover(ctx); err != nil {
			return Decision{}, err
		}
	}
	if err := d.readPromotion(ctx); err != nil {
		return Decision{}, err
	}
	ask, waiting := d.sort()
	if len(waiting) > 0 {
		return Decision{}, awaitsPromotion(d.promotion.from, waiting)
	}
	if len(ask) > 0 {
		if err := d.lookUp(ctx, ask); err != nil {
			return Decision{Moved: d.moved}, err
		}
	}
	decided := d.decision()
	return decided, d.verify(ctx, decided)
}

// readPromotion reads what the other environment has deployed, where a reference is new here. A rollback does not depend
// on it.
func (d *decider) readPromotion(ctx context.Context) (err error) {
	if d.allRecorded() {
		return nil
	}
	d.promotion, err = d.resolver.promotion(ctx, d.desired, d.request.From)
	if err != nil && d.request.AllowPromotion { // the trailer may be there because of this error
		d.resolver.Log.Warn("going without promotion, as a commit trailer allows", "pipeline", d.desired.Target.Pipeline, "environment", d.desired.Target.Environment, "error", err)
		return nil
	}
	return err
}

// allRecorded reports whether every reference ran here before.
func (d *decider) allRecorded() bool {
	return !slices.ContainsFunc(target.Distinct(d.desired.Rendered.Refs), func(ref image.Reference) bool {
		_, pinned := d.recorded[d.desired.PinKey(ref.Value)]
		return !pinned
	})
}

// sort takes over recorded and promoted digests. It returns the references to look up, and a text for each one that waits
// for its promotion. Where a commit trailer allows it, a reference is looked up and does not wait. What the other
// environment has is taken from there all the same, so that both run the same bytes.
func (d *decider) sort() (ask []target.PinKey, waiting []string) {
	for _, ref := range target.Distinct(d.desired.Rendered.Refs) {
		key := d.desired.PinKey(ref.Value)
		pin, pinned := d.recorded[key]
		switch {
		case pinned && (d.desired.Policy() != v1alpha1.Track || ref.Form == image.Digest):
		case pinned && pin.UnusedSince != nil:
			// A rollback: the digest that ran comes back, whatever the tag stands for now. From here on the tag is
			// followed when it moves again.
			pin.Seen = ""
			d.recorded[key] = pin
		case pinned && d.request.Frozen:
		case pinned && !d.resolver.Checks.Due(d.desired.Target, ref.Value, d.desired.Environment.Images.Interval.Duration):
		case !pinned && d.promotion != nil:
			missing := d.promote(key, ref)
			switch {
			case missing != "" && d.request.AllowPromotion:
				ask = append(ask, key)
			case missing != "":
				waiting = append(waiting, missing)
			}
		default:
			ask = append(ask, key)
		}
	}
	return ask, waiting
}

// promote pins a reference to the digest of its deployment in the other environment, or says what is missing.
func (d *decider) promote(key target.PinKey, ref image.Reference) (missing string) {
	resolved := image.Resolved{}
	if ref.Form == image.Digest {
		_, resolved.Digest, _ = strings.Cut(ref.Value, "@")
		if missing = d.promotion.seen(ref.Value, resolved.Digest); missing != "" {
			return missing
		}
	} else if resolved.Digest, resolved.Tag, missing = d.promotion.digest(key); missing != "" {
		return missing
	}
	pin := d.pin(key, resolved)
	pin.PromotedFrom = d.promotion.from
	d.recorded[key] = pin
	return ""
}

// pin returns a new pin, dated now.
func (d *decider) pin(key target.PinKey, resolved image.Resolved) v1alpha1.PinnedImage {
	return v1alpha1.PinnedImage{
		Reference: key.Reference, Refresh: key.Refresh, Semver: key.Semver,
		Tag: resolved.Tag, Digest: resolved.Digest,
		ResolvedAt: d.resolver.Dates.Stamp(d.desired.Cluster), Commit: d.desired.Snapshot.Commit,
	}
}

// lookUp asks the registries, many references at once.
func (d *decider) lookUp(ctx context.Context, ask []target.PinKey) error {
	d.lookup = d.resolver.lookupFor(ctx, d.request.Lookups, d.desired)
	found := make([]image.Resolved, len(ask)) // each worker owns one slot
	failed := make([]error, len(ask))
	var g panics.Group
	for i, key := range ask {
		g.Go(func() error {
			if found[i], failed[i] = resolve(ctx, d.lookup, key); failed[i] == nil && d.isNew(key, found[i]) {
				failed[i] = d.lookup.Confirm(ctx, key.Reference, found[i].Digest)
			}
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	var errs []error
	for i, key := range ask {
		if failed[i] == nil {
			d.take(key, found[i])
			continue
		}
		if _, pinned := d.recorded[key]; !pinned {
			errs = append(errs, d.desired.PlaceErrors(key.Reference, failed[i])...)
			continue
		}
		if errors.Is(failed[i], image.ErrMismatch) {
			d.resolver.Log.Warn("a tag keeps its digest", "pipeline", d.desired.Target.Pipeline, "environment", d.desired.Target.Environment, "error", failed[i])
		}
		d.kept = append(d.kept, key.Reference) // the digest that runs stays, whatever the registry says today
	}
	return errors.Join(errs...)
}

// take pins a reference to what a registry answered.
func (d *decider) take(key target.PinKey, found image.Resolved) {
	pin, pinned := d.recorded[key]
	if !pinned {
		pin = d.pin(key, found)
		pin.Seen = d.seen(found)
		d.recorded[key] = pin
		if d.desired.Policy() == v1alpha1.Track {
			d.resolver.Checks.Checked(d.desired.Target, key.Reference)
		}
		return
	}
	followed := d.follow(pin, key, found)
	d.recorded[key] = followed
	if followed.Digest != pin.Digest {
		d.moved = append(d.moved, key.Reference)
	}
}

// isNew reports whether a digest would be deployed that this target has not seen yet.
func (d *decider) isNew(key target.PinKey, found image.Resolved) bool {
	pin, pinned := d.recorded[key]
	return !strings.Contains(key.Reference, "@") && (!pinned || found.Digest != pin.Digest && found.Digest != pin.Seen)
}

// seen is what a pin notes of a look-up: nothing under Pin, where a moved tag is reported and not followed.
func (d *decider) seen(found image.Resolved) string {
	if d.desired.Policy() != v1alpha1.Track {
		return ""
	}
	return found.Digest
}

// follow moves a pin to where its tag moved since the last look-up.
func (d *decider) follow(pin v1alpha1.PinnedImage, key target.PinKey, found image.Resolved) v1alpha1.PinnedImage {
	if pin.Seen != "" && found.Digest != pin.Seen {
		moves := 1
		if record.MovedLately(d.resolver.Dates.In(d.desired.Cluster), pin, d.desired.Environment.Images.Interval.Duration) {
			moves = pin.Moves + 1
		}
		pin = d.pin(key, found)
		pin.Moves = moves
	}
	pin.Seen = found.Digest
	return pin
}

func resolve(ctx context.Context, lookup *image.Lookup, key target.PinKey) (image.Resolved, error) {
	var r image.Resolved
	reference := key.Reference
	var err error
	if key.Semver != "" {
		if r.Tag, err = lookup.Highest(ctx, image.Located(reference), key.Semver); err != nil {
			return r, err
		}
		reference = image.WithTag(reference, r.Tag)
	}
	r.Digest, err = lookup.Digest(ctx, reference)
	if _, written, ok := strings.Cut(reference, "@"); ok && err != nil && !errors.Is(err, image.ErrNotFound) {
		// git names the very bytes: a registry that does not answer cannot change them. One that lost them is an error.
		return image.Resolved{Digest: written}, nil
	}
	return r, err
}

// decision sums up, and decides which pins the record keeps.
func (d *decider) decision() Decision {
	out := Decision{Resolved: map[string]image.Resolved{}, Moved: d.moved, Kept: d.kept}
	inUse := map[target.PinKey]bool{}
	for _, ref := range target.Distinct(d.desired.Rendered.Refs) {
		key := d.desired.PinKey(ref.Value)
		pin := d.recorded[key]
		inUse[key] = true
		if ref.Form == image.Tag {
			out.Resolved[ref.Value] = image.Resolved{Tag: pin.Tag, Digest: pin.Digest}
		}
	}
	number := int64(1)
	if d.desired.Record != nil && len(d.desired.Record.Status.History) > 0 {
		number = d.desired.Record.Status.History[0].Number + 1
	}
	for key, pin := range d.recorded {
		if inUse[key] {
			pin.UnusedSince, pin.LastDeployment = nil, number
		} else if pin.UnusedSince == nil {
			now := d.resolver.Dates.Stamp(d.desired.Cluster)
			pin.UnusedSince = &now
		}
		if inUse[key] || d.keeps(pin, number) {
			out.Pins = append(out.Pins, pin)
		}
	}
	slices.SortFunc(out.Pins, func(a, b v1alpha1.PinnedImage) int {
		return cmp.Or(strings.Compare(a.Reference, b.Reference), strings.Compare(a.Refresh, b.Refresh), strings.Compare(a.Semver, b.Semver))
	})
	return out
}

// keeps reports whether an unused pin is within one of the limits up to which a revert is exact.
func (d *decider) keeps(pin v1alpha1.PinnedImage, number int64) bool {
	limits := d.desired.Environment.Images.KeepPins
	return number-pin.LastDeployment <= int64(*limits.Deployments) || !d.resolver.Dates.IsPast(d.desired.Cluster, pin.UnusedSince.Time, limits.For.Duration)
}
