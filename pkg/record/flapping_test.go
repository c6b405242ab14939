package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// A tag flaps when it moved at each of the last look-ups, as long as it is in use and moves on.
func TestFlapping(t *testing.T) {
	pin := func(moves int, ago time.Duration) v1alpha1.PinnedImage {
		return v1alpha1.PinnedImage{Reference: "web:1", Moves: moves, ResolvedAt: metav1.NewTime(noon.Time.Add(-ago))}
	}
	unused := pin(3, time.Minute)
	unused.UnusedSince = &metav1.Time{Time: noon.Time}
	for name, c := range map[string]struct {
		pin  v1alpha1.PinnedImage
		want []string
	}{
		"three moves in a row":  {pin(3, time.Minute), []string{"web:1 flaps: it moved 3 times in a row, and is followed at most once in 1m0s; stop what pushes it, or deploy by a tag that stays"}},
		"two":                   {pin(2, time.Minute), nil},
		"it stayed at last":     {pin(3, 2*time.Minute), nil},
		"git uses it no longer": {unused, nil},
	} {
		if diff := cmp.Diff(c.want, Flapping([]v1alpha1.PinnedImage{c.pin}, noon.Time, time.Minute)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The event of a tag that flaps is written when it makes the third move, and once.
func TestFlappingBeginsOnce(t *testing.T) {
	pin := func(moves int, digest string) []v1alpha1.PinnedImage {
		return []v1alpha1.PinnedImage{{Reference: "web:1", Moves: moves, Digest: digest}}
	}
	for name, c := range map[string]struct {
		before, after []v1alpha1.PinnedImage
		want          int
	}{
		"the third move":        {pin(2, "a"), pin(3, "b"), 1},
		"seen again":            {pin(3, "b"), pin(3, "b"), 0},
		"the fourth move":       {pin(3, "b"), pin(4, "c"), 0},
		"the second move":       {pin(1, "a"), pin(2, "b"), 0},
		"a record without pins": {nil, pin(3, "b"), 1},
	} {
		if got := FlappingEvents(c.before, c.after, time.Minute); len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
