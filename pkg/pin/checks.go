package pin

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

// leastMemory is how long a time is remembered at least; longer where the interval of an environment is longer.
const leastMemory = 24 * time.Hour

// Checks remembers, for each target, when its tags were looked up, when one was followed to where it moved, and what
// registries last said of its images. It is safe for concurrent use. Its size is bounded: old times are dropped now and
// then.
type Checks struct {
	now  func() time.Time
	keep time.Duration

	mu       sync.Mutex
	byTarget map[v1alpha1.Target]*targetChecks
	times    int // how many times are remembered
	left     int // how many the last sweep left
}

// targetChecks are the checks of one target.
type targetChecks struct {
	checked  map[string]time.Time // by reference: when its tag was last looked up
	followed map[string]time.Time // by reference: when its tag was last found to have moved, and the new digest was recorded
	images   *imageCheck          // nil: none since the images were last found to have changed
}

// imageCheck is what registries said of the images of a target.
type imageCheck struct {
	at       time.Time
	due      time.Time // of the next one
	findings []drift.Finding
}

// NewChecks returns a memory without checks. The clock is for durations.
func NewChecks(config *v1alpha1.Config, now func() time.Time) *Checks {
	c := &Checks{now: now, keep: leastMemory, byTarget: map[v1alpha1.Target]*targetChecks{}}
	for i := range config.Environments {
		c.keep = max(c.keep, config.Environments[i].Images.Interval.Duration)
	}
	return c
}

// Due reports whether it is time to look up a tag again, and notes that it is looked up. A command that runs once looks up
// every tag.
func (c *Checks) Due(of v1alpha1.Target, reference string, interval time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.of(of)
	if last, ok := at.checked[reference]; ok && c.now().Sub(last) < interval {
		return false
	}
	c.set(at.checked, reference)
	return true
}

// Checked notes that a tag was looked up for another reason.
func (c *Checks) Checked(of v1alpha1.Target, reference string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(c.of(of).checked, reference)
}

// Moved notes what became of tags that moved. Where their new digests were recorded, the tags were followed. Else they are
// due again until a record has the digests: a reconcile that fails or is held must not hide the move from the next one.
func (c *Checks) Moved(of v1alpha1.Target, references []string, recorded bool) {
	if len(references) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.of(of)
	for _, reference := range references {
		if recorded {
			c.set(at.followed, reference)
		} else {
			c.drop(at.checked, reference)
		}
	}
}

// Recheck makes every tag of a target due, without the tags that were followed within the interval. It returns how long it
// is until the last of these is due; 0: there is none.
func (c *Checks) Recheck(of v1alpha1.Target, interval time.Duration) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, at := c.now(), c.byTarget[of]
	if at == nil {
		return 0
	}
	for _, reference := range slices.Collect(maps.Keys(at.checked)) {
		if followed, ok := at.followed[reference]; ok && now.Sub(followed) < interval {
			wait = max(wait, interval-now.Sub(followed))
		} else {
			c.drop(at.checked, reference)
		}
	}
	return wait
}

// ImagesDue reports whether it is time to ask the registries about the images of a target, and notes that they are asked.
func (c *Checks) ImagesDue(of v1alpha1.Target, interval time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.byTarget[of]
	if at == nil || at.images == nil {
		return true
	}
	now := c.now()
	if now.Before(at.images.due) {
		return false
	}
	at.images.at, at.images.due = now, now.Add(interval)
	return true
}

// ImagesDueIn returns how long it is until ImagesDue; 0 or less: it is time.
func (c *Checks) ImagesDueIn(of v1alpha1.Target) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.byTarget[of]; at != nil && at.images != nil {
		return at.images.due.Sub(c.now())
	}
	return 0
}

// Forget drops the checks of a target that this process does not reconcile any more.
func (c *Checks) Forget(of v1alpha1.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.byTarget[of]; at != nil {
		c.times -= len(at.checked) + len(at.followed)
		delete(c.byTarget, of)
	}
}

// images returns the last findings about the images of a target, and whether they are younger than an interval.
func (c *Checks) images(of v1alpha1.Target, interval time.Duration) (findings []drift.Finding, recent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.byTarget[of]
	if at == nil || at.images == nil {
		return nil, false
	}
	return at.images.findings, c.now().Sub(at.images.at) < interval
}

// noteImages notes what registries said within a reconcile. Many targets are reconciled at once, after a start or a commit, so the
// next checks are spread over the interval, and each target keeps its place in it.
func (c *Checks) noteImages(of v1alpha1.Target, interval time.Duration, findings []drift.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.of(of).images = &imageCheck{at: now, due: now.Add(interval - rand.N(interval*9/10+1)), findings: findings}
}

// dropImages has the next reconcile ask the registries.
func (c *Checks) dropImages(of v1alpha1.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.byTarget[of]; at != nil {
		at.images = nil
	}
}

// of returns the checks of a target. The caller holds the lock.
func (c *Checks) of(of v1alpha1.Target) *targetChecks {
	at := c.byTarget[of]
	if at == nil {
		at = &targetChecks{checked: map[string]time.Time{}, followed: map[string]time.Time{}}
		c.byTarget[of] = at
	}
	return at
}

// set notes the time of a reference. The caller holds the lock.
func (c *Checks) set(times map[string]time.Time, reference string) {
	if _, known := times[reference]; !known {
		c.times++
	}
	times[reference] = c.now()
	c.sweep()
}

// drop removes the time of a reference. The caller holds the lock.
func (c *Checks) drop(times map[string]time.Time, reference string) {
	if _, known := times[reference]; known {
		c.times--
		delete(times, reference)
	}
}

// sweep drops what references left behind that git does not have any more, when the memory has doubled. The caller holds
// the lock.
func (c *Checks) sweep() {
	if c.times < 2*c.left+100 {
		return
	}
	now := c.now()
	isOld := func(_ string, at time.Time) bool { return now.Sub(at) >= c.keep }
	c.times = 0
	for of, at := range c.byTarget {
		maps.DeleteFunc(at.checked, isOld)
		maps.DeleteFunc(at.followed, isOld)
		if n := len(at.checked) + len(at.followed); n > 0 || at.images != nil {
			c.times += n
		} else {
			delete(c.byTarget, of)
		}
	}
	c.left = c.times
}
