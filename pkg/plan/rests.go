package plan

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// isApplied reports whether an entry says that an object was applied as git has it.
func isApplied(entry v1alpha1.InventoryEntry, hash string) bool {
	return entry.Hash == hash && hash != "" && !entry.Unconfirmed
}

// isSameRun reports whether an entry says that the spec of an object was applied as git has it.
func isSameRun(entry v1alpha1.InventoryEntry, s *Step) bool {
	return entry.Spec != "" && entry.Spec == manifest.SpecHash(s.Rendered)
}

// disabled leaves an object alone that says so, in git or in the cluster.
func disabled(_ context.Context, _ *Comparer, s *Step) (Verdict, error) {
	if inventory.IsDisabled(s.Rendered) || inventory.IsDisabled(s.Change.Live) {
		return Verdict{State: LeftAlone}, nil
	}
	return Verdict{}, nil
}

// ran does not run an object again that ran, and that removed itself or was deleted.
func ran(ctx context.Context, c *Comparer, s *Step) (Verdict, error) {
	if s.Change.Live != nil {
		return Verdict{}, nil
	}
	entry, open := c.recorded[s.Key()], Verdict{}
	if entry.MayBeGone() {
		if isApplied(entry, s.Hash) {
			return Verdict{State: Ran}, nil
		}
		if isSameRun(entry, s) {
			remadeAs, remade := remade(ctx, c, s.Change.ID, entry)
			if !remade {
				return Verdict{State: Ran, Runs: Runs{Remade: remadeAs}}, nil
			}
			open.Runs.Remade = remadeAs
		}
	}
	as, before := ranAlready(ctx, c, s.Change.ID, s.Hash)
	open.Runs.As = as
	if before {
		open.State = Ran
	}
	return open, nil
}

// removesItself does not wait for the finalizers of an object that ran and is being deleted, as by its TTL, to run it again.
func removesItself(_ context.Context, c *Comparer, s *Step) (Verdict, error) {
	live, entry := s.Change.Live, c.recorded[s.Key()]
	if live == nil || live.GetDeletionTimestamp() == nil || c.runOf(live).State != health.Ended {
		return Verdict{}, nil
	}
	if isApplied(entry, s.Hash) || isSameRun(entry, s) {
		return Verdict{State: Ran}, nil
	}
	return Verdict{}, nil
}

// skipped leaves a change for the next run that an earlier pass left for it.
func skipped(_ context.Context, c *Comparer, s *Step) (Verdict, error) {
	live, entry := s.Change.Live, c.recorded[s.Key()]
	if live == nil || entry.Skipped != s.Hash || entry.Unconfirmed {
		return Verdict{}, nil
	}
	if c.runOf(live).State == health.Running {
		return Verdict{State: NextRun}, nil
	}
	return Verdict{State: LeftAlone}, nil
}

// unchanged needs no request for an object whose recorded apply matches git and whose fields still belong to syncer.
func unchanged(_ context.Context, c *Comparer, s *Step) (Verdict, error) {
	live, entry, policies := s.Change.Live, c.recorded[s.Key()], c.request.Policies
	if live == nil || live.GetDeletionTimestamp() != nil || c.request.Full || !isApplied(entry, s.Hash) {
		return Verdict{}, nil
	}
	if policies.Rerun == v1alpha1.OnChange && inventory.NotRerun(c.runOf(live), entry) {
		return Verdict{}, nil
	}
	if !inventory.Untouched(live, entry, c.key) || policies.Ignore.Disputed(s.Rendered, live) {
		return Verdict{}, nil
	}
	if c.request.Unowned && differsUnowned(s, policies.Ignore) {
		return Verdict{}, nil
	}
	return Verdict{State: AtRest}, nil
}

// differsUnowned reports whether git sets a field to another value than the cluster has, and neither does syncer alone own the
// field nor does a rule leave it to its owner. A rule did so when syncer applied the object. Syncer's own fields do not show this.
func differsUnowned(s *Step, rules ignore.Rules) bool {
	live := s.Change.Live
	sent, _ := rules.Yield(s.Change.ID, s.Rendered, live, nil)
	return slices.ContainsFunc(manifest.Leaves(sent.Object), func(field manifest.Field) bool {
		current := manifest.Find(live.Object, field.Path)
		if len(current) == 1 && equality.Semantic.DeepEqual(current[0].Value, field.Value) {
			return false
		}
		_, others := manifest.ManagerOf(live, field.Path, manifest.FieldManager) // syncer may own just the map around the field
		return others || !manifest.Owns(live, field.Path, manifest.FieldManager)
	})
}
