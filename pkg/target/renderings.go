package target

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/renderers"
)

// Renderings keeps the rendered overlays of the newest commit. It keeps a rendering from commit to commit until a commit
// changes a file that the rendering read, so that a commit costs only its changes. One goroutine uses it at a time. The
// zero value is ready to use.
type Renderings struct {
	// Build builds an overlay; nil: it is built in this process, one overlay on each processor at a time.
	Build renderers.Builder
	// Few builds the overlays of a commit that needs few of them; nil: Build does. To start a process may cost more than
	// to build an overlay.
	Few renderers.Builder
	// Patience is how long Render waits after the last build that has ended, for those that take longer; 0: until all have
	// ended. A build that it does not wait for goes on, and the next Render finds its result.
	Patience time.Duration
	// Late is called from any goroutine when a build has ended that Render did not wait for. Optional.
	Late func()
	// Count receives the result of each overlay that a commit needs. Optional.
	Count func(RenderResult)

	own map[string]*Renderings // of the environments that may follow another commit

	byOverlay map[string]*kept
	last      map[v1alpha1.Target]given
	builds    *builds
	files     fs.FS // of the last commit
	again     bool  // the last commit was rendered before
	commits   int   // the number of commits with other files than the one before
}

// of returns the renderings of an environment that may follow another commit than the others.
func (r *Renderings) of(environment string) *Renderings {
	if r.own == nil {
		r.own = map[string]*Renderings{}
	}
	if r.own[environment] == nil {
		r.own[environment] = &Renderings{Build: r.Build, Few: r.Few, Patience: r.Patience, Late: r.Late, Count: r.Count}
	}
	return r.own[environment]
}

// kept is a rendering that is kept from commit to commit.
type kept struct {
	*Rendering
	commit int  // the number of the last commit that did not change it
	linked bool // it was read through links
}

// Rendering is one rendered overlay. Neither it nor its set is changed: all targets and commits share it.
type Rendering struct {
	Set manifest.Packed
	Err error
	// Warnings name the values that the cluster gets in another form than git writes them, a line for each object.
	Warnings []string

	provides neighbour.Provides
	reads    render.ReadSet
}

// given is the input of a target at the last commit, and what it gave.
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

// PendingError says that the overlay of a target takes long to build. The target stays as it is until the build has ended.
type PendingError struct {
	Overlay string
	Since   time.Time
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("rendering %s: it takes longer than others; it goes on since %s", e.Overlay, e.Since.UTC().Format(time.TimeOnly))
}

// Render gives the targets of a commit their sets. It builds the overlays whose files the commit changes, and reuses the
// others. When the context ends, it gives up.
func (r *Renderings) Render(ctx context.Context, targets []*Desired, files fs.FS) {
	changes := r.advance(files)
	wanted := map[string]bool{}
	for _, d := range targets {
		if d.Renders() {
			wanted[d.Overlay] = true
		}
	}
	r.refresh(ctx, wanted, changes)
	for overlay := range r.byOverlay {
		if !wanted[overlay] && !isFolder(files, overlay) {
			delete(r.byOverlay, overlay) // a pass keeps the overlays that it only leaves out
		}
	}
	r.assign(targets)
}

// fewOverlays is how many of them cost less than to start a process for each processor.
const fewOverlays = 6

// advance takes in the files of a commit, and returns how they differ from those of the commit before. Files that do not
// differ are of the same commit; then it returns the zero value.
func (r *Renderings) advance(files fs.FS) render.Changes {
	if r.Build == nil {
		r.Build = renderers.Limits{}.Local()
	}
	if r.byOverlay == nil {
		r.byOverlay, r.last, r.builds = map[string]*kept{}, map[v1alpha1.Target]given{}, newBuilds(r.Late)
	}
	var changes render.Changes
	if r.files != nil {
		err := panics.Try(func() error { changes = render.ChangesBetween(r.files, files); return nil })
		if err != nil {
			changes = render.Changes{} // nothing is known of them
		}
	}
	r.again = isSame(r.files, files)
	r.files = files
	if changes.None() {
		return render.Changes{}
	}
	r.commits++
	return changes
}

