package server

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// matrixPage is the pipelines by the environments.
type matrixPage struct {
	Query              query
	Newest             *view.Commit        // nil: none was read
	Environments       []matrixEnvironment // the columns
	All                []view.Environment
	Rows               []*matrixRow
	Chips              []matrixChip
	Sorts              []choice
	States             []choice
	Name               column
	Pipelines, Targets int // before anything is filtered out
}

type matrixEnvironment struct {
	view.Environment
	Column column
}

type matrixRow struct {
	Pipeline, Owner string
	Cells           []*matrixCell // by column; nil: not there
	Differs         bool          // one tag runs by different bytes
}

type matrixCell struct {
	*view.Target
	Now    time.Time
	Totals []total
	Shown  []drift.Image
	More   int  // images that are not shown
	Old    bool // its environment cannot be read now
}

// shownImages is how many images a cell has room for.
const shownImages = 2

// matrixChip counts the targets in a state, and links to them.
type matrixChip struct {
	choice
	Class, Sign string
	Count       int
}

// choice is one of several values of a part of the address.
type choice struct {
	Value, Text, Path string
	Chosen            bool
}

// column is a head of a table that sorts it.
type column struct {
	Path string
	Sort string // ascending or descending; empty: it is sorted by something else
}

func (s *site) matrix(r *http.Request, v *view.View) page {
	m := matrixPage{Query: asked("/", r.URL.Query(), "q", "sort", "env", "state"), All: v.Environments, Targets: len(v.Targets)}
	if len(v.Commits) > 0 {
		m.Newest = &v.Commits[0]
	}
	m.columns(v)
	rows := m.rows(s.now(), v)
	m.Pipelines = len(rows)
	m.chips(rows)
	m.Rows = slices.DeleteFunc(rows, func(row *matrixRow) bool { return !m.has(row) })
	m.order()
	return page{template: "matrix", title: "Pipelines", section: "/", content: m}
}

// columns are the environments in the address; all of them, if the address names no known one.
func (m *matrixPage) columns(v *view.View) {
	wanted := m.Query.values["env"]
	known := slices.ContainsFunc(v.Environments, func(e view.Environment) bool { return slices.Contains(wanted, e.Name) })
	for _, e := range v.Environments {
		if !known || slices.Contains(wanted, e.Name) {
			m.Environments = append(m.Environments, matrixEnvironment{e, m.column("state@"+e.Name, "descending")})
		}
	}
	m.Name = m.column("name", "ascending")
	sorts := []choice{{Value: "name", Text: "name"}, {Value: "state", Text: "worst state"}, {Value: "drift", Text: "most drift"}, {Value: "behind", Text: "furthest behind"}, {Value: "age", Text: "newest deployment"}}
	sort := cmp.Or(m.Query.Get("sort"), "name")
	for _, e := range m.Environments {
		if strings.TrimPrefix(sort, "-") == "state@"+e.Name {
			sorts = append(sorts, choice{Value: "state@" + e.Name, Text: "state in " + e.Name})
		}
	}
	for _, c := range sorts {
		c.Chosen = c.Value == sort
		m.Sorts = append(m.Sorts, c)
		if "-"+c.Value == sort {
			m.Sorts = append(m.Sorts, choice{Value: sort, Text: c.Text + ", reversed", Chosen: true})
		}
	}
}

// column is the head that sorts by a key: one way, and the other way when it is followed again.
func (m *matrixPage) column(key, way string) column {
	other := map[string]string{"ascending": "descending", "descending": "ascending"}
	switch cmp.Or(m.Query.Get("sort"), "name") {
	case key:
		return column{m.Query.With("sort", "-"+key), way}
	case "-" + key:
		return column{m.Query.With("sort", key), other[way]}
	}
	return column{m.Query.With("sort", key), ""}
}

func (m *matrixPage) rows(now time.Time, v *view.View) []*matrixRow {
	var rows []*matrixRow
	place := map[string]int{}
	for i, e := range m.Environments {
		place[e.Name] = i
	}
	digests := map[string]string{} // by reference, of one pipeline
	for i := range v.Targets {
		t := &v.Targets[i]
		if n := len(rows); n == 0 || rows[n-1].Pipeline != t.Pipeline {
			rows = append(rows, &matrixRow{Pipeline: t.Pipeline, Cells: make([]*matrixCell, len(m.Environments))})
			clear(digests)
		}
		row := rows[len(rows)-1]
		row.Owner = cmp.Or(row.Owner, t.Owner)
		for _, image := range t.Images {
			if before := digests[image.Reference]; before != "" && image.Digest != "" && before != image.Digest {
				row.Differs = true
			}
			digests[image.Reference] = cmp.Or(image.Digest, digests[image.Reference])
		}
		if at, ok := place[t.Environment]; ok {
			shown := t.Images[:min(len(t.Images), shownImages)]
			row.Cells[at] = &matrixCell{
				Target: t, Now: now, Totals: totals(t.Findings), Shown: shown, More: len(t.Images) - len(shown), Old: m.Environments[at].Error != "",
			}
		}
	}
	return rows
}

