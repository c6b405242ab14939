package drift

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
)

//go:embed page/report.html
var pageTemplate string

//go:embed page/report.css
var pageStyle string

// HTML prints a report as one page that loads nothing, runs no script and can be mailed or kept. Everything that comes
// from a repository or a cluster is escaped.
func HTML(w io.Writer, report Report) error {
	return page.Execute(w, newPage(report))
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"short": func(commit string) string { return commit[:min(len(commit), 8)] },
	"digest": func(digest string) string {
		digest = strings.TrimPrefix(digest, "sha256:")
		return digest[:min(len(digest), 12)]
	},
	"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"when":   func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04") },
	"ago":    func(now time.Time, at *time.Time) string { return age(now, *at) },
	"count":  counted,
	"sign":   func(s Severity) string { return signs[s] },
	"sided":  func(f Finding) bool { return f.Desired != nil || f.Live != nil },
	"left":   func(f Finding) string { return labels(f)[0] },
	"right":  func(f Finding) string { return labels(f)[1] },
	"absent": func(value any) bool { return value == nil },
	"shown":  shown,
	"long":   func(text string) bool { return len([]rune(text)) > longestValue },
	"cut":    func(text string) string { return string([]rune(text)[:longestValue/2]) },
	"author": func(f Finding, now time.Time) string {
		switch {
		case f.Manager != "" || f.User != "":
			return "by " + f.author(now)
		case f.Since() != nil:
			return "first seen " + age(now, *f.Since())
		}
		return ""
	},
}).Parse(pageTemplate))

// signs tell severities apart without colour.
var signs = map[Severity]string{Critical: "▲", Warning: "◆", Info: "●"}

func labels(f Finding) [2]string {
	switch f.Kind {
	case TagMoved, ImageMissing:
		return [2]string{"runs", "the tag now"}
	}
	return [2]string{"git", "live"}
}

type pageData struct {
	Title        string
	Style        template.CSS
	StyleHash    string
	Report       Report
	Totals       []pageTotal
	Environments []string
	Rows         []pageRow
	Errors       []Target
	Groups       []pageGroup
	Unexplained  []Skew
	Declared     []Skew
	Expected     []Skew
	Images       []pageImage
	Days         []pageDay
}

type pageTotal struct {
	Severity Severity
	Count    int
}

type pageRow struct {
	Pipeline string
	Cells    []*pageCell // by environment; nil: not there
}

type pageCell struct {
	Target
	Class, Sign string
	Counts      *pageCounts // nil: no findings
}

type pageCounts struct {
	Anchor string
	Totals []pageTotal
}

type pageGroup struct {
	Pipeline, Environment, Anchor string
	Count                         int
	Objects                       []pageObject
}

type pageObject struct {
	ID       manifest.ID
	Findings []Finding
}

type pageImage struct {
	Reference string
	Digests   []string // by environment
	Differs   bool
}

type pageDay struct {
	Day    string
	Events []pageEvent
}

type pageEvent struct {
	Time                            time.Time
	Class, What, Target, Text, More string
}

func newPage(report Report) pageData {
	sum := sha256.Sum256([]byte(pageStyle))
	p := pageData{
		Style: template.CSS(pageStyle), StyleHash: base64.StdEncoding.EncodeToString(sum[:]),
		Report: report, Totals: totals(report.Findings), Title: "No drift",
	}
	switch {
	case len(report.Findings) > 0:
		p.Title = "Drift: " + counted(len(report.Findings), "finding")
	case report.unknown() > 0:
		p.Title = "Drift: not known everywhere"
	}
	for _, t := range report.Targets {
		if !slices.Contains(p.Environments, t.Environment) {
			p.Environments = append(p.Environments, t.Environment)
		}
		if t.Error != "" {
			p.Errors = append(p.Errors, t)
		}
	}
	p.rows()
	p.groups()
	for _, s := range report.Skew {
		switch {
		case s.Expected:
			p.Expected = append(p.Expected, s)
		case s.Declared:
			p.Declared = append(p.Declared, s)
		default:
			p.Unexplained = append(p.Unexplained, s)
		}
	}
	p.images()
	p.history()
	return p
}

func totals(findings []Finding) []pageTotal {
	var out []pageTotal
	for _, severity := range []Severity{Critical, Warning, Info} {
		n := 0
		for _, f := range findings {
			if f.Severity == severity {
				n++
			}
		}
		if n > 0 {
			out = append(out, pageTotal{severity, n})
		}
	}
	return out
}

func anchor(pipeline, environment string) string {
	return "target-" + strings.ReplaceAll(pipeline, "@", "-") + "-at-" + environment
}

