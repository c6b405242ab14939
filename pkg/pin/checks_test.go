package pin

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// References that git gave up leave nothing behind, however long a daemon runs.
func TestOldChecksAreForgotten(t *testing.T) {
	day := now
	checks := NewChecks(&v1alpha1.Config{}, func() time.Time { return day })
	target := v1alpha1.Target{Pipeline: "p", Environment: "dev"}
	for i := range 10_000 {
		checks.Due(target, fmt.Sprintf("app:%d", i), time.Minute)
		day = day.Add(10 * time.Minute)
	}
	if checks.times > 1000 {
		t.Errorf("%d times are remembered", checks.times)
	}
	if checks.Due(target, "app:9999", time.Hour) {
		t.Error("the last check is forgotten")
	}
}

// What a check of the images finds moved is followed at once, but for a tag that was followed just before.
func TestTagThatWasFollowedIsNotDueForAnInterval(t *testing.T) {
	date := now
	checks := NewChecks(&v1alpha1.Config{}, func() time.Time { return date })
	target, other := v1alpha1.Target{Pipeline: "a", Environment: "dev"}, v1alpha1.Target{Pipeline: "b", Environment: "dev"}
	const interval = time.Minute
	for _, at := range []v1alpha1.Target{target, other} {
		checks.Due(at, "web:1", interval)
		checks.Due(at, "db:1", interval)
	}
	checks.Moved(target, []string{"web:1"}, true)
	date = date.Add(20 * time.Second)
	if wait := checks.Recheck(target, interval); wait != 40*time.Second || checks.Due(target, "web:1", interval) || !checks.Due(target, "db:1", interval) || checks.Due(other, "db:1", interval) {
		t.Errorf("it waits %s", wait)
	}
	date = date.Add(40 * time.Second)
	if wait := checks.Recheck(target, interval); wait != 0 || !checks.Due(target, "web:1", interval) {
		t.Errorf("an interval later it waits %s", wait)
	}
}

// Targets that are reconciled at the same time are not all checked at the same time afterwards.
func TestChecksOfImagesAreSpreadOverTheInterval(t *testing.T) {
	date := now
	checks := NewChecks(&v1alpha1.Config{}, func() time.Time { return date })
	const interval, targets, parts = 10 * time.Minute, 1000, 20
	of := func(i int) v1alpha1.Target {
		return v1alpha1.Target{Pipeline: fmt.Sprint("p", i), Environment: "dev"}
	}
	for i := range targets {
		checks.noteImages(of(i), interval, nil)
		if in := checks.ImagesDueIn(of(i)); in <= interval/10 || in > interval {
			t.Errorf("the next check is in %s", in)
		}
	}
	for round := range 3 {
		all, most := 0, 0
		for range parts {
			date = date.Add(interval / parts)
			due := 0
			for i := range targets {
				if in := checks.ImagesDueIn(of(i)); checks.ImagesDue(of(i), interval) != (in <= 0) {
					t.Errorf("%v is due in %s", of(i), in)
				} else if in <= 0 {
					due++
				}
			}
			all, most = all+due, max(most, due)
		}
		if all != targets || most > 3*targets/parts {
			t.Errorf("interval %d: %d checks, %d of them in one of %d parts of it", round+1, all, most, parts)
		}
	}
}

// A target that left git leaves nothing behind.
func TestForget(t *testing.T) {
	checks := NewChecks(&v1alpha1.Config{}, func() time.Time { return now })
	gone, stays := v1alpha1.Target{Pipeline: "gone", Environment: "dev"}, v1alpha1.Target{Pipeline: "stays", Environment: "dev"}
	for _, of := range []v1alpha1.Target{gone, stays} {
		checks.Due(of, "web:1", time.Hour)
		checks.Checked(of, "db:1")
		checks.Moved(of, []string{"web:1"}, true)
		checks.noteImages(of, time.Hour, nil)
	}
	checks.Forget(gone)
	checks.Forget(gone)
	if checks.byTarget[gone] != nil || len(checks.byTarget) != 1 || checks.times != 3 {
		t.Errorf("%d targets and %d times are remembered", len(checks.byTarget), checks.times)
	}
	if !checks.Due(gone, "web:1", time.Hour) || checks.Due(stays, "web:1", time.Hour) || !checks.ImagesDue(gone, time.Hour) || checks.ImagesDue(stays, time.Hour) {
		t.Error("what is forgotten is due, and nothing else")
	}
}

// Targets that nobody looks at any more leave nothing behind, and a time is kept for as long as the longest interval.
func TestOldTargetsAreForgotten(t *testing.T) {
	day := now
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod"}}}
	config.Environments[1].Images.Interval.Duration = 48 * time.Hour
	checks := NewChecks(config, func() time.Time { return day })
	first := v1alpha1.Target{Pipeline: "p0", Environment: "prod"}
	for i := range 1000 {
		checks.Due(v1alpha1.Target{Pipeline: fmt.Sprint("p", i), Environment: "prod"}, "app:1", 48*time.Hour)
		if day = day.Add(20 * time.Minute); day.Sub(now) == 40*time.Hour && checks.Due(first, "app:1", 48*time.Hour) {
			t.Error("a time was dropped before its interval was over")
		}
	}
	if len(checks.byTarget) > 500 || checks.times != len(checks.byTarget) {
		t.Errorf("%d targets and %d times are remembered", len(checks.byTarget), checks.times)
	}
}

// Nothing is noted of a target that nobody asked about.
func TestChecksOfAnUnknownTarget(t *testing.T) {
	checks, of := NewChecks(&v1alpha1.Config{}, func() time.Time { return now }), v1alpha1.Target{Pipeline: "a", Environment: "dev"}
	checks.Moved(of, nil, true)
	checks.dropImages(of)
	if findings, recent := checks.images(of, time.Hour); findings != nil || recent || checks.Recheck(of, time.Hour) != 0 || !checks.ImagesDue(of, time.Hour) {
		t.Error("an unknown target has checks")
	}
	if len(checks.byTarget) != 0 {
		t.Errorf("got %v", checks.byTarget)
	}
}
