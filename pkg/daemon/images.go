package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
)

const (
	// imageChecksAtOnce is how many targets have their images checked at the same time: a check mostly waits for a registry.
	imageChecksAtOnce = 8
	// noCheck is how long the checks wait for a plan that has one.
	noCheck = time.Hour
)

// imageChecks have the images of targets that are in sync checked: each when it is due, and a few at a time. It is safe for
// concurrent use.
type imageChecks struct {
	check   func(context.Context, v1alpha1.Target)
	changed chan struct{} // there is a new plan

	mu  sync.Mutex
	due []imageCheck // the next one first
}

// imageCheck is the next check of one target.
type imageCheck struct {
	of v1alpha1.Target
	at time.Time
}

func newImageChecks(check func(context.Context, v1alpha1.Target)) *imageChecks {
	return &imageChecks{check: check, changed: make(chan struct{}, 1)}
}

// plan replaces the checks that have not begun.
func (c *imageChecks) plan(checks []imageCheck) {
	slices.SortFunc(checks, func(a, b imageCheck) int { return a.at.Compare(b.at) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = checks
	signal(c.changed)
}

// next takes the first check if it is due; else it returns how long it is until then.
func (c *imageChecks) next() (of v1alpha1.Target, in time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return of, noCheck
	}
	first := c.due[0]
	if in := time.Until(first.at); in > 0 {
		return of, in
	}
	c.due = c.due[1:]
	return first.of, 0
}

// run begins the checks that are due, until the context ends and those that it began are done.
func (c *imageChecks) run(ctx context.Context) {
	var checks panics.Group
	checks.SetLimit(imageChecksAtOnce)
	defer func() { _ = checks.Wait() }() // a check that fails is made again when it is due
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		of, in := c.next()
		if in == 0 {
			checks.Go(func() error {
				if ctx.Err() == nil { // it may have waited for its place
					c.check(ctx, of)
				}
				return nil
			})
			continue
		}
		timer.Reset(in)
		select {
		case <-ctx.Done():
		case <-c.changed:
		case <-timer.C:
		}
	}
}

// checkImages asks the registries about the images of a target that is in sync, and has it reconciled where they say
// something new. While a rollout is under way, the check waits for the plan of a later poll.
func (s *scheduler) checkImages(ctx context.Context, of v1alpha1.Target) {
	commit, idle := s.commits.idle()
	if !idle {
		return
	}
	defer s.forgetUnknown(of)
	pins := s.daemon.parts.Reconciler.Pins
	_ = s.daemon.parts.Reconciler.Guard.Call(of, func() error {
		w := commit.Find(of)
		last, known := s.daemon.states.lastOf(of)
		if w == nil || !s.leases.Has(w) || !known || last.judged == nil || !pins.Checks.ImagesDue(of, w.Environment.Images.Interval.Duration) {
			return nil
		}
		if wait, isNew := pins.Recheck(ctx, last.judged, last.pins, last.credentials); isNew {
			s.queue.add(of, time.Now().Add(wait), waitEnded)
		}
		return nil
	})
}
