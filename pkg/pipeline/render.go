package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// RenderOptions say what to print.
type RenderOptions struct {
	Pipeline, Environment string
	Revision              string // "": the newest commit
	// Tags gives what git says: tags as written, and nothing that syncer adds.
	Tags bool
}

// RenderedTarget is a set and what a user should know about it.
type RenderedTarget struct {
	Set manifest.Set
	// Warnings name what arrives otherwise than git has it, a line for each object.
	Warnings []string
	Note     string // why the digests may differ from those of a sync; "" when they do not
}

// Render gives what sync would apply to one target, byte for byte. Digests come from the target's record where there
// is one; only references that were never deployed need their registry.
func (r *Runner) Render(ctx context.Context, options RenderOptions) (RenderedTarget, error) {
	environments, err := r.Config.Select([]string{options.Environment})
	if err != nil {
		return RenderedTarget{}, err
	}
	environment := environments[0]
	snap, err := r.snapshot(ctx, options.Revision)
	if err != nil {
		return RenderedTarget{}, err
	}
	pipelines, err := r.planner.Discover(snap)
	if err != nil {
		return RenderedTarget{}, err
	}
	i := slices.IndexFunc(pipelines, func(p *target.Pipeline) bool { return p.Name == options.Pipeline })
	if i < 0 {
		return RenderedTarget{}, fmt.Errorf("commit %.8s has no pipeline %q", snap.Commit, options.Pipeline)
	}
	if pipelines[i].Overlays[environment.Name] == "" {
		return RenderedTarget{}, fmt.Errorf("commit %.8s: pipeline %s has no overlay for %s (%s is not there)", snap.Commit, options.Pipeline, environment.Name, pipelines[i].Expected[environment.Name])
	}
	w := r.planner.Desired(pipelines[i], environment, snap)
	var out RenderedTarget
	err = r.guarded(w.Target, func() (err error) {
		out, err = r.renderTarget(ctx, w, options)
		return err
	})
	return out, err
}

func (r *Runner) renderTarget(ctx context.Context, w *target.Desired, options RenderOptions) (RenderedTarget, error) {
	w.Render()
	if options.Tags || w.Err != nil {
		return RenderedTarget{Set: w.Rendered.Set, Warnings: w.Warnings()}, w.Err
	}
	var note string
	if err := r.readRecord(ctx, w); err != nil {
		note = fmt.Sprintf("digests come from the registry, not from what is deployed, because the record cannot be read: %v", err)
	}
	decided, err := r.pins.Decide(ctx, w, pin.Request{Lookups: r.pins.NewLookups(), Frozen: true})
	if err != nil {
		return RenderedTarget{}, err
	}
	set, err := w.Applicable(decided.Resolved, r.Config.Namespace)
	return RenderedTarget{Set: set, Warnings: w.Warnings(), Note: note}, err
}

// readRecord reads a target's record, if its cluster has one.
func (r *Runner) readRecord(ctx context.Context, w *target.Desired) error {
	server, err := r.clusters.Of(w.Environment)
	if err != nil {
		return err
	}
	if w.Cluster, err = server.As(w.Settings.ServiceAccount); err != nil {
		return err
	}
	if w.Record, err = server.Records().Get(ctx, w.Target); errors.Is(err, cluster.ErrNotInstalled) {
		return nil // nothing has been deployed there
	}
	return err
}
