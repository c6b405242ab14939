package drift

import (
	"fmt"
	"slices"
	"time"
)

type pageDay struct {
	Day    string
	Fold   bool
	Events []pageEvent
}

type pageEvent struct {
	Time                            time.Time
	Class, What, Target, Text, More string
	Since                           *time.Time // nil: not known, or not of interest
}

const (
	shownDays   = 14 // how far back the page's history goes
	shownEvents = 20 // from the day on which they are exceeded, days are folded
)

// history joins deployments and past findings by day, the newest first.
func (p *pageData) history() {
	from := p.Report.GeneratedAt.AddDate(0, 0, -shownDays)
	var events []pageEvent
	for _, t := range p.Report.Targets {
		for _, d := range t.Deployments {
			events = append(events, deployed(t, d))
		}
	}
	for _, past := range p.Report.Past {
		events = append(events, ended(past))
	}
	slices.SortStableFunc(events, func(a, b pageEvent) int { return b.Time.Compare(a.Time) })
	for i, e := range events {
		if e.Time.Before(from) {
			break
		}
		day := e.Time.UTC().Format("Monday, 2 January 2006")
		if n := len(p.Days); n == 0 || p.Days[n-1].Day != day {
			p.Days = append(p.Days, pageDay{Day: day, Fold: i >= shownEvents})
		}
		p.Days[len(p.Days)-1].Events = append(p.Days[len(p.Days)-1].Events, e)
	}
}

func deployed(t Target, d Deployment) pageEvent {
	e := pageEvent{Time: d.Time, Class: "ok", What: "✓ deployed", Target: t.Pipeline + "@" + t.Environment, Text: d.Subject, More: d.Author}
	switch {
	case d.Outcome == "Failed":
		e.Class, e.What = "critical", "✕ failed"
	case d.Outcome == "Held":
		e.Class, e.What = "warning", "‖ held"
	case d.RollbackOf > 0:
		e.Class, e.What = "info", fmt.Sprintf("↶ rolled back to %d", d.RollbackOf)
	}
	return e
}

func ended(past Past) pageEvent {
	what := past.Path
	if what == "" {
		what = string(past.Kind)
	}
	e := pageEvent{Time: past.EndedAt, Class: "info", What: "drift gone", Target: past.Pipeline + "@" + past.Environment, Text: past.Object.String() + " " + what}
	if past.Ending == Corrected {
		e.Class, e.What = "ok", "✓ drift corrected"
	}
	if past.Manager != "" || past.User != "" {
		e.More, e.Since = "by "+past.who(), past.Since()
	}
	return e
}
