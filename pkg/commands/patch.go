package commands

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Patch is the change as a mail that `git am` makes a commit of.
func (r Refresh) Patch(author string, now time.Time) string {
	var out, body strings.Builder
	fmt.Fprintf(&out, "From %s Mon Sep 17 00:00:00 2001\n", strings.Repeat("0", 40)) // the magic date of git format-patch
	fmt.Fprintf(&out, "From: %s\nDate: %s\nSubject: [PATCH] %s\n", author, now.Format(time.RFC1123Z), r.Subject)
	before, after := lines(r.Before), lines(r.After)
	fmt.Fprintf(&body, "---\ndiff --git a/%s b/%s\n", r.File, r.File)
	if len(before) == 0 {
		fmt.Fprintf(&body, "new file mode 100644\n--- /dev/null\n+++ b/%s\n", r.File)
	} else {
		fmt.Fprintf(&body, "--- a/%s\n+++ b/%s\n", r.File, r.File)
	}
	hunk(&body, before, after)
	body.WriteString("-- \nsyncer\n")
	if strings.Contains(body.String(), "\r") {
		out.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable\n\n")
		out.WriteString(quotedPrintable(body.String()))
		return out.String()
	}
	return out.String() + "\n" + body.String()
}

// quotedPrintable writes carriage returns so that `git am` keeps them: it takes those of a plain mail for the mail's.
func quotedPrintable(text string) string {
	var out strings.Builder
	for i := range len(text) {
		if b := text[i]; b == '\n' || b >= ' ' && b < 0x7f && b != '=' {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "=%02X", b)
		}
	}
	return out.String()
}

// lines cuts a text after each line break.
func lines(text string) []string {
	return slices.Collect(strings.Lines(text))
}

// contextLines is how many unchanged lines a hunk shows on both sides, as diff -u does.
const contextLines = 3

// hunk writes the lines that differ as one hunk.
func hunk(out *strings.Builder, before, after []string) {
	head := 0
	for head < len(before) && head < len(after) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < len(before)-head && tail < len(after)-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	from := max(0, head-contextLines)
	end := min(tail, contextLines)
	removed, added := before[head:len(before)-tail], after[head:len(after)-tail]
	start := from + 1
	if len(before) == 0 {
		start = 0
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", start, head-from+len(removed)+end, from+1, head-from+len(added)+end)
	write := func(prefix string, lines []string) {
		for _, line := range lines {
			out.WriteString(prefix + line)
			if !strings.HasSuffix(line, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	write(" ", before[from:head])
	write("-", removed)
	write("+", added)
	write(" ", before[len(before)-tail:len(before)-tail+end])
}
