package target

import (
	"testing"
	"time"
)

func TestDatesWithoutAnAPIServerAreThoseOfTheWallClock(t *testing.T) {
	now, wall := time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC), time.Date(2026, 1, 2, 4, 0, 0, 7e8, time.UTC)
	monotonic := Dates{Now: func() time.Time { return now }}
	both := Dates{Now: monotonic.Now, Wall: func() time.Time { return wall }}
	if got := monotonic.Date(); !got.Equal(now) {
		t.Errorf("without a wall clock: %s", got)
	}
	if got := both.In(nil); !got.Equal(wall) {
		t.Errorf("with a wall clock: %s", got)
	}
	if got := both.In(unreachable(t)); !got.Equal(wall) {
		t.Errorf("of an API server that never answered: %s", got)
	}
	if got := both.Stamp(nil); !got.Time.Equal(wall.Truncate(time.Second)) {
		t.Errorf("the date of a record: %s", got)
	}
	if ago := wall.Add(-time.Hour); both.IsPast(nil, ago, time.Hour) || !both.IsPast(nil, ago, time.Hour-time.Second) {
		t.Error("a date is past when it is longer ago than that")
	}
}
