package drift

import (
	"bytes"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestUnpinnedIsInEveryForm(t *testing.T) {
	t.Parallel()
	report := Report{Targets: []Target{{Pipeline: "ingest", Environment: "prod", State: Ready, Unpinned: []Unpinned{{
		Object: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: "settings"}, Path: "data.TASK",
		Reference: "registry.example.com/task:v1", Message: "looks like an image, not pinned; to pin it, name it",
	}}}}}
	for form, print := range map[string]func(*bytes.Buffer) error{
		"text":     func(out *bytes.Buffer) error { return Text(out, report, Style{}) },
		"markdown": func(out *bytes.Buffer) error { return Markdown(out, report, 0) },
		"html":     func(out *bytes.Buffer) error { return HTML(out, report) },
	} {
		var out bytes.Buffer
		if err := print(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ooks like an image, not pinned", "@", "prod", "ConfigMap/data/settings", "data.TASK", "registry.example.com/task:v1", "to pin it, name it"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s does not say %q:\n%s", form, want, out.String())
			}
		}
	}
	if report.Fails(Info) {
		t.Error("what looks like an image makes the comparison fail")
	}

	var whole, short bytes.Buffer
	for range 50 {
		report.Targets[0].Unpinned = append(report.Targets[0].Unpinned, report.Targets[0].Unpinned[0])
	}
	if err := Markdown(&whole, report, 0); err != nil {
		t.Fatal(err)
	}
	if err := Markdown(&short, report, 1000); err != nil {
		t.Fatal(err)
	}
	if short.Len() > 1000 || !strings.Contains(short.String(), "more values that may be an image") || whole.Len() <= 1000 {
		t.Errorf("cut to %d bytes:\n%s", short.Len(), short.String())
	}
}
