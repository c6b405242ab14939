// Package clock tells the date where a clock may be wrong for a while. It measures time by the monotonic clock, and
// believes a date that jumps only when that date has held for some minutes. It touches nothing but the process's clock.
package clock

import (
	"sync"
	"time"
)

const (
	// tolerance is how far a date may be from the expected one and still be believed at once: clocks drift, and are
	// slewed.
	tolerance = time.Minute
	// patience is how long a date that jumped has to hold before it is believed.
	patience = 10 * time.Minute
)

// Clock gives a date that runs by the monotonic clock and follows what it is told. It is safe for concurrent use.
type Clock struct {
	elapsed func() time.Duration // by the monotonic clock, since any moment

	mu     sync.Mutex
	known  bool
	date   point
	doubts point // the jumped date that may be believed one day
	doubt  bool
}

// point is a date, and the monotonic time at which it was so.
type point struct {
	date time.Time
	at   time.Duration
}

func (p point) now(elapsed time.Duration) time.Time { return p.date.Add(elapsed - p.at) }

// New gives a clock that nobody has told a date yet. elapsed is a monotonic clock; nil: the process's own.
func New(elapsed func() time.Duration) *Clock {
	if elapsed == nil {
		began := time.Now()
		elapsed = func() time.Duration { return time.Since(began) }
	}
	return &Clock{elapsed: elapsed}
}

// Now is the date in UTC; false while nobody has told one.
func (c *Clock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return time.Time{}, false
	}
	return c.date.now(c.elapsed()), true
}

// Tell takes in that it is between two dates now, as somebody's clock has it. A date that is far from the expected one
// is believed when it has held for ten minutes.
func (c *Clock) Tell(earliest, latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := c.elapsed()
	if !c.known {
		c.known, c.date = true, point{earliest.Round(0).UTC(), elapsed}
		return
	}
	told := within(c.date.now(elapsed), earliest, latest)
	switch {
	case told.Sub(c.date.now(elapsed)).Abs() <= tolerance:
		c.date, c.doubt = point{told, elapsed}, false
	case !c.doubt || within(c.doubts.now(elapsed), earliest, latest).Sub(c.doubts.now(elapsed)).Abs() > tolerance:
		c.doubts, c.doubt = point{told, elapsed}, true
	case elapsed-c.doubts.at >= patience:
		c.date, c.doubt = point{told, elapsed}, false
	}
}

// within is the date between two others that is the nearest to a date.
func within(date, earliest, latest time.Time) time.Time {
	switch {
	case date.Before(earliest):
		return earliest.Round(0).UTC()
	case date.After(latest):
		return latest.Round(0).UTC()
	}
	return date
}

// Wall is a wall clock without its short jumps.
func Wall(now func() time.Time) func() time.Time { return steady(now, nil) }

func steady(wall func() time.Time, elapsed func() time.Duration) func() time.Time {
	c := New(elapsed)
	return func() time.Time {
		now := wall()
		c.Tell(now, now)
		date, _ := c.Now()
		return date
	}
}
