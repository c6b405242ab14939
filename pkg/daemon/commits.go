package daemon

import (
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

// commits know the newest commit, and how far its rollout is. It is safe for concurrent use.
type commits struct {
	mu         sync.Mutex
	rollout    *rollout // of the newest commit; nil: none yet
	newest     planned  // the last one that was planned
	fullPass   time.Time
	incomplete bool            // the last rollout could not read every environment
	rendered   bool            // an overlay that the newest commit waits for is rendered now
	readable   map[string]bool // environments that became readable since a rollout was planned
	// fetchedAt is when the repository was last asked with success.
	fetchedAt time.Time
}

// planned is a commit once it is planned, and what its rollout knows.
type planned struct {
	commit *target.Commit // nil: none was planned yet
	pass   *reconcile.Pass
	marks  underway.Marks
}

// find returns a copy of a target; nil where there is none.
func (p planned) find(of v1alpha1.Target) *target.Desired {
	if p.commit == nil {
		return nil
	}
	found := p.commit.Find(of)
	if found == nil {
		return nil
	}
	w := *found
	return &w
}

// planned returns the newest commit that was planned.
func (c *commits) planned() planned {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// plan sets a new commit: from now on targets are reconciled by it.
func (c *commits) plan(p planned) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = p
}

// mark sets the marks of the newest commit.
func (c *commits) mark(m underway.Marks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest.marks = m
}

// current returns the rollout of the newest commit; nil: none yet.
func (c *commits) current() *rollout {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rollout
}

// begin sets the rollout of the newest commit.
func (c *commits) begin(r *rollout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rollout, c.rendered = r, false
}

// end notes that every target of a commit was reconciled. A rollout that was stopped says nothing of that.
func (c *commits) end(r *rollout, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ctx.Err() == nil {
		c.fullPass, c.incomplete = time.Now(), err != nil
	}
}

// renew requests a rollout to every target. The current rollout stops, because its plan is out of date.
func (c *commits) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.incomplete = true
	if c.rollout != nil {
		c.rollout.stop()
	}
}

// isRendered notes that an overlay is rendered which a commit was planned without.
func (c *commits) isRendered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rendered = true
}

// isPartial reports whether the newest commit was planned without an overlay that is rendered by now.
func (c *commits) isPartial() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rendered
}

// isReadable notes environments whose records can be read from now on.
func (c *commits) isReadable(environments []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readable == nil {
		c.readable = map[string]bool{}
	}
	for _, name := range environments {
		c.readable[name] = true
	}
}

// completes reports, once, whether a rollout would have an environment that the last one could not read.
func (c *commits) completes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest.commit == nil || c.rollout != nil && !c.rollout.ended() {
		return false // it is asked again at the end of the rollout
	}
	known := c.readable
	c.readable = nil
	return slices.ContainsFunc(c.newest.commit.Unread, func(name string) bool { return known[name] })
}

// wantRollout reports whether every target is to be reconciled although there is no new commit.
func (c *commits) wantRollout() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollout != nil && !c.rollout.ended() && c.rollout.ctx.Err() == nil {
		return c.rendered && time.Since(c.rollout.began) >= latePause // it is under way, and may take long
	}
	return c.incomplete || c.rendered || time.Since(c.fullPass) > compareInterval
}

// idle returns the newest commit, and whether its rollout has ended.
func (c *commits) idle() (*target.Commit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest.commit, c.newest.commit != nil && (c.rollout == nil || c.rollout.ended())
}

// complete returns the newest commit; nil while its rollout has not gone through every target.
func (c *commits) complete() *target.Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollout != nil && (!c.rollout.ended() || c.rollout.ctx.Err() != nil) {
		return nil
	}
	return c.newest.commit
}

// fetched notes when the repository was asked.
func (c *commits) fetched(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetchedAt = at
}

// lastFetch is when the repository was last asked with success.
func (c *commits) lastFetch() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fetchedAt
}
