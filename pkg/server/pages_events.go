package server

import (
	"net/http"
	"slices"

	"github.com/syncerdev/syncer/pkg/view"
)

// eventsPage is the feed of events.
type eventsPage struct {
	Query        query
	Environments []choice
	Kinds        []choice
	Days         []eventDay
	All, Shown   int
}

type eventDay struct {
	Day    string
	Events []eventRow
}

type eventRow struct {
	view.Event
	Class, Sign, Text string
}

// eventLooks are how kinds of events are shown, in the order in which they are offered.
var eventLooks = []struct {
	kind view.EventKind
	look
}{
	{view.EventDeployed, look{"ok", "✓", "deployed"}},
	{view.EventRolledBack, look{"info", "↶", "rolled back"}},
	{view.EventHealthy, look{"ok", "♥", "healthy"}},
	{view.EventHeld, look{"warning", "‖", "held"}},
	{view.EventFailed, look{"critical", "✕", "failed"}},
	{view.EventDrifted, look{"warning", "≠", "drifted"}},
	{view.EventEnded, look{"info", "=", "drift ended"}},
}

func (s *site) events(r *http.Request, v *view.View) page {
	p := eventsPage{Query: asked("/events", r.URL.Query(), "q", "env", "kind", "pipeline"), All: len(v.Events)}
	for _, e := range v.Environments {
		p.Environments = append(p.Environments, choice{Value: e.Name, Text: e.Name, Chosen: p.Query.Get("env") == e.Name})
	}
	for _, l := range eventLooks {
		p.Kinds = append(p.Kinds, choice{Value: string(l.kind), Text: l.text, Chosen: p.Query.Get("kind") == string(l.kind)})
	}
	for _, e := range v.Events {
		if p.has(e) {
			p.add(e)
		}
	}
	return page{template: "events", title: "Events", section: "/events", content: p}
}

// has reports whether an event is one that the address asks for.
func (p *eventsPage) has(e view.Event) bool {
	is := func(key, value string) bool {
		wanted := p.Query.values[key]
		return len(wanted) == 0 || slices.Contains(wanted, value)
	}
	return is("env", e.Environment) && is("kind", string(e.Kind)) && is("pipeline", e.Pipeline) &&
		finds(p.Query.Get("q"), e.Pipeline+"@"+e.Environment, e.Commit, e.Message, string(e.Kind), string(e.Severity))
}

func (p *eventsPage) add(e view.Event) {
	row := eventRow{Event: e, Class: "info", Sign: "●", Text: string(e.Kind)}
	for _, l := range eventLooks {
		if l.kind == e.Kind {
			row.Class, row.Sign, row.Text = l.class, l.sign, l.text
		}
	}
	if e.Kind == view.EventDrifted && e.Severity != "" {
		row.Class = string(e.Severity)
	}
	day := e.Time.UTC().Format("Monday, 2 January 2006")
	if n := len(p.Days); n == 0 || p.Days[n-1].Day != day {
		p.Days = append(p.Days, eventDay{Day: day})
	}
	p.Days[len(p.Days)-1].Events = append(p.Days[len(p.Days)-1].Events, row)
	p.Shown++
}
