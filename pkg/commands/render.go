package commands

import (
	"context"
	"errors"
	"fmt"

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

// Rendered is a set and the notes on it.
type Rendered struct {
	Set manifest.Set
	// Warnings name the values that the cluster gets otherwise than git writes them, a line for each object.
	Warnings []string
	Note     string // why the digests may differ from those of a sync; "" when they do not
}

// Render returns the set that a sync would apply to one target, byte for byte. Digests come from the record of the target
// where there is one; only references that were never deployed need their registry.
func (s *Session) Render(ctx context.Context, options RenderOptions) (Rendered, error) {
	environments, err := s.Config.Select([]string{options.Environment})
	if err != nil {
		return Rendered{}, err
	}
	environment := environments[0]
	snap, err := snapshotAt(ctx, s.Source, options.Revision)
	if err != nil {
		return Rendered{}, err
	}
	pipelines, err := s.Planner.Discover(snap)
	if err != nil {
		return Rendered{}, err
	}
	pipeline := find(pipelines, options.Pipeline)
	if pipeline == nil {
		return Rendered{}, fmt.Errorf("commit %.8s has no pipeline %q", snap.Commit, options.Pipeline)
	}
	if pipeline.Overlays[environment.Name] == "" {
		return Rendered{}, fmt.Errorf("commit %.8s: pipeline %s has no overlay for %s (%s is not there)", snap.Commit, options.Pipeline, environment.Name, pipeline.Expected(environment.Name))
	}
	d := s.Planner.Desired(pipeline, environment, snap)
	var out Rendered
	err = s.Reconciler.Guard.Call(d.Target, func() (err error) {
		out, err = renderTarget(ctx, s.Planner, s.Reconciler.Pins, d, options)
		return err
	})
	return out, err
}

// renderTarget renders one target, with the digests that a sync would deploy.
func renderTarget(ctx context.Context, planner *target.Planner, pins *pin.Resolver, d *target.Desired, options RenderOptions) (Rendered, error) {
	planner.RenderOne(ctx, d)
	if options.Tags || d.Err != nil {
		return Rendered{Set: d.Rendered.Set.Set(), Warnings: d.Warnings()}, d.Err
	}
	var note string
	if err := readRecord(ctx, pins.Clusters, d); err != nil {
		note = fmt.Sprintf("digests come from the registry, not from what is deployed, because the record cannot be read: %v", err)
	}
	decided, err := pins.Decide(ctx, d, pin.Request{Lookups: pins.NewLookups(), Frozen: true})
	if err != nil {
		return Rendered{}, err
	}
	set, err := d.Applicable(decided.Resolved, pins.Config.Namespace)
	return Rendered{Set: set, Warnings: d.Warnings(), Note: note}, err
}

// readRecord reads a target's record, if its cluster has one.
func readRecord(ctx context.Context, clusters *target.Clusters, d *target.Desired) error {
	server, err := clusters.Of(d.Environment)
	if err != nil {
		return err
	}
	if d.Cluster, err = server.As(d.Settings.ServiceAccount); err != nil {
		return err
	}
	if d.Record, err = server.Records().Get(ctx, d.Target); errors.Is(err, cluster.ErrNotInstalled) {
		return nil // nothing has been deployed there
	}
	return err
}
