package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
)

// orderByDependency gives each target the length of the longest chain of targets that it depends on. A dependency that
// is not there, or that goes in a circle, is an error of the targets in question.
func (a *Commit) orderByDependency() {
	levels := map[v1alpha1.Target]int{}
	for _, w := range a.All() {
		if level, err := a.level(w, levels, nil); err != nil {
			w.Err = errors.Join(w.Err, err)
		} else {
			w.Level = level
		}
	}
}

// everyone is every target of the environments, those that were not selected included.
func (a *Commit) All() []*Desired { return slices.Concat(a.Targets, a.Others) }

func (a *Commit) Find(target v1alpha1.Target) *Desired {
	all := a.All()
	i := slices.IndexFunc(all, func(w *Desired) bool { return w.Target == target })
	if i < 0 {
		return nil
	}
	return all[i]
}

func (a *Commit) level(w *Desired, levels map[v1alpha1.Target]int, trail []string) (int, error) {
	if level, ok := levels[w.Target]; ok {
		return level, nil
	}
	name := w.Target.Pipeline
	if at := slices.Index(trail, name); at >= 0 {
		return 0, fmt.Errorf("%s: dependsOn goes in a circle: %s", settingsFile, strings.Join(append(trail[at:len(trail):len(trail)], name), " on "))
	}
	trail = append(trail[:len(trail):len(trail)], name)
	level := 0
	for _, dependency := range w.Settings.DependsOn {
		other := a.Find(v1alpha1.Target{Pipeline: dependency, Environment: w.Environment.Name})
		if other == nil || other.Overlay == "" {
			return 0, fmt.Errorf("%s: dependsOn: there is no pipeline %s in environment %s", settingsFile, dependency, w.Environment.Name)
		}
		below, err := a.level(other, levels, trail)
		if err != nil {
			return 0, err
		}
		level = max(level, below+1)
	}
	levels[w.Target] = level
	return level, nil
}

// reached is how far a target has come in this pass.
type reached struct {
	result    TargetResult
	health    targetHealth
	inventory []v1alpha1.InventoryEntry // that health speaks of
	judged    bool                      // health says something
}

func (c *carrier) note(w *Desired, result TargetResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.arrived[w.Target]
	r.result = result
	c.arrived[w.Target] = r
}

func (c *carrier) noteHealth(w *Desired, h targetHealth, inventory []v1alpha1.InventoryEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.arrived[w.Target]
	r.health, r.inventory, r.judged = h, inventory, true
	c.arrived[w.Target] = r
}

// awaitDependencies returns a waitError while a pipeline that the target depends on has not been carried out at this
// commit, or is not healthy.
func (c *carrier) awaitDependencies(ctx context.Context, w *Desired) error {
	for _, name := range w.Settings.DependsOn {
		other := c.agenda.Find(v1alpha1.Target{Pipeline: name, Environment: w.Environment.Name})
		h, why, err := c.dependency(ctx, other)
		if err != nil {
			return fmt.Errorf("looking at %s, which it depends on: %w", other.Target, err)
		}
		if why != "" {
			return &waitError{
				reason: reasonDependency, message: fmt.Sprintf("it depends on %s, %s", other.Target, why),
				until: alarmFor(other, h.waiting),
			}
		}
	}
	return nil
}

// dependency says why another target is not there yet; "" when it is.
func (c *carrier) dependency(ctx context.Context, other *Desired) (targetHealth, string, error) {
	c.mu.Lock()
	r, ok := c.arrived[other.Target]
	c.mu.Unlock()
	h := r.health
	switch {
	case ok && (r.result.Result == Failed || r.result.skipped):
		return h, "which failed", nil
	case ok && r.result.Result == Held && (!r.judged || r.result.waits()):
		return h, "which is held: " + r.result.Message, nil
	case !ok || !r.judged:
		var why string
		var err error
		if h, why, err = c.atCommit(ctx, other); why != "" || err != nil {
			return h, why, err
		}
	case h.status != health.Healthy: // it may have become so since
		live, err := other.Cluster.Live(ctx, other.Target, r.inventory)
		if err != nil {
			return h, "", err
		}
		h = healthOf(ctx, other.Cluster, r.inventory, live)
	}
	if h.status != health.Healthy {
		return h, "which is not healthy yet: " + h.message, nil
	}
	return h, "", nil
}

// atCommit judges a target that is not part of this pass by its record and its objects: what was applied there has to be
// what this commit says.
func (c *carrier) atCommit(ctx context.Context, other *Desired) (targetHealth, string, error) {
	if c.alone {
		record, err := other.Cluster.Record(ctx, other.Target)
		if err != nil {
			return targetHealth{}, "", err
		}
		fresh := *other
		fresh.Record = record
		other = &fresh
	}
	if other.Record == nil || other.Record.Status.LastAppliedCommit == "" {
		return targetHealth{}, "which was never deployed", nil
	}
	_, set, err := c.setAt(other, other.Snapshot)
	if err != nil {
		return targetHealth{}, "", err
	}
	same, err := other.Cluster.Applied(ctx, other.Record, set)
	if err != nil {
		return targetHealth{}, "", err
	}
	if !same {
		return targetHealth{}, fmt.Sprintf("which is not at commit %.8s yet", other.Snapshot.Commit), nil
	}
	live, err := other.Cluster.Members(ctx, other.Target, other.Record)
	if err != nil {
		return targetHealth{}, "", err
	}
	return healthOf(ctx, other.Cluster, other.Record.Status.Inventory, live), "", nil
}
