package pipeline

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
	"github.com/syncerdev/syncer/pkg/render"
)

// renderings are what the overlays of the newest commit render to. A rendering is kept from commit to commit until a
// commit changes something that it read, so that a commit costs what it changes. One pass uses them at a time. The zero
// value is ready to use.
type renderings struct {
	byOverlay map[string]*Rendering
	last      map[v1alpha1.Target]given
	// count is told of each overlay that a pass needs. Optional.
	count func(renderResult)
}

// rendering is one overlay, rendered. It does not change, and neither does its set: all passes share it.
type Rendering struct {
	overlay string
	Set     manifest.Set
	Err     error
	reads   render.ReadSet
	// warnings name what arrives otherwise than git has it, a line for each object.
	Warnings []string
}

// given is what git gave a target at the last pass.
type given struct {
	rendering *Rendering
	settings  v1alpha1.PipelineSettings
	refs      []image.Reference
	suspects  []image.Suspect
	err       error
}

// renderResult is what became of an overlay that a pass needs.
type renderResult string

const (
	renderBuilt  renderResult = "built"
	renderReused renderResult = "reused" // be it an error
	renderFailed renderResult = "failed" // built, with an error
)

// render gives the works of a commit their sets. It builds the overlays that the files of the commit change, as many at once as
// there are processors, and takes the others as they are.
func (r *renderings) render(works []*Desired, files fs.FS) {
	wanted := map[string]*Rendering{}
	for _, w := range works {
		if w.Renders() {
			wanted[w.Overlay] = r.byOverlay[w.Overlay]
		}
	}
	r.refresh(wanted, files)
	for overlay := range r.byOverlay {
		if _, ok := wanted[overlay]; !ok && !isFolder(files, overlay) {
			delete(r.byOverlay, overlay) // not one that this pass merely leaves out
		}
	}
	r.hand(works)
}

// refresh makes the overlays that are wanted what the files say.
func (r *renderings) refresh(wanted map[string]*Rendering, files fs.FS) {
	type slot struct {
		overlay   string
		rendering *Rendering
		result    renderResult
	}
	all := make([]slot, 0, len(wanted))
	for overlay, before := range wanted {
		all = append(all, slot{overlay, before, renderReused})
	}
	var g panics.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range all { // each overlay owns one slot
		g.Go(func() error {
			at := &all[i]
			err := panics.Try(func() error {
				if at.rendering == nil || !at.rendering.reads.Unchanged(files) {
					at.rendering, at.result = newRendering(files, at.overlay), renderBuilt
				}
				return nil
			})
			if err != nil {
				at.rendering, at.result = &Rendering{overlay: at.overlay, Err: err}, renderBuilt
			}
			if at.result == renderBuilt && at.rendering.Err != nil {
				at.result = renderFailed
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
		if r.count != nil {
			r.count(at.result)
		}
	}
}

// hand gives each work its rendering, and notes whether git gives its target just what it gave at the last pass.
func (r *renderings) hand(works []*Desired) {
	if r.last == nil {
		r.last = map[v1alpha1.Target]given{}
	}
	for _, w := range works {
		if !w.Renders() {
			delete(r.last, w.Target)
			continue
		}
		before, now := r.last[w.Target], given{rendering: r.byOverlay[w.Overlay], settings: w.Settings}
		if before.rendering == now.rendering && equality.Semantic.DeepEqual(before.settings, now.settings) {
			w.Rendered.From, w.Rendered.Set, w.Rendered.Refs, w.Rendered.Suspects, w.Err = before.rendering, before.rendering.Set, before.refs, before.suspects, before.err
			continue
		}
		if err := panics.Try(func() error { w.take(now.rendering); return nil }); err != nil {
			w.Err = err
		}
		now.refs, now.suspects, now.err = w.Rendered.Refs, w.Rendered.Suspects, w.Err
		r.last[w.Target] = now
	}
	maps.DeleteFunc(r.last, func(_ v1alpha1.Target, g given) bool { return r.byOverlay[g.rendering.overlay] != g.rendering })
}

func newRendering(files fs.FS, overlay string) *Rendering {
	set, reads, err := render.BuildReading(files, overlay)
	rendered := &Rendering{overlay: overlay, Set: set, Err: err, reads: reads}
	if err == nil {
		rendered.Warnings = origin.Warnings(files, overlay, set, reads)
	}
	return rendered
}

// renders reports whether git has an overlay for a target, and nothing that stops it before.
func (w *Desired) Renders() bool { return w.Err == nil && w.Overlay != "" }

// render renders a target by itself.
func (w *Desired) render() {
	if w.Renders() {
		w.take(newRendering(w.Snapshot.Files, w.Overlay))
	}
}

// warnings are those of the target's overlay.
func (w *Desired) Warnings() []string {
	if w.Rendered.From == nil {
		return nil
	}
	return w.Rendered.From.Warnings
}

func (w *Desired) take(rendered *Rendering) {
	w.Rendered.From = rendered
	if w.Rendered.Set, w.Err = rendered.Set, rendered.Err; w.Err == nil {
		w.Rendered.Refs, w.Err = image.Find(w.Rendered.Set, w.Rendered.Fields)
		w.Rendered.Suspects = image.Suspects(w.Rendered.Set, w.Rendered.Refs)
		image.SortSuspects(w.Rendered.Suspects)
	}
}
