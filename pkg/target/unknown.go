package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/words"
)

// findNeighbours finds what each target wants at the commit, or says that it is not known.
func (c *Commit) findNeighbours(n *names) {
	n.settle(c)
	c.Neighbours = map[*cluster.Cluster]neighbour.All{}
	for server, named := range n.named {
		c.Neighbours[server] = neighbour.All{Named: named, Sets: n.sets[server]}
	}
	for _, d := range c.All() {
		if d.Cluster == nil || c.isKnown(d) {
			continue
		}
		here := c.Neighbours[d.Cluster.Server()]
		switch l := d.later(c.layout); {
		case d.Snapshot.Files == nil:
			here.Unknown = append(here.Unknown, neighbour.Unknown{Target: d.Target, MayName: d.mayHave})
		case d.Renders():
			here.Unknown, here.Unrendered = append(here.Unknown, l.untried()), append(here.Unrendered, l.unrendered())
		default:
			here.Unknown = append(here.Unknown, l.unknown())
		}
		c.Neighbours[d.Cluster.Server()] = here
	}
}

// isKnown reports whether it is known what a target names at the commit. A target with an error may name objects: another
// target may take them over.
func (c *Commit) isKnown(d *Desired) bool {
	_, overlayGone := errors.AsType[*MissingOverlayError](d.Err)
	return d.Overlay == "" || overlayGone && c.Allowed.Prunes[d.Target] || !d.Rendered.Set.IsNone() || d.Rendered.From != nil && d.Rendered.From.Err == nil
}

// mayHave says that a target which follows no commit may have an object, by its record.
func (d *Desired) mayHave(id manifest.ID) string {
	if !d.owns(neighbour.Place(id)) {
		return ""
	}
	return fmt.Sprintf("%s has it, and %s trusts no commit yet that says whether it stays", d.Target, d.Environment.Name)
}

// later is a target whose files are read, and whose overlay is rendered, when somebody asks. It is safe for concurrent use.
type later struct {
	d         *Desired
	words     func() *words.Words
	rendering func() *Rendering
}

func (d *Desired) later(layout string) later {
	return later{
		d:     d,
		words: sync.OnceValue(func() *words.Words { return words.Of(d.Snapshot.Files, Folder(layout, d.Target), d.Overlay) }),
		// The first to ask may give up, and the next one still needs the result.
		rendering: sync.OnceValue(func() *Rendering {
			return newRendering(d.Rendered.build(context.Background(), d.Snapshot.Files, d.Overlay))
		}),
	}
}

// unknown is the target as one whose overlay does not render.
func (l later) unknown() neighbour.Unknown {
	return neighbour.Unknown{Target: l.d.Target, MayName: func(id manifest.ID) string {
		return l.d.doubt(l.words().MayName(id))
	}}
}

// untried is the target as one that is not known not to render.
func (l later) untried() neighbour.Unknown {
	return neighbour.Unknown{Target: l.d.Target, MayName: func(id manifest.ID) string {
		if file := l.words().MayName(id); file != "" && l.rendering().Err != nil {
			return l.d.doubt(file)
		}
		return ""
	}}
}

// unrendered is the target as one that another one may hand an object over to, or take one over from.
func (l later) unrendered() neighbour.Unrendered {
	return neighbour.Unrendered{
		Target: l.d.Target, Set: v1alpha1.ApplySetID(l.d.Cluster.Namespace(), l.d.Target),
		MayName: func(id manifest.ID) bool { return l.words().MayName(id) != "" },
		Render: func() ([]manifest.ID, bool) {
			rendered := l.rendering()
			return rendered.Set.IDs(), rendered.Err == nil
		},
	}
}

// unplanned is the target as one of an environment that is not part of the pass.
func (l later) unplanned() neighbour.Unknown {
	return neighbour.Unknown{Target: l.d.Target, MayName: func(id manifest.ID) string {
		file := l.words().MayName(id)
		switch {
		case file == "":
			return ""
		case l.rendering().Err != nil:
			return l.d.doubt(file)
		case !l.names(id):
			return ""
		}
		return fmt.Sprintf("%s names it now, and %s is not part of this pass; reconcile both environments together, and it is handed over", l.d.Target, l.d.Environment.Name)
	}}
}

func (l later) names(id manifest.ID) bool {
	return slices.ContainsFunc(l.rendering().Set.IDs(), func(other manifest.ID) bool { return neighbour.Place(other) == neighbour.Place(id) })
}

// doubt says that the target may have an object by a file; "" without a file.
func (d *Desired) doubt(file string) string {
	if file == "" {
		return ""
	}
	if _, pending := errors.AsType[*PendingError](d.Err); pending {
		return fmt.Sprintf("%s is still being rendered, and %s may name it", d.Target, file)
	}
	return fmt.Sprintf("%s does not render at this commit, and %s may name it; correct %s, which then takes it over or lets it go", d.Target, file, d.Target)
}

// addUnplanned adds the targets that were not planned to the neighbours: those of environments that share a cluster with a
// planned one, and that were not selected or could not be read.
func (p *Planner) addUnplanned(ctx context.Context, c *Commit, at newest) error {
	servers := map[v1alpha1.Cluster]*cluster.Cluster{}
	for _, d := range c.All() {
		servers[ClusterKey(d.Environment)] = d.Cluster.Server()
	}
	environments, err := p.Config.Select(nil)
	if err != nil {
		return err
	}
	planned := map[string]bool{}
	for _, d := range c.All() {
		planned[d.Environment.Name] = true
	}
	for _, environment := range environments {
		server, shared := servers[ClusterKey(environment)]
		if !shared {
			continue
		}
		view, n := p.viewUnread(ctx, environment, at), c.Neighbours[server]
		if p.Trust.Demands(environment.Name) && view.Snap.Commit == "" && !planned[environment.Name] {
			n.Unknown = append(n.Unknown, untrusted(environment.Name))
		}
		for _, pipeline := range view.pipelines {
			if of := (v1alpha1.Target{Pipeline: pipeline.Name, Environment: environment.Name}); pipeline.Overlays[environment.Name] != "" && c.index[of] == nil {
				n.Unknown = append(n.Unknown, p.Desired(pipeline, environment, view.Snap).later(c.layout).unplanned())
			}
		}
		c.Neighbours[server] = n
	}
	return nil
}

// untrusted stands for the targets of an environment of which it is not known which commit it follows.
func untrusted(environment string) neighbour.Unknown {
	return neighbour.Unknown{Target: v1alpha1.Target{Environment: environment}, MayName: func(manifest.ID) string {
		return fmt.Sprintf("%s may have it, and does not trust the newest commit; reconcile both environments together", environment)
	}}
}
