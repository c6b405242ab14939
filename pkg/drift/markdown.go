package drift

import (
	"fmt"
	"io"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Markdown prints a report as a comment of a pull request or a message of a chat, in at most limit bytes (0: no limit;
// GitHub takes 65,536). It counts the findings that do not fit.
func Markdown(w io.Writer, report Report, limit int) error {
	head := markdownHead(report)
	for _, t := range report.Targets {
		if t.Error != "" {
			head += fmt.Sprintf("\n⚠ %s could not be compared: %s\n", escape(t.Pipeline+"@"+t.Environment), code(Value(t.Error)))
		}
	}
	var blocks []string
	var target string
	for _, f := range report.Findings {
		block := ""
		if t := f.Pipeline + "@" + f.Environment; t != target {
			target = t
			block = "\n### " + escape(t) + "\n\n"
		}
		blocks = append(blocks, block+f.markdown(report))
	}
	findings := len(blocks)
	title := "\n### Environments that differ, and git does not say so\n\n"
	for _, s := range report.Skew {
		if s.Declared || s.Expected {
			continue
		}
		blocks = append(blocks, title+s.markdown())
		title = ""
	}
	differences := len(blocks)
	blocks = append(blocks, markdownUnpinned(report.Targets)...)
	_, err := io.WriteString(w, fit(head, blocks, findings, differences, limit))
	return err
}

// fit puts as many blocks behind a head as a limit allows, and writes how many it left out.
// The first blocks are findings, then differences between environments up to differences, then values that look like
// images and are not pinned.
func fit(head string, blocks []string, findings, differences, limit int) string {
	whole := head + strings.Join(blocks, "")
	if limit <= 0 || len(whole) <= limit {
		return whole
	}
	for kept := len(blocks) - 1; kept >= 0; kept-- {
		var more []string
		if n := findings - min(kept, findings); n > 0 {
			more = append(more, counted(n, "more finding"))
		}
		if n := differences - min(max(kept, findings), differences); n > 0 {
			more = append(more, counted(n, "more difference")+" between environments")
		}
		if n := len(blocks) - max(kept, differences); n > 0 {
			more = append(more, counted(n, "more value")+" that may be an image")
		}
		text := head + strings.Join(blocks[:kept], "") + "\n… and " + strings.Join(more, " and ") + "\n"
		if len(text) <= limit {
			return text
		}
	}
	short := fmt.Sprintf("drift: %s\n", counted(findings, "finding"))
	return short[:min(len(short), limit)]
}

func markdownHead(report Report) string {
	counts := map[Severity]int{}
	for _, f := range report.Findings {
		counts[f.Severity]++
	}
	var parts []string
	for _, severity := range []Severity{Critical, Warning, Info} {
		if n := counts[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d %s", badge[severity], n, severity))
		}
	}
	if n := report.unknown(); n > 0 {
		parts = append(parts, counted(n, "target")+" could not be compared")
	}
	switch {
	case len(report.Findings) > 0:
		return fmt.Sprintf("## Drift: %s\n\n%s\n", counted(len(report.Findings), "finding"), strings.Join(parts, " · "))
	case len(parts) > 0:
		return fmt.Sprintf("## Drift: not known everywhere\n\n%s\n", strings.Join(parts, " · "))
	}
	return "## No drift\n\nThe clusters are as the commits last applied say.\n"
}

// badge distinguishes severities at a glance; the word stands beside it.
var badge = map[Severity]string{Critical: "🔴", Warning: "🟡", Info: "🔵"}

func (f Finding) markdown(report Report) string {
	var out strings.Builder
	fmt.Fprintf(&out, "- %s **%s** %s of %s", badge[f.Severity], f.Kind, code(f.Path), code(f.Object.String()))
	if f.Path == "" {
		out.Reset()
		fmt.Fprintf(&out, "- %s **%s** %s", badge[f.Severity], f.Kind, code(f.Object.String()))
	}
	if f.Desired != nil || f.Live != nil {
		fmt.Fprintf(&out, ": git %s, live %s", codeOrNothing(f.Desired), codeOrNothing(f.Live))
	}
	if f.Desired == nil && f.Live == nil {
		fmt.Fprintf(&out, ": %s", escape(f.Message))
	}
	if f.Manager != "" || f.User != "" {
		fmt.Fprintf(&out, "; by %s", escape(f.author(report.GeneratedAt)))
	}
	if f.File != "" {
		fmt.Fprintf(&out, "; at %s", code(fmt.Sprintf("%s:%d", f.File, f.Line)))
	}
	out.WriteString("\n")
	return out.String()
}

func (s Skew) markdown() string {
	at := code(s.Path) + " of "
	if s.Path == "" {
		at = ""
	}
	values := make([]string, len(s.Environments))
	for i, environment := range s.Environments {
		values[i] = fmt.Sprintf("%s %s", escape(environment), codeOrNothing(s.Values[environment]))
	}
	return fmt.Sprintf("- %s: %s%s: %s\n", escape(s.Pipeline), at, code(s.Object.String()), strings.Join(values, ", "))
}

func codeOrNothing(value any) string {
	if value == nil {
		return "not there"
	}
	return code(Value(value))
}

// code is a text between as many backticks as it takes (CommonMark 0.31, section 6.1): nothing in it is markup, a link or
// a mention.
func code(text string) string {
	text = strings.Map(func(r rune) rune {
		if manifest.Unsafe(r) {
			return ' '
		}
		return r
	}, text)
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") || strings.TrimSpace(text) == "" {
		text = " " + text + " "
	}
	return fence + text + fence
}

// escape turns markup and mentions of users into plain text.
func escape(text string) string {
	// A bare address would be a link all the same.
	text = strings.NewReplacer("://", ":\u200b//", "www.", "www\u200b.").Replace(text)
	var out strings.Builder
	for _, r := range text {
		switch {
		case manifest.Unsafe(r):
			out.WriteByte(' ')
		case r == '@':
			out.WriteString("@\u200b") // a space of no width
		case strings.ContainsRune("\\`*_{}[]<>()#+!|~&", r):
			out.WriteString("\\" + string(r))
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
