package drift

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestYAMLIsTheJSONDocument(t *testing.T) {
	var out bytes.Buffer
	if err := YAML(&out, sample()); err != nil {
		t.Fatal(err)
	}
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal(out.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &fromJSON); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Error(diff)
	}
}

func TestMarkdownNeverPassesItsLimit(t *testing.T) {
	report := sample()
	var whole bytes.Buffer
	if err := Markdown(&whole, report, 0); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"## Drift: 6 findings", "🔴 2 critical", "### orders-daily@\u200bprod", "kubectl-edit \\(Update\\)", "### Environments that differ, and git does not say so"} {
		if !strings.Contains(whole.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, whole.String())
		}
	}
	if strings.Contains(whole.String(), "spec.concurrencyPolicy") {
		t.Error("it lists what the overlays declare")
	}
	for limit := whole.Len(); limit > 0; limit -= 7 {
		var out bytes.Buffer
		if err := Markdown(&out, report, limit); err != nil {
			t.Fatal(err)
		}
		if out.Len() > limit || !utf8.Valid(out.Bytes()) {
			t.Fatalf("%d bytes with a limit of %d", out.Len(), limit)
		}
		if limit < whole.Len() && limit > 450 && !strings.Contains(out.String(), " more ") {
			t.Fatalf("with a limit of %d it does not say that there is more:\n%s", limit, out.String())
		}
	}
	var out bytes.Buffer
	if err := Markdown(&out, report, 900); err != nil {
		t.Fatal(err)
	}
	shown := strings.Count(out.String(), "\n- ")
	if want := fmt.Sprintf("… and %d more findings and 1 more difference between environments", 6-shown); shown == 0 || !strings.Contains(out.String(), want) {
		t.Errorf("%d are shown, and it does not say %q:\n%s", shown, want, out.String())
	}
}

// A report that could not compare a target does not say that there is no drift.
func TestWhatIsNotKnownIsNotCalledClean(t *testing.T) {
	report := Report{GeneratedAt: now, Targets: []Target{{Pipeline: "a", Environment: "prod", Error: "no route"}}}
	for name, print := range map[string]func(*bytes.Buffer) error{
		"text":     func(out *bytes.Buffer) error { return Text(out, report, Style{}) },
		"markdown": func(out *bytes.Buffer) error { return Markdown(out, report, 0) },
		"html":     func(out *bytes.Buffer) error { return HTML(out, report) },
		"junit":    func(out *bytes.Buffer) error { return JUnit(out, report) },
	} {
		var out bytes.Buffer
		if err := print(&out); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "are as the commits") || strings.Contains(text, "cluster is as the commits") || !strings.Contains(text, "compared") && !strings.Contains(text, "no route") {
			t.Errorf("%s says: %s", name, text)
		}
	}
}