// states say how a target is by a sign and a class.
var states = map[State][2]string{
	Ready: {"ok", "✓"}, Progressing: {"info", "…"}, Waiting: {"warning", "‖"}, Failed: {"critical", "✕"}, Unknown: {"info", "?"},
}

func (p *pageData) rows() {
	for _, t := range p.Report.Targets {
		at := slices.IndexFunc(p.Rows, func(r pageRow) bool { return r.Pipeline == t.Pipeline })
		if at < 0 {
			p.Rows = append(p.Rows, pageRow{Pipeline: t.Pipeline, Cells: make([]*pageCell, len(p.Environments))})
			at = len(p.Rows) - 1
		}
		cell := &pageCell{Target: t, Class: states[t.State][0], Sign: states[t.State][1]}
		if found := p.of(t.Pipeline, t.Environment); len(found) > 0 {
			cell.Counts = &pageCounts{anchor(t.Pipeline, t.Environment), totals(found)}
		}
		p.Rows[at].Cells[slices.Index(p.Environments, t.Environment)] = cell
	}
}

func (p *pageData) of(pipeline, environment string) []Finding {
	var out []Finding
	for _, f := range p.Report.Findings {
		if f.Pipeline == pipeline && f.Environment == environment {
			out = append(out, f)
		}
	}
	return out
}

func (p *pageData) groups() {
	for _, f := range p.Report.Findings {
		if n := len(p.Groups); n == 0 || p.Groups[n-1].Pipeline != f.Pipeline || p.Groups[n-1].Environment != f.Environment {
			p.Groups = append(p.Groups, pageGroup{Pipeline: f.Pipeline, Environment: f.Environment, Anchor: anchor(f.Pipeline, f.Environment)})
		}
		group := &p.Groups[len(p.Groups)-1]
		if n := len(group.Objects); n == 0 || group.Objects[n-1].ID != f.Object {
			group.Objects = append(group.Objects, pageObject{ID: f.Object})
		}
		object := &group.Objects[len(group.Objects)-1]
		object.Findings = append(object.Findings, f)
		group.Count++
	}
}

// images lists which digest each reference stands for where.
func (p *pageData) images() {
	byReference := map[string]*pageImage{}
	for _, t := range p.Report.Targets {
		at := slices.Index(p.Environments, t.Environment)
		for _, image := range t.Images {
			row := byReference[image.Reference]
			if row == nil {
				row = &pageImage{Reference: image.Reference, Digests: make([]string, len(p.Environments))}
				byReference[image.Reference] = row
			}
			row.Digests[at] = image.Digest
		}
	}
	for _, row := range byReference {
		var first string
		for _, digest := range row.Digests {
			row.Differs = row.Differs || digest != "" && first != "" && digest != first
			first = cmp.Or(first, digest)
		}
		p.Images = append(p.Images, *row)
	}
	slices.SortFunc(p.Images, func(a, b pageImage) int { return cmp.Compare(a.Reference, b.Reference) })
}

// shownDays is how far back the page's history goes.
const shownDays = 14

// history joins deployments and past findings by day, the newest first.
func (p *pageData) history() {
	from := p.Report.GeneratedAt.AddDate(0, 0, -shownDays)
	var events []pageEvent
	for _, t := range p.Report.Targets {
		for _, d := range t.Deployments {
			e := pageEvent{Time: d.Time, Class: "ok", What: "✓ deployed", Target: t.Pipeline + "@" + t.Environment, Text: d.Subject, More: d.Author}
			switch {
			case d.Outcome == "Failed":
				e.Class, e.What = "critical", "✕ failed"
			case d.Outcome == "Held":
				e.Class, e.What = "warning", "‖ held"
			case d.RollbackOf > 0:
				e.Class, e.What = "info", fmt.Sprintf("↶ rolled back to %d", d.RollbackOf)
			}
			events = append(events, e)
		}
	}
	for _, past := range p.Report.Past {
		what := past.Path
		if what == "" {
			what = string(past.Kind)
		}
		e := pageEvent{Time: past.EndedAt, Class: "info", What: "drift gone", Target: past.Pipeline + "@" + past.Environment, Text: past.Object.String() + " " + what}
		if past.Ending == Corrected {
			e.Class, e.What = "ok", "✓ drift corrected"
		}
		if past.Manager != "" || past.User != "" {
			e.More = "by " + past.author(p.Report.GeneratedAt)
		}
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b pageEvent) int { return b.Time.Compare(a.Time) })
	for _, e := range events {
		if e.Time.Before(from) {
			break
		}
		day := e.Time.UTC().Format("Monday, 2 January 2006")
		if n := len(p.Days); n == 0 || p.Days[n-1].Day != day {
			p.Days = append(p.Days, pageDay{Day: day})
		}
		p.Days[len(p.Days)-1].Events = append(p.Days[len(p.Days)-1].Events, e)
	}
}
