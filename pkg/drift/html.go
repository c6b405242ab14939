package drift

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
)

//go:embed page/report.html
var pageTemplate string

//go:embed page/parts.html
var pageParts string

//go:embed page/report.css
var pageStyle string

// HTML prints a report as one page that loads nothing, runs no script and can be mailed or kept. Everything that comes
// from a repository or a cluster is escaped.
func HTML(w io.Writer, report Report) error {
	var out bytes.Buffer
	if err := page.Execute(&out, newPage(report)); err != nil {
		return err
	}
	_, err := io.WriteString(w, VisibleLines(out.String()))
	return err
}

var page = template.Must(Parts().New("report").Parse(pageTemplate))

// StyleSheet is the style sheet of the page. Parts need it.
func StyleSheet() string { return pageStyle }

// VisibleLines writes the characters that do something other than to stand there as JSON does, the ends of lines aside.
// HTML's escaping leaves them: an author's name could read as something else with the marks that turn the direction of
// a text.
func VisibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = manifest.Visible(line)
	}
	return strings.Join(lines, "\n")
}

// Parts are the templates by which all pages show findings alike, with their functions: "object" shows a result of
// ByObject, "value" a value, "prose" a result of the function prose, and "ago" a result of aged. They are a copy, to
// which a page adds its own.
func Parts() *template.Template { return template.Must(parts.Clone()) }

var parts = template.Must(template.New("parts").Funcs(template.FuncMap{
	"short":  func(commit string) string { return first(8, commit) },
	"brief":  brief,
	"digest": func(digest string) string { return first(12, strings.TrimPrefix(digest, "sha256:")) },
	"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"when":   func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04") },
	"aged":   func(now, at time.Time) pageAge { return pageAge{at, age(now, at)} },
	"count":  counted,
	"sign":   func(s Severity) string { return signs[s] },
	"class":  func(s State) string { return states[s][0] },
	"mark":   func(s State) string { return states[s][1] },
	"sided":  func(f Finding) bool { return f.Desired != nil || f.Live != nil },
	"left":   func(f Finding) string { return labels(f)[0] },
	"right":  func(f Finding) string { return labels(f)[1] },
	"absent": func(value any) bool { return value == nil },
	"shown":  shown,
	"long":   func(text string) bool { return len([]rune(text)) > longestValue },
	"cut":    func(text string) string { return first(longestValue/2, text) },
	"prose":  prose,
	"known":  func(f Finding) bool { return f.Manager != "" || f.User != "" },
	"who":    Finding.who,
}).Parse(pageParts))

// pageAge is a time in words and in the form for programs.
type pageAge struct {
	Time time.Time
	Ago  string
}

// first is the beginning of a text, in whole characters.
func first(longest int, text string) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), longest)])
}

// brief is the beginning of a sentence, with a mark of the cut.
func brief(longest int, text string) string {
	if cut := first(longest, text); cut != text {
		return strings.TrimRight(first(longest-1, cut), " ,:;") + "…"
	}
	return text
}

// signs distinguish severities without colour.
var signs = map[Severity]string{Critical: "▲", Warning: "◆", Info: "●"}

func labels(f Finding) [2]string {
	switch f.Kind {
	case TagMoved, ImageMissing:
		return [2]string{"runs", "the tag now"}
	}
	return [2]string{"git", "live"}
}

// pageSpan is a part of a sentence.
type pageSpan struct {
	Text string
	Code bool
}

// prose finds the parts of a message in backticks.
func prose(message string) []pageSpan {
	parts := strings.Split(message, "`")
	if len(parts)%2 == 0 { // one backtick is alone
		return []pageSpan{{Text: message}}
	}
	spans := make([]pageSpan, len(parts))
	for i, part := range parts {
		spans[i] = pageSpan{part, i%2 == 1}
	}
	return spans
}

type pageData struct {
	Title        string
	Now          time.Time
	Style        template.CSS
	StyleHash    string
	Report       Report
	Totals       []pageTotal
	Environments []string
	Rows         []pageRow
	// The targets, each in one of the four.
	Errors, NotReady, Differing, Calm []*pageTarget

	Unexplained, Declared, Expected []Skew
	Images                          []pageImage
	Days                            []pageDay
}

type pageTotal struct {
	Severity Severity
	Count    int
}

func newPage(report Report) pageData {
	sum := sha256.Sum256([]byte(pageStyle))
	p := pageData{
		Style: template.CSS(pageStyle), StyleHash: base64.StdEncoding.EncodeToString(sum[:]),
		Now: report.GeneratedAt, Report: report, Totals: totals(report.Findings),
	}
	p.targets()
	p.Title = p.title()
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

// title does not call a cluster clean that was not compared.
func (p *pageData) title() string {
	switch {
	case len(p.Report.Findings) > 0:
		return "Drift: " + counted(len(p.Report.Findings), "finding")
	case len(p.Errors) > 0:
		return fmt.Sprintf("No drift found, %s not compared", counted(len(p.Errors), "target"))
	}
	return "No drift"
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
