package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/view"
)

// pipelinePage is one pipeline in all environments, or in the one that the address asks for.
type pipelinePage struct {
	Query         query
	Name, Owner   string
	Choices       []choice // of environments
	Targets       []*targetSection
	In            []string // the environments that the pipeline is in
	Images        []imageRow
	History       []historyDay
	Drift, Held   int
	Objects, Past int
	Compared      bool // every target of the page
}

// targetSection is the part of the page about one target.
type targetSection struct {
	*view.Target
	In         view.Environment
	Totals     []total
	Differing  []drift.ObjectFindings
	Unkept     int                    // findings that the record does not keep
	Kept       []v1alpha1.PinnedImage // that nothing runs by
	Health     *healthSection         // nil: it was not asked for
	Ask, Leave string                 // the addresses that ask for health, and do not
}

// healthSection is how the objects of a target are in the cluster.
type healthSection struct {
	Objects []health.Object
	Error   string
	Wrong   int // objects that are not as they should be
}

// askingTakes is the longest that a page waits for a cluster.
const askingTakes = 15 * time.Second

func (s *site) pipeline(r *http.Request, v *view.View) page {
	name := r.PathValue("name")
	p := pipelinePage{Query: asked(r.URL.EscapedPath(), r.URL.Query(), "env", "health"), Name: name, Compared: true}
	var targets []*view.Target
	for i := range v.Targets {
		if v.Targets[i].Pipeline == name {
			targets = append(targets, &v.Targets[i])
		}
	}
	if len(targets) == 0 {
		return noPipeline(v, name)
	}
	p.choose(targets)
	for _, t := range targets {
		if p.Owner == "" {
			p.Owner = t.Owner
		}
		p.In = append(p.In, t.Environment)
		if p.shows(t.Environment) {
			p.Targets = append(p.Targets, p.section(r.Context(), s, v, t))
		}
	}
	p.Images = imagesOf(targets) // in all environments: a digest that differs shows beside the others
	p.History = historyOf(p.Targets)
	return page{template: "pipeline", title: name, section: "/", content: p}
}

func noPipeline(v *view.View, name string) page {
	const most = 10
	var links []link
	for _, other := range v.Pipelines() {
		if len(links) < most && (finds(name, other) || finds(other, name)) {
			links = append(links, link{other, pipelinePath(other)})
		}
	}
	text := "No record in any environment names it, and it is not in the repository."
	if slices.ContainsFunc(v.Environments, func(e view.Environment) bool { return e.Error != "" }) || v.Source.Error != "" {
		text = "No record that could be read names it. Not all of them can be read now: see above."
	}
	return missing("There is no pipeline "+name, text, links...)
}

// choose offers the environments that the pipeline is in.
func (p *pipelinePage) choose(targets []*view.Target) {
	wanted := p.Query.Get("env")
	if !slices.ContainsFunc(targets, func(t *view.Target) bool { return t.Environment == wanted }) {
		p.Query.values.Del("env")
		wanted = ""
	}
	p.Choices = append(p.Choices, choice{Text: "all", Path: p.Query.With("env", ""), Chosen: wanted == ""})
	for _, t := range targets {
		p.Choices = append(p.Choices, choice{Value: t.Environment, Text: t.Environment, Path: p.Query.With("env", t.Environment), Chosen: t.Environment == wanted})
	}
}

func (p *pipelinePage) shows(environment string) bool {
	wanted := p.Query.Get("env")
	return wanted == "" || wanted == environment
}

func (p *pipelinePage) section(ctx context.Context, s *site, v *view.View, t *view.Target) *targetSection {
	out := &targetSection{Target: t, Totals: totals(t.Findings), Unkept: max(0, t.Total-len(t.Findings)), Kept: pinsOf(t)}
	for _, e := range v.Environments {
		if e.Name == t.Environment {
			out.In = e
		}
	}
	differing := slices.DeleteFunc(slices.Clone(t.Findings), func(f drift.Finding) bool { return f.Kind == drift.Held })
	drift.Sort(differing)
	out.Differing = drift.ByObject(s.now(), differing)
	p.Drift += len(differing) + out.Unkept
	p.Compared = p.Compared && t.Error == "" && t.Commit != ""
	p.Held += len(t.Held)
	p.Objects += len(t.Objects)
	p.Past += len(t.Past)
	here := "#objects-" + drift.Fragment(t.Environment)
	out.Ask, out.Leave = p.Query.With("health", t.Environment)+here, p.Query.With("health", "")+here
	if p.Query.Get("health") == t.Environment {
		out.Health = s.health(ctx, t)
	}
	return out
}

// health asks the cluster how the objects of a target are.
func (s *site) health(ctx context.Context, t *view.Target) *healthSection {
	ctx, cancel := context.WithTimeout(ctx, askingTakes)
	defer cancel()
	objects, err := s.daemon.Objects(ctx, v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment})
	if err != nil {
		return &healthSection{Error: err.Error()}
	}
	out := &healthSection{Objects: objects}
	for _, o := range objects {
		if objectLooks[o.Health].class != "ok" || o.Touched {
			out.Wrong++
		}
	}
	return out
}

// look is the form of a word, so that colour is not its only sign.
type look struct{ class, sign, text string }

// objectLooks are the looks of an object's health.
var objectLooks = map[string]look{
	"Healthy": {"ok", "✓", "Healthy"}, "Completed": {"ok", "✓", "Completed"}, "InProgress": {"info", "…", "In progress"},
	"Failed": {"critical", "✕", "Failed"}, "Missing": {"critical", "✕", "Missing"},
}

// waits names the cause of a held change, if the record has no sentence.
var waits = map[string]string{
	"Running": "the end of the run", "Dependency": "a pipeline that it depends on", "InUse": "the end of its use",
	"Moved":      "the pipeline that names it now",
	"Unrendered": "a pipeline that does not render and may name it", "Terminating": "the deletion under way",
}

// WaitsFor is the reason of a held change in words.
func (t *targetSection) WaitsFor(held v1alpha1.HeldChange) string {
	if text := waits[held.Reason]; text != "" {
		return text
	}
	return held.Reason
}

// LookOf is the class, the sign and the word for an object's health.
func (h *healthSection) LookOf(health string) [3]string {
	l, ok := objectLooks[health]
	if !ok {
		l = look{"info", "?", health}
	}
	return [3]string{l.class, l.sign, l.text}
}
