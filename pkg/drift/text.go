package drift

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Text prints a report for a person: findings by target and object, each with git's value, the live one, and who made
// the difference.
func Text(w io.Writer, report Report) error {
	var out strings.Builder
	var target string
	var object manifest.ID
	for _, f := range report.Findings {
		if t := f.Pipeline + "@" + f.Environment; t != target {
			target, object = t, manifest.ID{}
			fmt.Fprintf(&out, "%s\n", target)
		}
		if f.Object != object {
			object = f.Object
			fmt.Fprintf(&out, "  %s\n", object)
		}
		f.text(&out, report.GeneratedAt)
	}
	if len(report.Findings) == 0 {
		fmt.Fprintln(&out, "no drift: the cluster is as the commits last applied say")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (f Finding) text(out *strings.Builder, now time.Time) {
	switch f.Kind {
	case Missing:
		fmt.Fprintf(out, "    %-8s  %s  not in the cluster\n", f.Severity, f.Kind)
		return
	case Orphaned:
		fmt.Fprintf(out, "    %-8s  %s  no longer in git\n", f.Severity, f.Kind)
		return
	}
	if f.Kind == NotRerun || f.Kind == Held {
		fmt.Fprintf(out, "    %-8s  %s  %s\n", f.Severity, f.Kind, f.Message)
		return
	}
	if f.Kind == TagMoved || f.Kind == ImageMissing {
		f.imageText(out, now)
		return
	}
	fmt.Fprintf(out, "    %-8s  %s\n", f.Severity, f.Path)
	fmt.Fprintf(out, "              git   %s\n", orNothing(f.Desired))
	fmt.Fprintf(out, "              live  %s\n", orNothing(f.Live))
	if f.Manager != "" {
		fmt.Fprintf(out, "              by    %s\n", f.author(now))
	}
}

// imageText prints what a registry says of a deployed image.
func (f Finding) imageText(out *strings.Builder, now time.Time) {
	fmt.Fprintf(out, "    %-8s  %s  %s\n", f.Severity, f.Kind, f.Path)
	fmt.Fprintf(out, "              runs     %s\n", orNothing(f.Desired))
	if f.Kind == TagMoved {
		fmt.Fprintf(out, "              tag now  %s\n", orNothing(f.Live))
	}
	if f.Time != nil {
		fmt.Fprintf(out, "              seen     %s ago\n", duration.HumanDuration(max(0, now.Sub(*f.Time))))
	}
}

// author names the client that wrote the field: a program, and not the person who ran it.
func (f Finding) author(now time.Time) string {
	who := fmt.Sprintf("%s (%s)", f.Manager, f.Operation)
	if f.Subresource != "" {
		who += " through " + f.Subresource
	}
	if f.Time != nil {
		who += ", " + duration.HumanDuration(max(0, now.Sub(*f.Time))) + " ago"
	}
	return who
}

func orNothing(value any) string {
	if value == nil {
		return "(not there)"
	}
	return Value(value)
}

// longestValue keeps a report readable when a whole list or a file in a ConfigMap differs; -o json has all of it.
const longestValue = 200

// Value prints a field's value on one line.
func Value(value any) string {
	text, ok := value.(string)
	if !ok || strings.ContainsFunc(text, unicode.IsControl) || text == "" {
		doc, err := json.Marshal(value)
		if err != nil {
			return fmt.Sprint(value)
		}
		text = string(doc)
	}
	if runes := []rune(text); len(runes) > longestValue {
		return string(runes[:longestValue]) + "..."
	}
	return text
}
