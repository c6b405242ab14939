package target

import (
	"io/fs"
	"maps"
	"runtime"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/origin"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/render"
)

// Renderings keeps the rendered overlays of the newest commit. It keeps a rendering from commit to commit until a commit
// changes a file that the rendering read, so that a commit costs only its changes. One goroutine uses it at a time. The
// zero value is ready to use.
type Renderings struct {
	byOverlay map[string]*Rendering
	last      map[v1alpha1.Target]given
	// Count receives the result of each overlay that a commit needs. Optional.
	Count func(RenderResult)
}

// Rendering is one rendered overlay. Neither it nor its set is changed: all targets and commits share it.
type Rendering struct {
	overlay  string
	Set      manifest.Packed
	Err      error
	provides plan.Provides
	reads    render.ReadSet
	// Warnings name the values that the cluster gets in another form than git writes them, a line for each object.
	Warnings []string
}

// given is the input of a target at the last commit.
type given struct {
	rendering *Rendering
	settings  v1alpha1.PipelineSettings
	refs      []image.Reference
	suspects  []image.Suspect
	err       error
}

// RenderResult says how a commit got an overlay.
type RenderResult string

const (
	RenderBuilt  RenderResult = "built"
	RenderReused RenderResult = "reused" // also where the kept rendering is an error
	RenderFailed RenderResult = "failed" // built, with an error
)

// Render gives the targets of a commit their sets. It builds the overlays whose files the commit changes, one on each
// processor at a time, and reuses the others.
func (r *Renderings) Render(targets []*Desired, files fs.FS) {
	wanted := map[string]*Rendering{}
	for _, d := range targets {
		if d.Renders() {
			wanted[d.Overlay] = r.byOverlay[d.Overlay]
		}
	}
	r.refresh(wanted, files)
	for overlay := range r.byOverlay {
		if _, ok := wanted[overlay]; !ok && !isFolder(files, overlay) {
			delete(r.byOverlay, overlay) // a pass keeps the overlays that it only leaves out
		}
	}
	r.assign(targets)
}

// refresh builds the wanted overlays that the files change.
func (r *Renderings) refresh(wanted map[string]*Rendering, files fs.FS) {
	type slot struct {
		overlay   string
		rendering *Rendering
		result    RenderResult
	}
	all := make([]slot, 0, len(wanted))
	for overlay, before := range wanted {
		all = append(all, slot{overlay, before, RenderReused})
	}
	var g panics.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range all { // each overlay owns one slot
		g.Go(func() error {
			at := &all[i]
			err := panics.Try(func() error {
				if at.rendering == nil || !at.rendering.reads.Unchanged(files) {
					at.rendering, at.result = newRendering(files, at.overlay), RenderBuilt
				}
				return nil
			})
			if err != nil {
				at.rendering, at.result = &Rendering{overlay: at.overlay, Err: err}, RenderBuilt
			}
			if at.result == RenderBuilt && at.rendering.Err != nil {
				at.result = RenderFailed
			}
			return nil
		})
	}
	_ = g.Wait() // each rendering keeps its own error
	if r.byOverlay == nil {
		r.byOverlay = map[string]*Rendering{}
	}
	for _, at := range all {
		r.byOverlay[at.overlay] = at.rendering
		if r.Count != nil {
			r.Count(at.result)
		}
	}
}

// assign gives each target its rendering. A target with the same input as at the last commit gets the same references.
func (r *Renderings) assign(targets []*Desired) {
	if r.last == nil {
		r.last = map[v1alpha1.Target]given{}
	}
	for _, d := range targets {
		if !d.Renders() {
			delete(r.last, d.Target)
			continue
		}
		before, now := r.last[d.Target], given{rendering: r.byOverlay[d.Overlay], settings: d.Settings}
		if before.rendering == now.rendering && equality.Semantic.DeepEqual(before.settings, now.settings) {
			d.useRendering(before.rendering)
			d.Rendered.Refs, d.Rendered.Suspects, d.Err = before.refs, before.suspects, before.err
			continue
		}
		if err := panics.Try(func() error { d.setRendering(now.rendering); return nil }); err != nil {
			d.Err = err
		}
		now.refs, now.suspects, now.err = d.Rendered.Refs, d.Rendered.Suspects, d.Err
		r.last[d.Target] = now
	}
	maps.DeleteFunc(r.last, func(_ v1alpha1.Target, g given) bool { return r.byOverlay[g.rendering.overlay] != g.rendering })
}

func newRendering(files fs.FS, overlay string) *Rendering {
	set, reads, err := render.BuildReading(files, overlay)
	rendered := &Rendering{overlay: overlay, Err: err, reads: reads}
	if err == nil {
		rendered.Set, rendered.provides = manifest.Pack(set), plan.ProvidedBy(set)
		rendered.Warnings = origin.Warnings(files, overlay, set, reads)
	}
	return rendered
}

// Renders reports whether the target has an overlay to render, and no earlier error.
func (d *Desired) Renders() bool { return d.Err == nil && d.Overlay != "" }

// Render renders one target by itself.
func (d *Desired) Render() {
	if d.Renders() {
		d.setRendering(newRendering(d.Snapshot.Files, d.Overlay))
	}
}

// Warnings returns the warnings of the target's overlay.
func (d *Desired) Warnings() []string {
	if d.Rendered.From == nil {
		return nil
	}
	return d.Rendered.From.Warnings
}

// setRendering sets the rendered overlay and finds its image references.
func (d *Desired) setRendering(rendered *Rendering) {
	d.useRendering(rendered)
	if d.Err = rendered.Err; d.Err == nil {
		set := rendered.Set.Set()
		d.Rendered.Refs, d.Err = image.Find(set, d.Rendered.Fields)
		d.Rendered.Suspects = image.Suspects(set, d.Rendered.Refs)
		image.SortSuspects(d.Rendered.Suspects)
	}
}

func (d *Desired) useRendering(rendered *Rendering) {
	d.Rendered.From, d.Rendered.Set, d.Rendered.Provides = rendered, rendered.Set, rendered.provides
}
