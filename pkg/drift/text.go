package drift

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Style is the form of a report for people.
type Style struct {
	Width   int  // columns to wrap at; 0: not at all, as for a file
	Color   bool // ANSI colours; they repeat a word
	Explain bool // name the rules that kept differences out
}

// Text prints a report for people: findings grouped by target and object, past findings, and the differences between
// environments. Control characters in a cluster's values do not reach the terminal.
func Text(w io.Writer, report Report, style Style) error {
	p := printer{style: style, now: report.GeneratedAt}
	p.findings(report.Findings)
	p.past(report.Past)
	p.skew(report.Skew)
	p.unpinned(report.Targets)
	if style.Explain {
		p.quiet(report.Quiet)
	}
	p.total(report)
	_, err := io.WriteString(w, p.out.String())
	return err
}

type printer struct {
	style Style
	now   time.Time
	out   strings.Builder
}

const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	plain  = "\x1b[0m"
)

func (p *printer) colored(color, text string) string {
	if !p.style.Color {
		return text
	}
	return color + text + plain
}

func (p *printer) severity(s Severity, width int) string {
	color := map[Severity]string{Critical: red, Warning: yellow, Info: blue}[s]
	return p.colored(color, fmt.Sprintf("%-*s", width, s))
}

// line prints a text behind a prefix. A text that does not fit continues below its beginning, at column.
func (p *printer) line(prefix string, column int, text string) {
	p.out.WriteString(p.wrapped(prefix, column, text))
}

func (p *printer) wrapped(prefix string, column int, text string) string {
	var out strings.Builder
	text = manifest.Visible(text)
	fits := max(p.style.Width-column, 8) // a narrower terminal wraps by itself
	for first := true; first || text != ""; first = false {
		part := text
		if p.style.Width > 0 && uniseg.StringWidth(text) > fits {
			part = beginning(text, fits)
		}
		text = strings.TrimPrefix(text[len(part):], " ")
		if !first {
			prefix = strings.Repeat(" ", column)
		}
		out.WriteString(strings.TrimRight(prefix+part, " ") + "\n")
	}
	return out.String()
}

// beginning is as much of a text as fits into a width, up to a space where there is one. A wide character takes two
// columns.
func beginning(text string, fits int) string {
	width, end, space := 0, 0, 0
	for characters := uniseg.NewGraphemes(text); characters.Next(); {
		if width += characters.Width(); width > fits && end > 0 {
			break
		}
		if characters.Str() == " " {
			space = end
		}
		_, end = characters.Positions()
	}
	if space > 0 && end < len(text) && text[end] != ' ' {
		return text[:space]
	}
	return text[:end]
}

func (p *printer) title(text string) {
	p.out.WriteString(p.colored(bold, strings.TrimSuffix(p.wrapped("", 0, text), "\n")) + "\n")
}

func (p *printer) findings(findings []Finding) {
	var target string
	var object manifest.ID
	for _, f := range findings {
		if t := f.Pipeline + "@" + f.Environment; t != target {
			target, object = t, manifest.ID{}
			p.title(target)
		}
		if f.Object != object {
			object = f.Object
			p.line("  ", 2, object.String())
		}
		p.finding(f)
	}
}

// The columns of a finding: where its severity stands, its subject, its labels and its values.
const (
	atSubject = 14
	atLabel   = 14
	atValue   = 20
)

func (p *printer) finding(f Finding) {
	subject, whole := f.Path, f.Path == ""
	switch f.Kind {
	case Modified:
		if whole {
			subject = fmt.Sprintf("%s  %s", f.Kind, f.Message)
		}
	case Missing:
		subject = "Missing  not in the cluster"
	case NotRerun, Held, Orphaned, NotCompared:
		subject = fmt.Sprintf("%s  %s", f.Kind, f.Message)
	default:
		subject = fmt.Sprintf("%s  %s", f.Kind, f.Path)
	}
	p.line("    "+p.severity(f.Severity, 8)+"  ", atSubject, subject)
	switch {
	case f.Kind == Added, f.Kind == Modified && !whole:
		p.field("git", orNothing(f.Desired))
		p.field("live", orNothing(f.Live))
	case f.Kind == TagMoved:
		p.field("runs", orNothing(f.Desired))
		p.field("tag", orNothing(f.Live))
	case f.Kind == ImageMissing:
		p.field("runs", orNothing(f.Desired))
	}
	if f.Manager != "" || f.User != "" {
		p.field("by", f.author(p.now))
	} else if since := f.Since(); since != nil && f.Kind != Held {
		p.field("seen", age(p.now, *since))
	}
	if f.File != "" {
		p.field("at", fmt.Sprintf("%s:%d", f.File, f.Line))
	}
}

