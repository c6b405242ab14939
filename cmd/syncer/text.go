package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

// text writes lines without characters that a terminal would act on. It keeps the first error, so that a report reads as
// a list of lines.
type text struct {
	w   io.Writer
	err error
}

func (t *text) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, manifest.Visible(strings.TrimRight(fmt.Sprintf(format, args...), " ")))
	}
}

// value prints one side of a difference, and nothing where this side does not exist.
func (t *text) value(prefix string, value any) {
	if value != nil {
		t.line("%s%s", prefix, drift.Value(value))
	}
}

// held prints the reason why a change waits.
func (t *text) held(change reconcile.Change) {
	if change.Held != nil {
		t.line("                   %s waits: %s", strings.ToLower(string(change.Held.Action)), change.Held.Message)
	}
}

// taken prints the managers from which a change takes fields.
func (t *text) taken(change reconcile.Change) {
	for _, taken := range change.Taken {
		t.line("                   takes %s from %s", taken.Path, taken.Manager)
	}
}

// warnings prints the values that arrive in another form than in git.
func (t *text) warnings(target reconcile.Result) {
	for _, warning := range target.Warnings {
		t.line("           warning: %s", warning)
	}
}

// problem prints the error of a target, and the contact that its pipeline.yaml names.
func (t *text) problem(target reconcile.Result) {
	for _, line := range strings.Split(target.Error, "\n") {
		if line != "" {
			t.line("           ! %s", line)
		}
	}
	if target.Error != "" && target.Owner != "" {
		t.line("           owner: %s", target.Owner)
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printJSON(w io.Writer, value any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	// JSON may hold 8-bit controls and marks that change the direction of text; escaped they are the same value.
	_, err := io.WriteString(w, drift.VisibleLines(out.String()))
	return err
}