func TestEveryFormTakesEveryCharacter(t *testing.T) {
	report := sample()
	report.Findings[0].Live, report.Findings[0].Manager = "a\ufffeb\uffffc\x00", "www.example.com https://example.com"
	for name, print := range map[string]func(*bytes.Buffer) error{
		"yaml": func(out *bytes.Buffer) error { return YAML(out, report) },
		"xml":  func(out *bytes.Buffer) error { return JUnit(out, report) },
	} {
		if err := print(&bytes.Buffer{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var out bytes.Buffer
	if err := Markdown(&out, report, 0); err != nil || strings.Contains(out.String(), "by www.example") || strings.Contains(out.String(), " https://") {
		t.Errorf("an address is a link (%v): %s", err, out.String())
	}
}

func TestMarkdownIsNoMarkup(t *testing.T) {
	report := Report{GeneratedAt: now, Findings: []Finding{{
		Pipeline: "a|b", Environment: "<img>", Kind: Modified, Severity: Warning, Object: manifest.ID{Kind: "K", Name: "`x`"}, Path: "a`b``c",
		Desired: "@team [link](http://x)", Live: "line\nline", Manager: "@everyone <b>", Operation: "Update", Message: "m",
	}}}
	var out bytes.Buffer
	if err := Markdown(&out, report, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"### a\\|b@\u200b\\<img\\>", "```a`b``c```", "`@team [link](http://x)`", "@\u200beveryone \\<b\\>", "K/`x`"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not hold %q:\n%s", want, out.String())
		}
	}
}

func TestJUnit(t *testing.T) {
	report := sample()
	report.Findings[0].Message = "a \x00\x1b[31m message \ufffe"
	var out bytes.Buffer
	if err := JUnit(&out, report); err != nil {
		t.Fatal(err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(out.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Tests != 22 || suites.Failures != 6 || suites.Errors != 1 || suites.Skipped != 1 || len(suites.Suites) != len(report.Targets) {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped in %d suites", suites.Tests, suites.Failures, suites.Errors, suites.Skipped, len(suites.Suites))
	}
	at := slices.IndexFunc(suites.Suites, func(s junitSuite) bool { return s.Name == "orders-daily@prod" })
	if got := suites.Suites[at].Cases[2].Failure; got == nil || got.Type != "Modified" || !strings.Contains(got.Text, "live: 0 3 * * *") {
		t.Errorf("got %+v", got)
	}
}

func TestSARIF(t *testing.T) {
	var out bytes.Buffer
	if err := SARIF(&out, sample()); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	rules := map[string]bool{}
	for _, rule := range run.Tool.Driver.Rules {
		rules[rule.ID] = rule.Text.Text != "" && rule.Help.Text != ""
	}
	prints := map[string]bool{}
	for _, result := range run.Results {
		print := result.Fingerprints["finding/v1"]
		if !rules[result.Rule] || !slices.Contains([]string{"error", "warning", "note"}, result.Level) || print == "" || prints[print] || len(result.Locations) != 1 {
			t.Errorf("got %+v", result)
		}
		prints[print] = true
	}
	last := run.Results[2].Locations[0].Physical
	if log.Version != "2.1.0" || len(run.Results) != 6 || last == nil || last.Artifact.URI != "pipelines/orders-daily/overlays/prod/kustomization.yaml" || last.Region.Line != 9 {
		t.Errorf("got %+v", last)
	}
	for _, kind := range []Kind{Modified, Added, Missing, Orphaned, NotRerun, Held, TagMoved, ImageMissing} {
		if !rules[string(kind)] {
			t.Errorf("there is no rule for %s", kind)
		}
	}
}

func TestTextIsAsWideAsTheTerminal(t *testing.T) {
	report := sample()
	report.Findings[0].Live = "\x1b[31m\u202eevil" + strings.Repeat("w", 300)
	report.Findings[1].Desired = strings.Repeat("宽", 100)
	for _, style := range []Style{{Width: 40}, {Width: 60, Explain: true}, {Width: 80, Color: true, Explain: true}, {Width: 200}} {
		var out bytes.Buffer
		if err := Text(&out, report, style); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		for _, code := range []string{red, yellow, blue, bold, faint, plain} {
			text = strings.ReplaceAll(text, code, "")
		}
		if style.Color == (text == out.String()) {
			t.Errorf("%+v: colours are there: %t", style, text != out.String())
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && manifest.Unsafe(r) }) {
			t.Errorf("%+v: a control character is printed:\n%q", style, text)
		}
		for line := range strings.Lines(text) {
			if n := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); n > style.Width {
				t.Errorf("%d columns of %d: %s", n, style.Width, line)
			}
		}
	}
	var out bytes.Buffer
	if err := Text(&out, report, Style{Explain: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"6 findings in 3 targets: 2 critical, 3 warning, 1 info; 1 target could not be compared\n", "   4  HorizontalPodAutoscaler: an autoscaler set the number of replicas\n",
		"  corrected  orders-daily@prod  CronJob/data-prod/orders-daily  spec.jobTemplate.spec.backoffLimit\n", "of grace@example.com, 40m ago\n",
		"at    pipelines/orders-daily/base/cronjob.yaml:14\n", "environments differ, and git does not say so\n", "1 expected difference between environments\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

func TestWithinLeavesOutWhatIsOlder(t *testing.T) {
	report := sample().Within(time.Hour)
	if len(report.Findings) != 3 || len(report.Past) != 0 { // two of them, and one of unknown age
		t.Errorf("%d findings, %d past", len(report.Findings), len(report.Past))
	}
	if day := sample().Within(24 * time.Hour); len(day.Findings) != 5 || len(day.Past) != 1 {
		t.Errorf("%d findings, %d past", len(day.Findings), len(day.Past))
	}
}

func TestFails(t *testing.T) {
	of := func(f ...Finding) Report { return Report{Findings: f} }
	for name, c := range map[string]struct {
		report Report
		at     Severity
		want   bool
	}{
		"nothing":                 {of(), Info, false},
		"a warning, any counts":   {of(Finding{Kind: Modified, Severity: Warning}), Info, true},
		"a warning, critical":     {of(Finding{Kind: Modified, Severity: Warning}), Critical, false},
		"critical":                {of(Finding{Kind: Missing, Severity: Critical}), Critical, true},
		"what waits never counts": {of(Finding{Kind: Held, Severity: Info}), Info, false},
		"declared skew":           {Report{Skew: []Skew{{Declared: true}}}, Info, false},
		"unexplained skew":        {Report{Skew: []Skew{{}}}, Warning, true},
		"expected skew":           {Report{Skew: []Skew{{Expected: true}}}, Info, false},
		"skew is a warning":       {Report{Skew: []Skew{{}}}, Critical, false},
	} {
		if got := c.report.Fails(c.at); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// BenchmarkReport measures the forms of a report of a thousand findings.
func BenchmarkReport(b *testing.B) {
	report := Report{Source: Source{URL: "https://git.example.com/data"}, Skew: []Skew{}, Past: []Past{}, Quiet: []Quiet{}}
	for i := range 1000 {
		pipeline := fmt.Sprintf("pipeline-%d", i/4)
		report.Findings = append(report.Findings, Finding{
			Pipeline: pipeline, Environment: "prod", Kind: Modified, Severity: Warning, Path: fmt.Sprintf("data.key-%d", i), Live: "by hand", Desired: "1",
			Object: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: pipeline}, Manager: "kubectl-edit", Message: "kubectl-edit changed it",
		})
		if i%4 == 0 {
			report.Targets = append(report.Targets, Target{Pipeline: pipeline, Environment: "prod"})
		}
	}
	report.Finish()
	for name, print := range map[string]func() error{
		"text":     func() error { return Text(io.Discard, report, Style{}) },
		"markdown": func() error { return Markdown(io.Discard, report, 0) },
		"html":     func() error { return HTML(io.Discard, report) },
		"sarif":    func() error { return SARIF(io.Discard, report) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := print(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
