package record

import (
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// flappingMoves is the number of moves in a row, each found by the next look, from which on a tag flaps: a build pushes it all
// the time, or two registries behind one name have different images.
const flappingMoves = 3

// MovedJustBefore reports whether a pin got its digest so short a time ago that no look since can have found the tag at rest.
func MovedJustBefore(now time.Time, pin v1alpha1.PinnedImage, interval time.Duration) bool {
	return now.Sub(pin.ResolvedAt.Time) < 2*interval
}

// Flapping returns a message for each tag in use that moved at each of the last looks. interval is the one between two looks.
func Flapping(pins []v1alpha1.PinnedImage, now time.Time, interval time.Duration) []string {
	var out []string
	for _, pin := range pins {
		if pin.UnusedSince == nil && pin.Moves >= flappingMoves && MovedJustBefore(now, pin, interval) {
			out = append(out, flapMessage(pin, interval))
		}
	}
	return out
}

// NewlyFlapping returns a message for each tag that began to flap since the pins before.
func NewlyFlapping(before, pins []v1alpha1.PinnedImage, interval time.Duration) []string {
	type key struct{ reference, refresh, semver string }
	digests := map[key]string{}
	for _, pin := range before {
		digests[key{pin.Reference, pin.Refresh, pin.Semver}] = pin.Digest
	}
	var out []string
	for _, pin := range pins {
		if pin.Moves == flappingMoves && digests[key{pin.Reference, pin.Refresh, pin.Semver}] != pin.Digest {
			out = append(out, flapMessage(pin, interval))
		}
	}
	return out
}

func flapMessage(pin v1alpha1.PinnedImage, interval time.Duration) string {
	return fmt.Sprintf("%s flaps: it moved %d times in a row, and is followed at most once in %s; stop what pushes it, or deploy by a tag that stays",
		pin.Reference, pin.Moves, interval)
}