func (p *printer) field(label, value string) {
	p.line(strings.Repeat(" ", atLabel)+p.colored(faint, fmt.Sprintf("%-4s", label))+"  ", atValue, value)
}

// past prints the findings that are no more.
func (p *printer) past(past []Past) {
	if len(past) == 0 {
		return
	}
	p.title("no longer there")
	for _, f := range past {
		what := f.Path
		if what == "" {
			what = string(f.Kind)
		}
		text := fmt.Sprintf("%s@%s  %s  %s", f.Pipeline, f.Environment, f.Object, what)
		p.line("  "+fmt.Sprintf("%-9s", strings.ToLower(string(f.Ending)))+"  ", 13, text)
		if f.Manager != "" || f.User != "" {
			p.field("by", f.author(p.now))
		}
		p.field("end", age(p.now, f.EndedAt))
	}
}

// skew prints the differences between environments: first the undeclared ones, then the number of the expected ones.
func (p *printer) skew(skew []Skew) {
	for _, declared := range []bool{false, true} {
		var pipeline string
		expected := 0
		for _, s := range skew {
			if s.Declared != declared {
				continue
			}
			if s.Expected {
				expected++
				continue
			}
			if pipeline == "" {
				title := "environments differ, and git does not say so"
				if declared {
					title = "environments differ as their overlays say"
				}
				p.title(title)
			}
			if s.Pipeline != pipeline {
				pipeline = s.Pipeline
				p.line("  ", 2, pipeline)
			}
			at := s.Path
			if at == "" {
				at = "(the whole object)"
			}
			p.line("    ", 6, fmt.Sprintf("%s  %s", s.Object, at))
			for _, environment := range s.Environments {
				p.line(strings.Repeat(" ", 14)+p.colored(faint, manifest.Visible(fmt.Sprintf("%-8s", environment)))+"  ", 24, orNothing(s.Values[environment]))
			}
		}
		if expected > 0 {
			p.line("", 0, fmt.Sprintf("%s between environments", counted(expected, "expected difference")))
		}
	}
}

// quiet names the rules that kept differences out.
func (p *printer) quiet(quiet []Quiet) {
	p.title("left out, because somebody decides it by design")
	if len(quiet) == 0 {
		p.line("  ", 2, "nothing")
	}
	for _, q := range quiet {
		p.line(fmt.Sprintf("  %4d  ", q.Count), 8, fmt.Sprintf("%s: %s", q.Rule, q.Reason))
	}
}

// total sums up the report in one line.
func (p *printer) total(report Report) {
	targets, counts := map[string]bool{}, map[Severity]int{}
	for _, f := range report.Findings {
		targets[f.Pipeline+"@"+f.Environment] = true
		counts[f.Severity]++
	}
	unknown := ""
	if n := report.unknown(); n > 0 {
		unknown = "; " + counted(n, "target") + " could not be compared"
	}
	if len(report.Findings) == 0 && unknown != "" {
		p.line("", 0, "no drift is known"+unknown)
		return
	}
	if len(report.Findings) == 0 {
		p.line("", 0, "no drift: the cluster is as the commits last applied say")
		return
	}
	var parts []string
	for _, severity := range []Severity{Critical, Warning, Info} {
		if n := counts[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	p.line("", 0, fmt.Sprintf("%s in %s: %s", counted(len(report.Findings), "finding"), counted(len(targets), "target"), strings.Join(parts, ", ")+unknown))
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// author names the author of a difference and the time.
func (f Finding) author(now time.Time) string {
	if since := f.Since(); since != nil {
		return f.who() + ", " + age(now, *since)
	}
	return f.who()
}

// who names the client that made a difference and, if the audit log has it, the client's user.
func (f Finding) who() string {
	who := fmt.Sprintf("%s (%s)", f.Manager, f.Operation)
	if f.Manager == "" {
		who = "an unknown client"
	}
	if f.Subresource != "" {
		who += " through " + f.Subresource
	}
	if f.User != "" {
		who += " of " + shown(f.User)
	}
	return who
}

func age(now, at time.Time) string {
	return duration.HumanDuration(max(0, now.Sub(at))) + " ago"
}

func orNothing(value any) string {
	if value == nil {
		return "(not there)"
	}
	return Value(value)
}

// longestValue is how many characters of a value a report shows; the whole is in the JSON.
const longestValue = 200

// Value is a value of a field in one line: text as it is, everything else, and text with control characters, as JSON. A
// long one is cut.
func Value(value any) string {
	text := shown(value)
	if runes := []rune(text); len(runes) > longestValue {
		return string(runes[:longestValue]) + "..."
	}
	return text
}

func shown(value any) string {
	text, ok := value.(string)
	if ok && text != "" && !strings.ContainsFunc(text, manifest.Unsafe) {
		return text
	}
	doc, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return manifest.Visible(string(doc))
}
