package server

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/view"
)

// commitsPage is the list of the newest commits.
type commitsPage struct {
	Query   query
	Commits []commitRow
	All     int
}

type commitRow struct {
	view.Commit
	Newest bool
	Runs   []commitRuns
}

// commitRuns counts the targets of an environment whose last applied commit this is.
type commitRuns struct {
	Environment string
	Targets     int
}

func (s *site) commits(r *http.Request, v *view.View) page {
	p := commitsPage{Query: asked("/commits", r.URL.Query(), "q"), All: len(v.Commits)}
	for i, c := range v.Commits {
		if !finds(p.Query.Get("q"), c.Hash, c.Author, c.Subject) {
			continue
		}
		row := commitRow{Commit: c, Newest: i == 0}
		for _, e := range v.Environments {
			runs := commitRuns{Environment: e.Name}
			for _, t := range v.Targets {
				if t.Environment == e.Name && t.Commit == c.Hash {
					runs.Targets++
				}
			}
			if runs.Targets > 0 {
				row.Runs = append(row.Runs, runs)
			}
		}
		p.Commits = append(p.Commits, row)
	}
	return page{template: "commits", title: "Commits", section: "/commits", content: p}
}

// commitPage is where a commit has arrived.
type commitPage struct {
	Commit *view.Commit
	Groups []arrivalGroup
	Listed bool // it is one of the source's newest
}

// arrivalGroup are the targets in which the same has become of a commit.
type arrivalGroup struct {
	Arrival     view.ArrivalKind
	Class, Sign string
	Text        string
	Fold        bool   // the group is closed at first
	Alike       string // the text that all of them have in common
	Arrivals    []view.Arrival
}

// arrivalGroups are the groups of the page, in its order: those that need attention come first.
var arrivalGroups = []arrivalGroup{
	{Arrival: view.Refused, Class: "critical", Sign: "✕", Text: "refused"},
	{Arrival: view.Awaited, Class: "warning", Sign: "‖", Text: "held"},
	{Arrival: view.Pending, Class: "info", Sign: "…", Text: "still to come"},
	{Arrival: view.Arrived, Class: "ok", Sign: "✓", Text: "arrived"},
	{Arrival: view.Replaced, Class: "info", Sign: "↷", Text: "replaced since"},
	{Arrival: view.Untouched, Class: "plain-badge", Sign: "–", Text: "not touched", Fold: true},
}

// appliedAs finds a commit that targets have applied last, by its whole hash. A commit that changed nothing there is in
// no history, and may be older than the fetched part of the source.
func appliedAs(v *view.View, hash string) *view.Commit {
	for _, t := range v.Targets {
		if t.Commit == hash && hash != "" {
			return &view.Commit{Hash: hash, Author: t.Author, Subject: t.Subject}
		}
	}
	return nil
}

// alike is the message that several arrivals share, if none of them has another.
func alike(arrivals []view.Arrival) string {
	for _, a := range arrivals {
		if len(arrivals) == 1 || a.Message != arrivals[0].Message || a.Deployment != nil {
			return ""
		}
	}
	return arrivals[0].Message
}

func (s *site) commit(r *http.Request, v *view.View) page {
	prefix := strings.ToLower(r.PathValue("hash"))
	commit := cmp.Or(v.Commit(prefix), appliedAs(v, prefix))
	if commit == nil {
		return missing("There is no commit "+prefix, "None of the newest commits, and none that a record keeps, begins so; or more than one does.", link{"All commits", "/commits"})
	}
	p := commitPage{Commit: commit}
	p.Listed = slices.ContainsFunc(v.Commits, func(c view.Commit) bool { return c.Hash == commit.Hash })
	arrivals := v.Arrivals(commit.Hash)
	for _, group := range arrivalGroups {
		for _, a := range arrivals {
			if a.Arrival == group.Arrival {
				group.Arrivals = append(group.Arrivals, a)
			}
		}
		if len(group.Arrivals) > 0 {
			group.Alike = alike(group.Arrivals)
			p.Groups = append(p.Groups, group)
		}
	}
	return page{template: "commit", title: "Commit " + commit.Hash[:min(len(commit.Hash), 8)], section: "/commits", content: p}
}
