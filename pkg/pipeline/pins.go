package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// decision is what a target's references stand for.
type decision struct {
	resolved map[string]image.Resolved // by reference as git writes it
	pins     []v1alpha1.PinnedImage    // what the record's spec is to hold, sorted
	moved    []string                  // references whose tag was found to have moved, also where an error is returned
	stale    []string                  // Track references that could not be looked up and keep their digest
}

// decider gives the references of one target their digests.
type decider struct {
	*carrier
	work      *target.Desired
	lookup    *image.Lookup
	promotion *promotion // nil: digests come from the registry
	recorded  map[target.PinKey]v1alpha1.PinnedImage
	moved     []string
	stale     []string
}

// decide gives each reference of a target its digest. A recorded one stays under Pin. Under Track the tag is looked at
// again when it is time. A reference that is new here takes its digest from the environment that it is promoted from,
// or else from its registry. Nothing is looked up for references that ran here before.
func (c *carrier) decide(ctx context.Context, w *target.Desired) (decision, error) {
	d := decider{carrier: c, work: w, recorded: map[target.PinKey]v1alpha1.PinnedImage{}}
	if w.Record != nil {
		for _, pin := range w.Record.Spec.Images {
			d.recorded[target.KeyOf(pin)] = pin
		}
	}
	if w.Cluster != nil && len(d.lost()) > 0 {
		if err := d.recover(ctx); err != nil {
			return decision{}, err
		}
	}
	allowed := c.permits().Promotions[w.Target] != ""
	if !d.allRecorded() {
		var err error
		if d.promotion, err = c.promotion(ctx, w); err != nil && !allowed {
			return decision{}, err
		}
		if err != nil { // who lets references through may do so because of this
			c.log.Warn("going without promotion, as a commit trailer allows", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
		}
	}
	ask, waiting := d.sort(allowed)
	if len(waiting) > 0 {
		return decision{}, awaitsPromotion(d.promotion.from, waiting)
	}
	if len(ask) > 0 {
		if err := d.look(ctx, ask); err != nil {
			return decision{moved: d.moved}, err
		}
	}
	decided := d.decision()
	return decided, c.verify(ctx, w, d.lookup, decided)
}

// lost lists the references by tag whose pins are gone: those of a record that is not there, or says nothing yet, and
// those that run by the record's history and have no pin at all, because somebody emptied the record.
func (d *decider) lost() []image.Reference {
	refs := slices.DeleteFunc(target.Distinct(d.work.Rendered.Refs), func(ref image.Reference) bool { return ref.Form != image.Tag })
	record := d.work.Record
	if record == nil || len(record.Spec.Images) == 0 && record.Status.LastAppliedCommit == "" {
		return refs
	}
	ran := map[string]bool{}
	for _, deployed := range deployedImages(record.Status.History) {
		ran[deployed.Reference] = true
	}
	for _, pin := range record.Spec.Images {
		delete(ran, pin.Reference)
	}
	return slices.DeleteFunc(refs, func(ref image.Reference) bool { return !ran[ref.Value] })
}

// recover takes lost pins from the objects that they left: syncer wrote their digests.
func (d *decider) recover(ctx context.Context) error {
	lost := d.lost()
	live, err := d.work.Cluster.MembersOf(ctx, d.work.Target, d.work.Rendered.Set)
	if errors.Is(err, apply.ErrNotInstalled) {
		return nil
	}
	if err != nil {
		return err
	}
	found, err := image.Find(live, d.work.Rendered.Fields)
	if err != nil {
		return nil // somebody's edit; the references are resolved anew
	}
	for _, there := range found {
		tagged, digest, pinned := strings.Cut(there.Value, "@")
		if !pinned || !apply.Wrote(live, there.Object, there.Path) {
			continue
		}
		for _, ref := range lost {
			key := d.work.PinKey(ref.Value)
			resolved := image.Resolved{Digest: digest}
			switch {
			case key.Semver == "" && ref.Value != tagged:
				continue
			case key.Semver != "":
				if resolved.Tag = tagOf(v1alpha1.DeployedImage{Reference: tagged}); image.Repository(tagged) != image.Repository(ref.Value) || !image.InRange(resolved.Tag, key.Semver) {
					continue
				}
			}
			d.recorded[key] = d.pin(key, resolved)
		}
	}
	return nil
}

// allRecorded reports whether every reference ran here before: then the environment that it was promoted from is not
// asked, so that a rollback does not depend on it.
func (d *decider) allRecorded() bool {
	return !slices.ContainsFunc(target.Distinct(d.work.Rendered.Refs), func(ref image.Reference) bool {
		_, pinned := d.recorded[d.work.PinKey(ref.Value)]
		return !pinned
	})
}

// sort takes over what is recorded and what is promoted. It returns the references to look up, and what those that
// wait for a promotion wait for. Where a commit allows it, those are looked up and do not wait; what the other
// environment has is taken from there all the same, so that both run the same bytes.
func (d *decider) sort(allowed bool) (ask []target.PinKey, waiting []string) {
	for _, ref := range target.Distinct(d.work.Rendered.Refs) {
		key := d.work.PinKey(ref.Value)
		pin, pinned := d.recorded[key]
		switch {
		case pinned && (d.work.Policy() != v1alpha1.Track || ref.Form == image.Digest):
		case pinned && pin.UnusedSince != nil:
			// A rollback: the digest that ran comes back, whatever the tag stands for now. From here on the tag is
			// followed when it moves again.
			pin.Seen = ""
			d.recorded[key] = pin
		case pinned && d.frozen:
		case pinned && !d.due(d.work.Target, ref.Value, d.work.Environment.Images.Interval.Duration):
		case !pinned && d.promotion != nil:
			missing := d.promote(key, ref)
			switch {
			case missing != "" && allowed:
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

func (d *decider) pin(key target.PinKey, resolved image.Resolved) v1alpha1.PinnedImage {
	return v1alpha1.PinnedImage{
		Reference: key.Reference, Refresh: key.Refresh, Semver: key.Semver,
		Tag: resolved.Tag, Digest: resolved.Digest,
		ResolvedAt: d.dates().Stamp(d.work.Cluster), Commit: d.work.Snapshot.Commit,
	}
}

// look asks the registries, many references at once.
func (d *decider) look(ctx context.Context, ask []target.PinKey) error {
	d.lookup = d.lookupFor(ctx, d.work)
	found := make([]image.Resolved, len(ask)) // each worker owns one slot
	failed := make([]error, len(ask))
	var g panics.Group
	for i, key := range ask {
		g.Go(func() error {
			if found[i], failed[i] = resolve(ctx, d.lookup, key); failed[i] == nil && d.isNews(key, found[i]) {
				failed[i] = d.lookup.Confirm(ctx, key.Reference, found[i].Digest)
			}
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	var errs []error
	for i, key := range ask {
		pin, pinned := d.recorded[key]
		switch {
		case failed[i] != nil && pinned:
			if errors.Is(failed[i], image.ErrMismatch) {
				d.log.Warn("a tag keeps its digest", "pipeline", d.work.Target.Pipeline, "environment", d.work.Target.Environment, "error", failed[i])
			}
			d.stale = append(d.stale, key.Reference) // what runs goes on running, whatever its registry says today
		case failed[i] != nil:
			errs = append(errs, d.work.Blame(key.Reference, failed[i])...)
		case !pinned:
			pin = d.pin(key, found[i])
			pin.Seen = d.seen(found[i])
			d.recorded[key] = pin
			if d.work.Policy() == v1alpha1.Track {
				d.noteLook(d.work.Target, key.Reference)
			}
		default:
			d.recorded[key] = d.follow(pin, key, found[i])
			if d.recorded[key].Digest != pin.Digest {
				d.moved = append(d.moved, key.Reference)
			}
		}
	}
	return errors.Join(errs...)
}

// isNews reports whether a digest is to be deployed of which this target knows nothing yet.
func (d *decider) isNews(key target.PinKey, found image.Resolved) bool {
	pin, pinned := d.recorded[key]
	return !strings.Contains(key.Reference, "@") && (!pinned || found.Digest != pin.Digest && found.Digest != pin.Seen)
}

// lookAgain makes tags due that moved. They are looked at by each pass until the record has their new digests: a pass
// that fails or is held would else be followed by one that knows nothing of the move.
func (r *Runner) lookAgain(target v1alpha1.Target, references []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reference := range references {
		delete(r.looked, look{target, reference})
	}
}

// seen is what a pin notes of a look: nothing under Pin, where a moved tag is reported and not followed.
func (d *decider) seen(found image.Resolved) string {
	if d.work.Policy() != v1alpha1.Track {
		return ""
	}
	return found.Digest
}

// follow moves a pin to where its tag moved since it was last looked at.
func (d *decider) follow(pin v1alpha1.PinnedImage, key target.PinKey, found image.Resolved) v1alpha1.PinnedImage {
	if pin.Seen != "" && found.Digest != pin.Seen {
		moves := 1
		if within(d.dates().In(d.work.Cluster), pin, d.work.Environment.Images.Interval.Duration) {
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
		// git names the very bytes: a registry that does not answer cannot make them others, one that lost them can.
		return image.Resolved{Digest: written}, nil
	}
	return r, err
}

// decision sums up, and decides which pins the record keeps.
func (d *decider) decision() decision {
	out := decision{resolved: map[string]image.Resolved{}, moved: d.moved, stale: d.stale}
	inUse := map[target.PinKey]bool{}
	for _, ref := range target.Distinct(d.work.Rendered.Refs) {
		key := d.work.PinKey(ref.Value)
		pin := d.recorded[key]
		inUse[key] = true
		if ref.Form == image.Tag {
			out.resolved[ref.Value] = image.Resolved{Tag: pin.Tag, Digest: pin.Digest}
		}
	}
	number := int64(1)
	if d.work.Record != nil && len(d.work.Record.Status.History) > 0 {
		number = d.work.Record.Status.History[0].Number + 1
	}
	for key, pin := range d.recorded {
		if inUse[key] {
			pin.UnusedSince, pin.LastDeployment = nil, number
		} else if pin.UnusedSince == nil {
			now := d.dates().Stamp(d.work.Cluster)
			pin.UnusedSince = &now
		}
		if inUse[key] || d.keeps(pin, number) {
			out.pins = append(out.pins, pin)
		}
	}
	slices.SortFunc(out.pins, func(a, b v1alpha1.PinnedImage) int {
		return cmp.Or(strings.Compare(a.Reference, b.Reference), strings.Compare(a.Refresh, b.Refresh), strings.Compare(a.Semver, b.Semver))
	})
	return out
}

// keeps reports whether an unused pin is within one of the limits up to which a revert is exact.
func (d *decider) keeps(pin v1alpha1.PinnedImage, number int64) bool {
	limits := d.work.Environment.Images.KeepPins
	return number-pin.LastDeployment <= int64(*limits.Deployments) || !d.dates().IsPast(d.work.Cluster, pin.UnusedSince.Time, limits.For.Duration)
}

// samePins reports whether a record need not be written for its pins alone.
func samePins(a, b []v1alpha1.PinnedImage) bool {
	return slices.EqualFunc(a, b, func(x, y v1alpha1.PinnedImage) bool {
		return target.KeyOf(x) == target.KeyOf(y) && x.Tag == y.Tag && x.Digest == y.Digest && x.Seen == y.Seen &&
			(x.UnusedSince == nil) == (y.UnusedSince == nil)
	})
}

// verify makes sure that every image that must be signed is. A template that may become one is refused, since nobody
// can say what it will be.
func (c *carrier) verify(ctx context.Context, w *target.Desired, lookup *image.Lookup, d decision) error {
	var errs []error
	for _, ref := range w.Rendered.Refs {
		for _, required := range w.Environment.Images.Signatures {
			if ref.Form == image.Template && image.MayMatch(required.Match, ref.Value) {
				rule := fmt.Sprintf("images.signatures wants a signature for %s, and a template may become anything", required.Match)
				errs = append(errs, &image.RefusedError{Object: ref.Object, Path: ref.Path, Value: ref.Value, Rule: rule})
			}
		}
	}
	for _, ref := range target.Distinct(w.Rendered.Refs) {
		digest := d.resolved[ref.Value].Digest
		if ref.Form == image.Digest {
			_, digest, _ = strings.Cut(ref.Value, "@")
		}
		repository := image.Repository(ref.Value)
		for _, required := range w.Environment.Images.Signatures {
			if !image.Matches(required.Match, repository) || c.known(w, repository, digest) {
				continue
			}
			if lookup == nil {
				lookup = c.lookupFor(ctx, w)
			}
			if err := lookup.Verify(ctx, image.Located(ref.Value), digest, required.PublicKeyFile); err != nil {
				errs = append(errs, w.Blame(ref.Value, err)...)
			}
		}
	}
	return errors.Join(errs...)
}

// known reports whether an image was deployed here before, and so verified then: a rollback needs no registry.
func (c *carrier) known(w *target.Desired, repository, digest string) bool {
	return w.Record != nil && slices.ContainsFunc(w.Record.Spec.Images, func(p v1alpha1.PinnedImage) bool {
		return p.Digest == digest && image.Repository(p.Reference) == repository
	})
}

// images lists the references of a target for a report.
func imageResults(w *target.Desired, resolved map[string]image.Resolved) []ImageResult {
	refs := slices.Clone(w.Rendered.Refs)
	image.SortReferences(refs)
	out := make([]ImageResult, len(refs))
	for i, ref := range refs {
		out[i] = ImageResult{Object: ref.Object, Path: ref.Path, Reference: ref.Value, Digest: resolved[ref.Value].Digest}
		if ref.Form == image.Digest {
			_, out[i].Digest, _ = strings.Cut(ref.Value, "@")
		}
	}
	return out
}

// deployed lists the distinct references of a target and what they stand for, without those of objects that are left
// alone.
func deployed(w *target.Desired, resolved map[string]image.Resolved, alone map[manifest.Key]bool) []v1alpha1.DeployedImage {
	var out []v1alpha1.DeployedImage
	for _, ref := range imageResults(w, resolved) {
		if alone[ref.Object.Key()] {
			continue // it runs what it ran, whatever git says
		}
		out = append(out, v1alpha1.DeployedImage{Reference: ref.Reference, Tag: resolved[ref.Reference].Tag, Digest: ref.Digest})
	}
	slices.SortFunc(out, func(a, b v1alpha1.DeployedImage) int { return strings.Compare(a.Reference, b.Reference) })
	return slices.Compact(out)
}
