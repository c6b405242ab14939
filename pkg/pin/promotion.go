package pin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// awaitsPromotion returns the wait of a target whose references wait for a deployment in the environment that they are
// promoted from. There is a text for each reference.
func awaitsPromotion(from string, waiting []string) *target.WaitError {
	return &target.WaitError{
		Reason:  v1alpha1.ConditionPromotionPending,
		Message: fmt.Sprintf("waiting for promotion from %s: %s", from, strings.Join(waiting, "; ")),
	}
}

// promotion gives digests from the healthy deployments of another environment.
type promotion struct {
	from  string
	after time.Duration
	now   time.Time
	// history of the pipeline there; nil: it was never deployed.
	history []v1alpha1.Deployment
	pins    []v1alpha1.PinnedImage
	asked   map[string]string // the refreshes that git has there, by reference
	ready   *time.Time        // since when the objects there are healthy; nil: they are not
	swapped []string          // objects there that run another image than the one that was deployed
}

// digest returns the digest of a reference in its newest deployment there that was healthy for long enough, or else a text
// that says what is missing. A refresh takes the digest that runs there now, and none of an earlier deployment.
//
// A reference is compared as it runs: a tag that a range chose there is deployed here by its name, or by a range that it
// is in.
func (p *promotion) digest(key target.PinKey) (digest, tag, missing string) {
	reference, refresh := key.Reference, key.Refresh != ""
	missing = fmt.Sprintf("%s was never deployed there", reference)
	if refresh && p.refreshes(reference) && !p.refreshed(key) {
		return "", "", fmt.Sprintf("%s is not refreshed there yet", reference)
	}
	for i, deployment := range p.history {
		if refresh && i > 0 {
			break
		}
		used := slices.IndexFunc(deployment.Images, func(i v1alpha1.DeployedImage) bool { return matches(i, key) })
		if used < 0 {
			continue
		}
		if wait := p.waits(i, deployment.Images[used].Digest); wait != "" {
			if strings.HasSuffix(missing, "never deployed there") {
				missing = fmt.Sprintf("%s %s", reference, wait)
			}
			continue
		}
		found := deployment.Images[used]
		if key.Semver != "" {
			tag = tagOf(found)
		}
		return found.Digest, tag, ""
	}
	return "", "", missing
}

// matches reports whether a deployed image is what a reference here stands for.
func matches(deployed v1alpha1.DeployedImage, key target.PinKey) bool {
	if key.Semver == "" {
		if deployed.Tag != "" {
			return image.WithTag(deployed.Reference, deployed.Tag) == key.Reference
		}
		return deployed.Reference == key.Reference
	}
	return image.Repository(deployed.Reference) == image.Repository(key.Reference) && image.InRange(tagOf(deployed), key.Semver)
}

// tagOf returns the tag that an image was deployed by.
func tagOf(deployed v1alpha1.DeployedImage) string {
	if deployed.Tag != "" {
		return deployed.Tag
	}
	name := deployed.Reference[strings.LastIndex(deployed.Reference, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// refreshes reports whether the other environment has refreshed a reference, or is about to by the same commit.
func (p *promotion) refreshes(reference string) bool {
	return p.asked[reference] != "" || slices.ContainsFunc(p.pins, func(pin v1alpha1.PinnedImage) bool {
		return pin.Reference == reference && pin.Refresh != "" && pin.UnusedSince == nil
	})
}

// refreshed reports whether the other environment has refreshed a reference by the same text.
func (p *promotion) refreshed(key target.PinKey) bool {
	return slices.ContainsFunc(p.pins, func(pin v1alpha1.PinnedImage) bool {
		return pin.Reference == key.Reference && pin.Refresh == key.Refresh
	})
}

// seen returns why a digest that git writes may not be taken over: it was never deployed and healthy there; "" when it may.
func (p *promotion) seen(reference, digest string) (missing string) {
	missing = reference + " was never deployed and healthy there"
	for i, deployment := range p.history {
		if !runs(deployment, digest) {
			continue
		}
		wait := p.waits(i, digest)
		if wait == "" {
			return ""
		}
		if strings.HasSuffix(missing, "never deployed and healthy there") {
			missing = fmt.Sprintf("%s %s", reference, wait)
		}
	}
	return missing
}

func runs(d v1alpha1.Deployment, digest string) bool {
	return slices.ContainsFunc(d.Images, func(i v1alpha1.DeployedImage) bool { return i.Digest == digest })
}

// waits returns why a digest of a deployment of the history may not be taken over yet; "" when it may.
func (p *promotion) waits(i int, digest string) string {
	d, replaced := p.history[i], p.replaced(i)
	switch {
	case replaced == nil && d.Outcome == record.Applied && len(p.swapped) > 0:
		return "is deployed there, and somebody changed the image of " + manifest.Shorten(p.swapped)
	case d.HealthyAt == nil && i == 0 && d.Outcome == record.HeldInPart:
		return "is held there"
	case d.HealthyAt == nil && i == 0 && d.Outcome == record.Applied:
		return fmt.Sprintf("is deployed there since %s and not healthy yet", d.Time.UTC().Format(time.RFC3339))
	case d.HealthyAt == nil:
		return "was deployed there and never healthy"
	case replaced != nil && d.UnhealthyAt != nil:
		return "was not healthy there any more when it was replaced"
	case replaced == nil && p.ready == nil:
		return "is deployed there and not healthy now"
	}
	from := p.healthySince(i, digest)
	if replaced == nil && p.ready.After(from) {
		from = *p.ready // it was not healthy all the time
	}
	switch {
	case replaced != nil && replaced.Sub(from) < p.after:
		return fmt.Sprintf("was healthy there for %s and has to be for %s", max(0, replaced.Sub(from)), p.after)
	case replaced == nil && p.now.Sub(from) < p.after:
		return fmt.Sprintf("is healthy there since %s and has to be for %s, which is until %s",
			from.UTC().Format(time.RFC3339), p.after, from.Add(p.after).UTC().Format(time.RFC3339))
	}
	return ""
}

// healthySince returns since when a digest of a deployment is healthy: earlier deployments may have run it already.
func (p *promotion) healthySince(i int, digest string) time.Time {
	since := p.history[i].HealthyAt.Time
	for _, older := range p.history[i+1:] {
		if older.Outcome != record.Applied {
			continue // it replaced nothing
		}
		if older.HealthyAt == nil || !runs(older, digest) {
			break
		}
		since = older.HealthyAt.Time
	}
	return since
}

// replaced returns when another deployment took the place of one; nil where that one still runs. A deployment that is held
// or failed replaces nothing.
func (p *promotion) replaced(i int) *time.Time {
	for newer := i - 1; newer >= 0; newer-- {
		if p.history[newer].Outcome == record.Applied {
			return &p.history[newer].Time.Time
		}
	}
	return nil
}
