package target

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/source"
)

// refusals lists the refusals of a commit, sorted by environment.
func refusals(reads []environmentRead) []*follow.Refusal {
	var out []*follow.Refusal
	for _, read := range reads {
		if read.refused != nil {
			out = append(out, read.refused)
		}
	}
	slices.SortFunc(out, func(a, b *follow.Refusal) int { return cmp.Compare(a.Environment, b.Environment) })
	return out
}

// viewed is the commit that an environment follows, with its pipelines.
type viewed struct {
	follow.Followed
	pipelines []*Pipeline
	preview   *follow.Refusal // of a commit that is followed all the same
	err       error
}

func (v viewed) refused() *follow.Refusal {
	if v.preview != nil {
		return v.preview
	}
	return v.Signature.Refused
}

// viewOf returns the commit that an environment follows. records are those of this configuration.
func (p *Planner) viewOf(ctx context.Context, environment *v1alpha1.Environment, at newest, records []*v1alpha1.PipelineSync) viewed {
	if at.preview {
		refused := p.Trust.Refuse(ctx, p.Source, environment.Name, at.snap, records)
		return viewed{Followed: follow.Followed{Snap: at.snap}, pipelines: at.pipelines, preview: refused, err: at.err}
	}
	out := viewed{Followed: p.Trust.Follow(ctx, p.Source, environment.Name, at.snap, records)}
	switch out.Snap.Commit {
	case at.snap.Commit:
		out.pipelines, out.err = at.pipelines, at.err
	case "":
	default:
		out.pipelines, out.err = p.discoverWith(out.Snap, nil)
	}
	return out
}

// viewUnread returns the commit that an environment follows whose records were not read, as far as it is known. It decides
// nothing: the records may name a commit that has to be checked first.
func (p *Planner) viewUnread(ctx context.Context, environment *v1alpha1.Environment, at newest) viewed {
	out := viewed{Followed: follow.Followed{Snap: at.snap}, pipelines: at.pipelines}
	if at.preview || !p.Trust.Demands(environment.Name) {
		return out
	}
	if known := p.Trust.InForce(environment.Name); known.Commit != "" && known.Commit != at.snap.Commit {
		out.Snap = known
		out.pipelines, out.err = p.discoverWith(known, nil)
	} else if known.Commit == "" && p.Trust.Refuse(ctx, p.Source, environment.Name, at.snap, nil) != nil {
		return viewed{}
	}
	return out
}

// reasonUntrusted is that of a target whose environment trusts no commit yet.
const reasonUntrusted = "Untrusted"

// stand leaves a target as it is, because its environment trusts no commit yet. It is not taken for one that left git.
func (d *Desired) stand(layout string, why *follow.Refusal) {
	d.Snapshot.Commit, d.Overlay = d.Record.Status.LastAppliedCommit, overlayAt(layout, d.Target)
	d.Err = &WaitError{Reason: reasonUntrusted, Message: why.Error()}
}

func overlayAt(layout string, of v1alpha1.Target) string {
	return strings.NewReplacer("{pipeline}", of.Pipeline, "{environment}", of.Environment).Replace(strings.Trim(layout, "/"))
}

// render gives the targets their sets. The environments that demand signatures have renderings of their own, since they may follow
// another commit than the others.
func (p *Planner) render(ctx context.Context, targets []*Desired, newest source.Snapshot) {
	free, byEnvironment := []*Desired{}, map[string][]*Desired{}
	for _, d := range targets {
		if p.Trust.Demands(d.Environment.Name) {
			byEnvironment[d.Environment.Name] = append(byEnvironment[d.Environment.Name], d)
		} else {
			free = append(free, d)
		}
	}
	for name, own := range byEnvironment {
		if files := own[0].Snapshot.Files; files != nil {
			p.Renderings.of(name).Render(ctx, own, files)
		}
	}
	p.Renderings.Render(ctx, free, newest.Files)
}
