package target

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
)

// LastApplied returns a target at the commit that was applied last, with its set. Most often the newest commit has the
// same content, which saves a read of the history; else the set is read from the commit that the record names.
func (p *Planner) LastApplied(ctx context.Context, d *Desired) (*Desired, manifest.Set, error) {
	if at, set, err := p.At(ctx, d, d.Snapshot); err == nil {
		if same, err := inventory.IsApplied(ctx, d.Cluster, d.Record, set); err != nil || same {
			return at, set, err
		}
	}
	commit := d.Record.Status.LastAppliedCommit
	if commit == "" {
		return nil, nil, errors.New("no commit has been applied completely yet; mend what `syncer sync` says and sync again")
	}
	snap, err := p.Source.At(ctx, commit)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the commit last applied: %w", err)
	}
	return p.At(ctx, d, snap)
}

// At returns a target at another commit, and its set with the digests of the record.
func (p *Planner) At(ctx context.Context, d *Desired, snap source.Snapshot) (*Desired, manifest.Set, error) {
	if snap.Files == nil { // as when everything is deleted, whatever git has
		return nil, nil, fmt.Errorf("commit %.8s is not read here", snap.Commit)
	}
	pipeline := discoverOne(snap.Files, p.Config.Source.Layout, d.Target)
	if pipeline.Overlays[d.Environment.Name] == "" {
		return nil, nil, fmt.Errorf("commit %.8s has no overlay for it", snap.Commit)
	}
	at := p.Desired(pipeline, d.Environment, snap)
	p.RenderOne(ctx, at)
	if at.Err != nil {
		return nil, nil, fmt.Errorf("commit %.8s: %w", snap.Commit, at.Err)
	}
	at.Cluster, at.Record = d.Cluster, d.Record
	set, err := at.Applicable(at.Recorded(d.Record), d.Cluster.Namespace())
	return at, set, err
}
