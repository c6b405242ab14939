package target

import (
	"errors"
	"fmt"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/renderers"
	"github.com/syncerdev/syncer/pkg/source"
)

// findNeighbours finds what each target wants at the commit, or says that it is not known.
func (c *Commit) findNeighbours() {
	c.Neighbours = map[*cluster.Cluster]plan.Neighbours{}
	for _, failed := range []bool{true, false} { // of two targets that name an object, the one that can be deployed counts
		for _, d := range c.All() {
			if d.Cluster == nil || (d.Err != nil) != failed {
				continue
			}
			n := c.Neighbours[d.Cluster.Server()]
			if set, known := c.wanted(d); known {
				n.Add(d.Cluster.Namespace(), d.Target, set)
			} else {
				n.Unknown = append(n.Unknown, d.unrendered(c.layout))
			}
			c.Neighbours[d.Cluster.Server()] = n
		}
	}
}

// wanted is the set of a target at the commit; false: it is not known. A target with an error may have one: git names its
// objects all the same, and another target may take them over.
func (c *Commit) wanted(d *Desired) ([]manifest.ID, bool) {
	_, overlayGone := errors.AsType[*MissingOverlayError](d.Err)
	if d.Overlay == "" || overlayGone && c.Allowed.Prunes[d.Target] {
		return nil, true
	}
	return d.Rendered.Set.IDs(), !d.Rendered.Set.IsNone() || d.Rendered.From != nil && d.Rendered.From.Err == nil
}

// unrendered is a target whose overlay is not rendered.
func (d *Desired) unrendered(layout string) plan.Unknown {
	read := d.words(layout)
	return plan.Unknown{Target: d.Target, MayName: func(id manifest.ID) string {
		return d.doubt(read().mayName(id))
	}}
}

// words returns a function that reads the files of the target's pipeline, at its first call.
func (d *Desired) words(layout string) func() *words {
	return sync.OnceValue(func() *words { return wordsOf(d.Snapshot.Files, Folder(layout, d.Target), d.Overlay) })
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
func (p *Planner) addUnplanned(c *Commit, pipelines []*Pipeline, snap source.Snapshot) error {
	servers := map[v1alpha1.Cluster]*cluster.Cluster{}
	for _, d := range c.All() {
		servers[ClusterKey(d.Environment)] = d.Cluster.Server()
	}
	environments, err := p.Config.Select(nil)
	if err != nil {
		return err
	}
	for _, environment := range environments {
		server, shared := servers[ClusterKey(environment)]
		for _, pipeline := range pipelines {
			d := p.Desired(pipeline, environment, snap)
			if shared && d.Overlay != "" && c.index[d.Target] == nil {
				n := c.Neighbours[server]
				n.Unknown = append(n.Unknown, d.unplanned(c.layout))
				c.Neighbours[server] = n
			}
		}
	}
	return nil
}

// unplanned is a target that is rendered only if an object that may be its own leaves another target.
func (d *Desired) unplanned(layout string) plan.Unknown {
	read := d.words(layout)
	rendering := sync.OnceValue(func() *Rendering { return newRendering(renderers.Limits{}.Here(d.Snapshot.Files, d.Overlay)) })
	return plan.Unknown{Target: d.Target, MayName: func(id manifest.ID) string {
		file := read().mayName(id)
		if file == "" {
			return ""
		}
		rendered := rendering()
		if rendered.Err != nil {
			return d.doubt(file)
		}
		var n plan.Neighbours
		if n.Add("", d.Target, rendered.Set.IDs()); n.Named[id.Key()] != d.Target {
			return ""
		}
		return fmt.Sprintf("%s names it now, and %s is not part of this pass; reconcile both environments together, and it is handed over", d.Target, d.Environment.Name)
	}}
}