// conditions are filters of rows: the states, and conditions beside a state.
var conditions = []struct {
	value, text, class, sign string
	is                       func(*matrixCell) bool
}{
	{"Failed", "failed", "critical", "✕", inState(drift.Failed)},
	{"Held", "held", "warning", "‖", inState(drift.Waiting)},
	{"Progressing", "progressing", "info", "…", inState(drift.Progressing)},
	{"Unknown", "unknown", "info", "?", inState(drift.Unknown)},
	{"Ready", "ready", "ok", "✓", inState(drift.Ready)},
	{"drifted", "with drift", "warning", "≠", func(c *matrixCell) bool { return len(c.Totals) > 0 }},
	{"behind", "behind", "warning", "↓", func(c *matrixCell) bool { return c.Behind > 0 }},
}

func inState(state drift.State) func(*matrixCell) bool {
	return func(c *matrixCell) bool { return c.State == state }
}

func (m *matrixPage) chips(rows []*matrixRow) {
	for _, condition := range conditions {
		chip := matrixChip{Class: condition.class, Sign: condition.sign, choice: choice{Value: condition.value, Text: condition.text}}
		for _, row := range rows {
			for _, cell := range row.Cells {
				if cell != nil && condition.is(cell) {
					chip.Count++
				}
			}
		}
		chip.Chosen = m.Query.Get("state") == condition.value
		chip.Path = m.Query.With("state", condition.value)
		if chip.Chosen {
			chip.Path = m.Query.With("state", "") // followed again, it lets go
		}
		m.States = append(m.States, chip.choice)
		if chip.Count > 0 || chip.Chosen {
			m.Chips = append(m.Chips, chip)
		}
	}
}

// has reports whether a row is one that the address asks for: a shown target of it is.
func (m *matrixPage) has(row *matrixRow) bool {
	is := func(*matrixCell) bool { return true }
	for _, condition := range conditions {
		if condition.value == m.Query.Get("state") {
			is = condition.is
		}
	}
	there := false
	texts := []string{row.Pipeline, row.Owner}
	for _, cell := range row.Cells {
		if cell == nil {
			continue
		}
		there = there || is(cell)
		texts = append(texts, cell.Environment, string(cell.State), cell.Commit, cell.Subject, cell.Author, cell.Message)
		for _, image := range cell.Images {
			texts = append(texts, image.Reference, image.Digest)
		}
	}
	return there && finds(m.Query.Get("q"), texts...)
}

// order sorts the rows, equal rows by name.
func (m *matrixPage) order() {
	wanted, reversed := strings.CutPrefix(m.Query.Get("sort"), "-")
	key, environment, _ := strings.Cut(wanted, "@")
	way := 1
	if reversed {
		way = -1
	}
	weigh, ok := weights[key]
	slices.SortStableFunc(m.Rows, func(a, b *matrixRow) int {
		if !ok {
			return way * cmp.Compare(a.Pipeline, b.Pipeline)
		}
		return cmp.Or(way*cmp.Compare(a.weight(weigh, environment), b.weight(weigh, environment)), cmp.Compare(a.Pipeline, b.Pipeline))
	})
}

// weight is the weight of a row's heaviest cell, or of its cell in an environment. Heavier rows come first: hence the
// sign.
func (r *matrixRow) weight(weigh func(*matrixCell) int64, environment string) int64 {
	heaviest := int64(-1)
	for _, cell := range r.Cells {
		if cell != nil && (environment == "" || cell.Environment == environment) {
			heaviest = max(heaviest, weigh(cell))
		}
	}
	return -heaviest
}

// weights are the sort keys of rows, besides their name.
var weights = map[string]func(*matrixCell) int64{
	"state": func(c *matrixCell) int64 {
		return int64(slices.Index([]drift.State{drift.Ready, drift.Progressing, drift.Waiting, drift.Unknown, drift.Failed}, c.State))
	},
	"drift": func(c *matrixCell) int64 {
		const more = 1000 // than a record has findings
		return int64(c.Drift(drift.Critical)*more*more + c.Drift(drift.Warning)*more + c.Drift(drift.Info))
	},
	"behind": func(c *matrixCell) int64 { return int64(c.Behind) },
	"age": func(c *matrixCell) int64 {
		if c.DeployedAt == nil {
			return -1
		}
		return c.DeployedAt.Sub(time.Unix(0, 0)).Nanoseconds()
	},
}
