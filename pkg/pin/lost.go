package pin

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// lost lists the references by tag whose pins are gone: those of a record that is missing or empty, and those that run by
// the history of a record that was emptied by hand.
func (d *decider) lost() []image.Reference {
	refs := slices.DeleteFunc(target.Distinct(d.desired.Rendered.Refs), func(ref image.Reference) bool { return ref.Form != image.Tag })
	last := d.desired.Record
	if last == nil || len(last.Spec.Images) == 0 && last.Status.LastAppliedCommit == "" {
		return refs
	}
	ran := map[string]bool{}
	for _, deployed := range record.RunningImages(last.Status.History) {
		ran[deployed.Reference] = true
	}
	for _, pin := range last.Spec.Images {
		delete(ran, pin.Reference)
	}
	return slices.DeleteFunc(refs, func(ref image.Reference) bool { return !ran[ref.Value] })
}

// recover takes lost pins from the live objects: syncer wrote their digests.
func (d *decider) recover(ctx context.Context) error {
	lost := d.lost()
	live, err := inventory.MembersOf(ctx, d.desired.Cluster, d.desired.Target, d.desired.Rendered.Set.Set())
	if errors.Is(err, cluster.ErrNotInstalled) {
		return nil
	}
	if err != nil {
		return err
	}
	found, err := image.Find(live, d.desired.Rendered.Fields)
	if err != nil {
		return nil // an edit by hand; the references are resolved anew
	}
	for _, there := range found {
		if tagged, digest, pinned := strings.Cut(there.Value, "@"); pinned && inventory.Wrote(live, there.Object, there.Path) {
			d.restore(lost, tagged, digest)
		}
	}
	return nil
}

// restore pins the lost references that a live object runs by a tag and a digest.
func (d *decider) restore(lost []image.Reference, tagged, digest string) {
	for _, ref := range lost {
		key := d.desired.PinKey(ref.Value)
		resolved := image.Resolved{Digest: digest}
		switch {
		case key.Semver == "" && ref.Value != tagged:
			continue
		case key.Semver != "":
			resolved.Tag = tagOf(v1alpha1.DeployedImage{Reference: tagged})
			if image.Repository(tagged) != image.Repository(ref.Value) || !image.InRange(resolved.Tag, key.Semver) {
				continue
			}
		}
		d.recorded[key] = d.pin(key, resolved)
	}
}
