package clock

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

// hand is a pair of clocks that a test sets.
type hand struct {
	elapsed time.Duration
	ahead   time.Duration // of the wall clock
}

func (h *hand) wall() time.Time          { return noon.Add(h.elapsed + h.ahead) }
func (h *hand) monotonic() time.Duration { return h.elapsed }

func TestAWallClockThatJumpsIsNotBelieved(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": year, "back": -year} {
		t.Run(name, func(t *testing.T) {
			h := &hand{}
			now := steady(h.wall, h.monotonic)
			now()
			h.elapsed, h.ahead = time.Hour, jump
			for range 6 { // seconds
				if got, want := now(), noon.Add(h.elapsed); !got.Equal(want) {
					t.Fatalf("%s, want %s", got, want)
				}
				h.elapsed += time.Second
			}
			h.ahead = 0
			h.elapsed += time.Second
			if got, want := now(), h.wall(); !got.Equal(want) {
				t.Errorf("after the jump: %s, want %s", got, want)
			}
		})
	}
}

func TestAWallClockThatIsSetIsBelievedInTheEnd(t *testing.T) {
	h := &hand{}
	now := steady(h.wall, h.monotonic)
	now()
	h.ahead = year
	now()
	h.elapsed = patience - time.Second
	if got, want := now(), noon.Add(h.elapsed); !got.Equal(want) {
		t.Errorf("before its time: %s, want %s", got, want)
	}
	h.elapsed = patience
	if got, want := now(), h.wall(); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// Two jumps with the right time in between prove nothing, however far apart they are.
func TestJumpsDoNotAddUp(t *testing.T) {
	h := &hand{}
	now := steady(h.wall, h.monotonic)
	for _, ahead := range []time.Duration{0, year, 0, year, 2 * year, year} {
		h.ahead = ahead
		if got, want := now(), noon.Add(h.elapsed); !got.Equal(want) {
			t.Errorf("at %s: %s, want %s", h.elapsed, got, want)
		}
		h.elapsed += patience
	}
}

func TestASlewedClockIsFollowed(t *testing.T) {
	h := &hand{}
	now := steady(h.wall, h.monotonic)
	for range 100 {
		if got, want := now(), h.wall(); !got.Equal(want) {
			t.Fatalf("%s, want %s", got, want)
		}
		h.elapsed += time.Hour
		h.ahead += 10 * time.Second
	}
}

// The header of an answer tells the date to the second, and is as old as the answer was on its way.
func TestADateIsKeptWithinItsBounds(t *testing.T) {
	h := &hand{}
	c := New(h.monotonic)
	if _, known := c.Now(); known {
		t.Error("nobody has told it a date")
	}
	c.Tell(noon, noon.Add(time.Second))
	for _, step := range []struct {
		earliest, latest, want time.Duration
	}{
		{0, time.Second, 0},
		{3 * time.Second, 4 * time.Second, 3 * time.Second},
		{0, 10 * time.Second, 3 * time.Second},
		{0, time.Second, time.Second},
	} {
		c.Tell(noon.Add(step.earliest), noon.Add(step.latest))
		if got, _ := c.Now(); !got.Equal(noon.Add(step.want)) {
			t.Errorf("told %s to %s: %s, want %s", step.earliest, step.latest, got, noon.Add(step.want))
		}
	}
}
