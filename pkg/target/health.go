package target

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// Health is the state of all objects of a target.
type Health struct {
	Status  health.Status
	Message string            // names the objects that are not healthy; empty when all are
	Missing bool              // an object is not in the cluster
	Unseen  bool              // an object ran and is gone, and its end is not known
	Waiting []manifest.Change // the objects that may still become healthy
}

// HealthOf judges the live objects of an inventory. An object that has ended well and is gone is no loss.
func HealthOf(ctx context.Context, c *cluster.Cluster, entries []v1alpha1.InventoryEntry, live inventory.Members) Health {
	h := Health{Status: health.Healthy}
	var waiting, failed, missing []string
	for _, entry := range entries {
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
				h.Unseen = true
			}
			continue
		}
		verdict, until := c.Judge().Health(obj), manifest.Held{Reason: manifest.HeldHealth, For: []manifest.ID{id}}
		if inventory.AwaitsRerun(c, obj, entry) {
			until.Reason, until.Hash = manifest.HeldRerun, entry.EndedRun
			verdict = health.Health{Status: health.InProgress, Message: "it was changed, and has not run again yet"}
		}
		if verdict.Status == health.Healthy {
			continue
		}
		text := fmt.Sprintf("%s: %s", id, verdict.Message)
		if len(waiting)+len(failed) < manifest.NamedObjects {
			if reason := cluster.Why(ctx, c, obj); reason != "" && !strings.Contains(text, reason) {
				text += " (" + reason + ")"
			}
		}
		if verdict.Status == health.Failed {
			failed = append(failed, text)
			continue
		}
		waiting = append(waiting, text)
		h.Waiting = append(h.Waiting, manifest.Change{ID: id, Action: manifest.Hold, Held: &until})
	}
	switch {
	case len(failed)+len(missing) > 0:
		h.Status = health.Failed
	case len(waiting) > 0:
		h.Status = health.InProgress
	}
	h.Message, h.Missing = manifest.Shorten(slices.Concat(failed, missing, waiting)), len(missing) > 0
	return h
}

// Swapped names the objects whose image was changed since syncer applied it: their health is that of bytes that git
// never deployed. A container that admission added does not count, since syncer owns no field of it. If an object was
// created again, so that syncer owns none of its fields, it has to run deployed images.
func Swapped(ctx context.Context, cluster *cluster.Cluster, entries []v1alpha1.InventoryEntry, live inventory.Members, fields []image.Field, deployed []v1alpha1.DeployedImage) []string {
	var out []string
	touched := inventory.Touched(ctx, cluster, entries, live)
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
		refs, _ := image.Find(set, fields) // the readable part of an edited object is enough
		if slices.ContainsFunc(refs, func(ref image.Reference) bool {
			path, err := manifest.ParsePath(ref.Path)
			switch {
			case err != nil:
				return false
			case lost:
				return !isDeployed(ref.Value)
			}
			return !inventory.Wrote(set, id, ref.Path) && inventory.Wrote(set, id, path[:len(path)-1].String())
		}) {
			out = append(out, id.String())
		}
	}
	slices.Sort(out)
	return out
}

// WithUnread returns the health with the unreadable objects, whose state is not known.
func (h Health) WithUnread(planned *plan.Plan) Health {
	var names []string
	for _, u := range planned.Uncompared() {
		if u.Unread {
			names = append(names, fmt.Sprintf("%s cannot be read", u.Change.ID))
		}
	}
	if len(names) == 0 {
		return h
	}
	if h.Message != "" {
		names = append([]string{h.Message}, names...)
	}
	h.Status, h.Message = health.Failed, manifest.Shorten(names)
	return h
}

// ObjectsOf returns the state of each object of an inventory, sorted.
func ObjectsOf(ctx context.Context, cluster *cluster.Cluster, entries []v1alpha1.InventoryEntry, live inventory.Members) []health.Object {
	touched := inventory.Touched(ctx, cluster, entries, live)
	out := make([]health.Object, 0, len(entries))
	for _, entry := range entries {
		id := entry.ID()
		view := health.Object{Object: id, Touched: slices.Contains(touched, id.String())}
		obj, ok := live[id.Key()]
		switch {
		case ok:
			verdict := cluster.Judge().Health(obj)
			view.Health, view.Message = string(verdict.Status), verdict.Message
		case entry.MayBeGone():
			view.Health, view.Message = health.ObjectCompleted, "it ran, and is gone as it should be"
		default:
			view.Health, view.Message = health.ObjectMissing, "it is not in the cluster"
		}
		out = append(out, view)
	}
	slices.SortFunc(out, func(a, b health.Object) int { return a.Object.Compare(b.Object) })
	return out
}
