package target

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// limitRemovals refuses to remove more pipelines from an environment than its limit allows: a moved folder or a wrong
// layout looks like a request to delete everything.
func (c *Commit) limitRemovals() {
	gone := map[string][]*Desired{}
	for _, d := range c.Targets {
		if d.Overlay == "" && d.Err == nil && !c.Allowed.Prunes[d.Target] {
			gone[d.Environment.Name] = append(gone[d.Environment.Name], d)
		}
	}
	for environment, targets := range gone {
		most, total := *targets[0].Environment.Prune.MaxPercent, c.recorded[environment]
		if !limit.Pipelines(len(targets), total, most) {
			continue
		}
		names := make([]string, len(targets))
		for i, d := range targets {
			names[i] = d.Target.Pipeline
		}
		for _, d := range targets {
			d.Err = refusal("this commit would remove %d of the %d pipelines of %s (%s), which is above the limit of %d %%; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
				len(targets), total, environment, strings.Join(names, ", "), most, d.Target.Pipeline)
		}
	}
}

// RefusedError says that a commit would delete more objects of an environment than allowed.
type RefusedError struct{ text string }

func (e *RefusedError) Error() string { return e.text }

func refusal(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// limitPrunes refuses the prunes of a commit that would delete more from an environment than the limit of one pass: many
// small losses are one big loss.
func (c *Commit) limitPrunes() {
	deleted, losing := map[string]int{}, map[string][]*Desired{}
	pending := pendingIn(c.Targets)
	for i, d := range c.All() {
		selected := i < len(c.Targets)
		if d.Environment.Prune.MaxPerPass == 0 || !selected && d.Overlay != "" || d.Record == nil || d.Err != nil || c.Allowed.Prunes[d.Target] || d.Overlay != "" && d.Rendered.Set.IsNone() {
			continue
		}
		if n := plan.ToDelete(d.Record, d.Rendered.Set.IDs()); n > 0 {
			deleted[d.Environment.Name] += n
			losing[d.Environment.Name] = append(losing[d.Environment.Name], d)
		}
	}
	for environment, targets := range losing {
		most := targets[0].Environment.Prune.MaxPerPass
		if late := pending[environment]; late.err != nil && limit.Pass(deleted[environment]+late.objects, most) {
			for _, d := range targets {
				d.Err = late.err // the plan with it tells whether the limit holds
			}
			continue
		}
		if !limit.Pass(deleted[environment], most) {
			continue
		}
		for _, d := range targets {
			d.Err = refusal("this commit would delete %s from %s of %s, which is above the limit of %d in one pass; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
				manifest.Plural(deleted[environment], "object"), manifest.Plural(len(targets), "pipeline"), environment, most, d.Target.Pipeline)
		}
	}
}

// late are the targets of an environment whose overlays are still being rendered.
type late struct {
	objects int // that they have, and that the commit may delete
	err     error
}

func pendingIn(targets []*Desired) map[string]late {
	out := map[string]late{}
	for _, d := range targets {
		if pending, ok := errors.AsType[*PendingError](d.Err); ok && d.Record != nil {
			out[d.Environment.Name] = late{out[d.Environment.Name].objects + len(d.Record.Status.Inventory), pending}
		}
	}
	return out
}
