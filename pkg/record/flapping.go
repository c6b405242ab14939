package record

import (
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// flappingMoves is how many moves in a row, each found by the check after the one before, make a tag flap: a build pushes it all
// the time, or two registries behind one name have different images.
const flappingMoves = 3

// MovedLately reports whether a pin got its digest so recently that no check since then can have found the tag unmoved.
func MovedLately(now time.Time, pin v1alpha1.PinnedImage, interval time.Duration) bool {
	return now.Sub(pin.ResolvedAt.Time) < 2*interval
}

// Flapping returns a sentence for each tag in use that moved at each of the last checks.
func Flapping(pins []v1alpha1.PinnedImage, now time.Time, interval time.Duration) []string {
	var out []string
	for _, pin := range pins {
		if pin.UnusedSince == nil && pin.Moves >= flappingMoves && MovedLately(now, pin, interval) {
			out = append(out, flappingMessage(pin, interval))
		}
	}
	return out
}

// FlappingEvents returns an event for each tag that begins to flap.
func FlappingEvents(before, pins []v1alpha1.PinnedImage, interval time.Duration) []Event {
	digests := map[pinKey]string{}
	for _, pin := range before {
		digests[keyOf(pin)] = pin.Digest
	}
	var events []Event
	for _, pin := range pins {
		if pin.Moves == flappingMoves && digests[keyOf(pin)] != pin.Digest {
			events = append(events, Event{Warning: true, Reason: "TagFlaps", Action: "Follow", Note: flappingMessage(pin, interval)})
		}
	}
	return events
}

func flappingMessage(pin v1alpha1.PinnedImage, interval time.Duration) string {
	return fmt.Sprintf("%s flaps: it moved %d times in a row, and is followed at most once in %s; stop what pushes it, or deploy by a tag that stays",
		pin.Reference, pin.Moves, interval)
}