// isSame reports whether files are those of the same snapshot.
func isSame(a, b fs.FS) bool {
	return a != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

// refresh builds the wanted overlays that a commit changes.
func (r *Renderings) refresh(ctx context.Context, wanted map[string]bool, changes render.Changes) {
	r.builds.keep(wanted, r.commits)
	var changed []string
	for overlay := range wanted {
		late := r.take(overlay)
		if r.isCurrent(r.byOverlay[overlay], changes) {
			r.countKept(late)
			continue
		}
		changed = append(changed, overlay)
	}
	builder := r.Build
	if r.Few != nil && len(changed) <= fewOverlays {
		builder = r.Few
	}
	for _, overlay := range changed {
		r.builds.start(ctx, build{overlay: overlay, files: r.files, commit: r.commits, builder: builder})
	}
	r.builds.wait(ctx, r.Patience)
	for overlay := range wanted {
		if rendering := r.take(overlay); rendering != nil {
			r.count(rendering.result())
		}
	}
}

// take keeps the rendering of a build that has ended; nil: there is none.
func (r *Renderings) take(overlay string) *Rendering {
	ended := r.builds.take(overlay)
	if ended == nil {
		return nil
	}
	r.byOverlay[overlay] = &kept{Rendering: ended.rendering, commit: ended.commit, linked: ended.linked}
	return ended.rendering
}

// isCurrent reports whether a kept rendering is what the files of the commit give, which it then notes.
func (r *Renderings) isCurrent(k *kept, changes render.Changes) bool {
	if k == nil || k.Err != nil && !k.reads.Decides() {
		return false // a fault or a limit of time and memory, which may be met no more
	}
	untouched := k.commit == r.commits || k.commit == r.commits-1 && !k.linked && !changes.MayTouch(k.reads)
	if !untouched && !k.reads.Unchanged(r.files) {
		return false
	}
	k.commit = r.commits
	return true
}

// countKept counts an overlay that the commit does not change, or that was late: each of a commit once.
func (r *Renderings) countKept(late *Rendering) {
	switch {
	case late != nil:
		r.count(late.result())
	case !r.again:
		r.count(RenderReused)
	}
}

func (r *Renderings) count(result RenderResult) {
	if r.Count != nil {
		r.Count(result)
	}
}

// assign gives each target its rendering. A target with the same input as at the last commit gets the same references.
func (r *Renderings) assign(targets []*Desired) {
	for _, d := range targets {
		if !d.Renders() {
			delete(r.last, d.Target)
			continue
		}
		if since, pending := r.builds.pending(d.Overlay); pending {
			d.Err = &PendingError{d.Overlay, since}
			continue
		}
		before, now := r.last[d.Target], given{rendering: r.byOverlay[d.Overlay].Rendering, settings: d.Settings}
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
	if len(r.last) > len(targets) {
		current := map[*Rendering]bool{}
		for _, k := range r.byOverlay {
			current[k.Rendering] = true
		}
		maps.DeleteFunc(r.last, func(_ v1alpha1.Target, g given) bool { return !current[g.rendering] })
	}
}

// Stop cancels the builds that go on, and waits for their end.
func (r *Renderings) Stop() {
	if r.builds != nil {
		r.builds.stop()
	}
	for _, own := range r.own {
		own.Stop()
	}
}

// newRendering takes in what a build gave.
func newRendering(built renderers.Built) *Rendering {
	rendered := &Rendering{Err: built.Err, Warnings: built.Warnings, reads: built.Reads}
	if built.Err == nil {
		rendered.Set, rendered.provides = built.Packed, neighbour.ProvidedBy(built.Set)
	}
	return rendered
}

// result is that of a rendering that was built.
func (r *Rendering) result() RenderResult {
	if r.Err != nil {
		return RenderFailed
	}
	return RenderBuilt
}

// Renders reports whether the target has an overlay to render, and no earlier error.
func (d *Desired) Renders() bool { return d.Err == nil && d.Overlay != "" }

// RenderOne renders one target by itself.
func (p *Planner) RenderOne(ctx context.Context, d *Desired) {
	if d.Renders() {
		d.setRendering(newRendering(p.Renderings.builder()(ctx, d.Snapshot.Files, d.Overlay)))
	}
}

// builder returns what builds one overlay.
func (r *Renderings) builder() renderers.Builder {
	switch {
	case r == nil || r.Build == nil:
		return renderers.Limits{}.Local()
	case r.Few != nil:
		return r.Few
	}
	return r.Build
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
		if most := d.Rendered.MostRefs; d.Err == nil && most > 0 && len(d.Rendered.Refs) > most {
			d.Err = &render.Limited{
				Place: d.Overlay, What: fmt.Sprintf("the overlay has %d image references", len(d.Rendered.Refs)), Setting: "render.images", Limit: strconv.Itoa(most),
			}
			return
		}
		d.Rendered.Suspects = image.Suspects(set, d.Rendered.Refs)
		image.SortSuspects(d.Rendered.Suspects)
	}
}

func (d *Desired) useRendering(rendered *Rendering) {
	d.Rendered.From, d.Rendered.Set, d.Rendered.Provides = rendered, rendered.Set, rendered.provides
}
