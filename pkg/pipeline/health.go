package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// targetHealth is how a target's objects are, taken together.
type targetHealth struct {
	status  health.Status
	message string            // names the objects that are not healthy; "" when all are
	missing bool              // an object is not in the cluster
	unseen  bool              // an object ran and is gone, and nobody knows how it ended
	waiting []manifest.Change // the objects that may yet become healthy
}

// healthOf judges the live objects of an inventory. An object that ran to its end and is gone is no loss.
func healthOf(ctx context.Context, cluster *apply.Cluster, inventory []v1alpha1.InventoryEntry, live apply.Members) targetHealth {
	h := targetHealth{status: health.Healthy}
	var waiting, failed, missing []string
	for _, entry := range inventory {
		id := entry.ID()
		obj, ok := live[id.Key()]
		if !ok {
			switch {
			case entry.Deleted:
				missing = append(missing, id.String()+" was deleted before its run had ended")
			case !entry.MayBeGone():
				missing = append(missing, id.String()+" is not in the cluster")
			case entry.Failed:
				failed = append(failed, id.String()+": it failed, and is gone")
			case !entry.Completed:
				h.unseen = true
			}
			continue
		}
		verdict, until := cluster.Health(obj), manifest.Held{Reason: manifest.HeldHealth, For: []manifest.ID{id}}
		if cluster.AwaitsRerun(obj, entry) {
			until.Reason, until.Hash = manifest.HeldRerun, entry.EndedRun
			verdict = health.Health{Status: health.InProgress, Message: "it was changed, and has not run again yet"}
		}
		if verdict.Status == health.Healthy {
			continue
		}
		text := fmt.Sprintf("%s: %s", id, verdict.Message)
		if len(waiting)+len(failed) < namedObjects {
			if reason := cluster.Why(ctx, obj); reason != "" && !strings.Contains(text, reason) {
				text += " (" + reason + ")"
			}
		}
		if verdict.Status == health.Failed {
			failed = append(failed, text)
			continue
		}
		waiting = append(waiting, text)
		h.waiting = append(h.waiting, manifest.Change{ID: id, Action: manifest.Hold, Held: &until})
	}
	switch {
	case len(failed)+len(missing) > 0:
		h.status = health.Failed
	case len(waiting) > 0:
		h.status = health.InProgress
	}
	h.message, h.missing = shorten(slices.Concat(failed, missing, waiting)), len(missing) > 0
	return h
}

// swapped names the objects whose image somebody changed since syncer applied it: what their health says is said of bytes
// that git never deployed. A container that admission added is none of them, since nothing of it is syncer's. Where
// nothing of the whole object is syncer's any more, because it was made anew, its images have to be deployed ones.
func swapped(ctx context.Context, cluster *apply.Cluster, inventory []v1alpha1.InventoryEntry, live apply.Members, fields []image.Field, deployed []v1alpha1.DeployedImage) []string {
	var out []string
	touched := cluster.Touched(ctx, inventory, live)
	isDeployed := func(value string) bool {
		_, digest, _ := strings.Cut(value, "@")
		return slices.ContainsFunc(deployed, func(d v1alpha1.DeployedImage) bool { return d.Digest == digest })
	}
	for _, obj := range live {
		id := manifest.IDOf(obj)
		if !slices.Contains(touched, id.String()) {
			continue
		}
		set := manifest.Set{obj}
		lost := manifest.OwnedFields(obj, manifest.FieldManager) == ""
		refs, _ := image.Find(set, fields) // what can be read of an object that somebody edited is enough
		if slices.ContainsFunc(refs, func(ref image.Reference) bool {
			path, err := manifest.ParsePath(ref.Path)
			switch {
			case err != nil:
				return false
			case lost:
				return !isDeployed(ref.Value)
			}
			return !apply.Wrote(set, id, ref.Path) && apply.Wrote(set, id, path[:len(path)-1].String())
		}) {
			out = append(out, id.String())
		}
	}
	slices.Sort(out)
	return out
}

// namedObjects is how many objects a message names.
const namedObjects = 5

// shorten keeps a condition's message readable however many objects it names.
func shorten(parts []string) string {
	if len(parts) > namedObjects {
		parts = append(parts[:namedObjects:namedObjects], fmt.Sprintf("and %d more", len(parts)-namedObjects))
	}
	return strings.Join(parts, "; ")
}

const healthPoll = time.Second

// judgeHealth judges a target after its apply, and waits for it to be healthy where the user asked for that.
func (c *carrier) judgeHealth(ctx context.Context, w *target.Desired, applied apply.Applied, applyErr error) (targetHealth, error) {
	h := healthOf(ctx, w.Cluster, applied.Inventory, applied.Live)
	if c.options.Wait == 0 || applyErr != nil {
		return h, nil
	}
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for h.status == health.InProgress {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("not healthy after %s: %s", c.options.Wait, h.message)
		case <-tick.C:
		}
		live, err := w.Cluster.Live(ctx, w.Target, applied.Inventory)
		if err != nil {
			return h, err
		}
		h = healthOf(ctx, w.Cluster, applied.Inventory, live)
	}
	if h.status == health.Failed {
		return h, fmt.Errorf("not healthy: %s", h.message)
	}
	return h, nil
}
