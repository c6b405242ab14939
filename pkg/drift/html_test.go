package drift

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab/browser"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// commits are some that a team made.
var commits = []Deployment{
	{Commit: "9b1f2c3d4e5f60718293a4b5c6d7e8f901234567", Author: "Ada Data", Subject: "Read orders in smaller batches"},
	{Commit: "3fd0a1b25c6d7e8f9a0b1c2d3e4f5061728394a5", Author: "Grace Stream", Subject: "Revert \"Use Spark 4\""},
	{Commit: "c41d77e09f8e7d6c5b4a39281706f5e4d3c2b1a0", Author: "Alan Batch", Subject: "Keep raw events for ninety days, as the data office asked in its review of January"},
	{Commit: "0a5be8f36d2c1b0a9f8e7d6c5b4a392817065f4e", Author: "Katherine Orbit", Subject: "Raise the memory of executors"},
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// sample is a report of a platform with six pipelines on a bad morning.
func sample() Report {
	ago := func(d time.Duration) *time.Time {
		at := now.Add(-d)
		return &at
	}
	report := Report{
		GeneratedAt: now, Source: Source{URL: "https://git.example.com/data/pipelines.git", Branch: "main", Commit: "9b1f2c3d4e5f60718293a4b5c6d7e8f901234567"},
		Findings: []Finding{}, Skew: []Skew{}, Past: []Past{}, Quiet: []Quiet{},
	}
	for i, pipeline := range []string{"airflow-config", "clickstream-ingest", "feature-store", "orders-daily", "session-enrichment", "warehouse-export"} {
		for n, environment := range []string{"dev", "staging", "prod"} {
			digest := digestOf(pipeline)
			if pipeline == "orders-daily" && environment == "prod" {
				digest = digestOf("other bytes")
			}
			runs := commits[(i+n)%len(commits)]
			at := time.Duration(i*5+n*3+1) * time.Hour
			target := Target{
				Pipeline: pipeline, Environment: environment, State: Ready, Commit: runs.Commit, Author: runs.Author, Subject: runs.Subject, Behind: n * (i % 3),
				DeployedAt: ago(at), Images: []Image{{Reference: "registry.example.com/data/" + pipeline + ":v1.4.2", Digest: digest}}, Deployments: []Deployment{},
			}
			runs.Number, runs.Time, runs.Outcome = 3, *ago(at), "Applied"
			if i == 1 {
				runs.RollbackOf = 1
			}
			before := commits[(i+n+1)%len(commits)]
			before.Number, before.Time, before.Outcome = 2, *ago(at + time.Duration(40+i)*time.Hour), "Applied"
			target.Deployments = append(target.Deployments, runs, before)
			switch {
			case pipeline == "session-enrichment" && environment == "prod":
				target.State, target.Message = Waiting, "the change of SparkApplication/data-prod/session-enrichment waits: the application is RUNNING"
			case pipeline == "feature-store" && environment == "staging":
				target.State, target.Message = Failed, "Deployment/data-staging/feature-store: container web: CrashLoopBackOff"
			case pipeline == "warehouse-export" && environment == "dev":
				target.State, target.Behind, target.Error = Unknown, -1, "listing the CronJob objects of warehouse-export@dev: the server is currently unable to handle the request"
			case pipeline == "airflow-config" && environment == "dev":
				target.State, target.Message = Progressing, "StatefulSet/data-dev/airflow: 1 of 3 pods ready"
			case pipeline == "clickstream-ingest" && environment == "staging":
				target.Images = append(target.Images, Image{Reference: target.Images[0].Reference, Digest: digestOf("a second container")})
			case pipeline == "feature-store" && environment == "dev":
				target.State, target.Message, target.Commit, target.DeployedAt, target.Behind = Waiting, "the newest commit waits for approval", "", nil, -1
				target.Images, target.Deployments = []Image{}, []Deployment{}
			}
			report.Targets = append(report.Targets, target)
		}
	}
	spark := manifest.ID{APIVersion: "sparkoperator.k8s.io/v1beta2", Kind: "SparkApplication", Namespace: "data-prod", Name: "session-enrichment"}
	cron := manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "orders-daily"}
	report.Findings = append(report.Findings,
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Modified, Severity: Critical, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].image", Desired: "registry.example.com/data/orders-daily:v1.4.2@sha256:0dbcaab889b5736560478a21e691f551d332457b40947c848611bdd66cb2b2ba", Live: "registry.example.com/data/orders-daily:hotfix", Manager: "kubectl-set", Operation: "Update", User: "grace@example.com", Time: ago(40 * time.Minute), File: "pipelines/orders-daily/base/cronjob.yaml", Line: 14, Message: "kubectl-set changed spec.jobTemplate.spec.template.spec.containers[name=orders-daily].image of CronJob/data-prod/orders-daily; commit the change or run `syncer sync --correct`"},
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Added, Severity: Warning, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].env[name=DEBUG]", Live: map[string]any{"name": "DEBUG", "value": "1"}, Manager: "kubectl-edit", Operation: "Update", Time: ago(38 * time.Minute), Message: "kubectl-edit added spec.jobTemplate.spec.template.spec.containers[name=orders-daily].env[name=DEBUG] to CronJob/data-prod/orders-daily; git does not have it: commit it, remove it there, or let an ignore rule name it"},
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Modified, Severity: Warning, Object: cron, Path: "spec.schedule", Desired: "*/15 * * * *", Live: "0 3 * * *", Manager: "kubectl-patch", Operation: "Update", Time: ago(3 * time.Hour), File: "pipelines/orders-daily/overlays/prod/kustomization.yaml", Line: 9, Message: "kubectl-patch changed spec.schedule of CronJob/data-prod/orders-daily; commit the change or run `syncer sync --correct`"},
		Finding{Pipeline: "orders-daily", Environment: "staging", Kind: Missing, Severity: Critical, Object: manifest.ID{APIVersion: "v1", Kind: "ServiceAccount", Namespace: "data-staging", Name: "orders"}, FirstSeen: ago(9 * time.Hour), Message: "ServiceAccount/data-staging/orders is in git and not in the cluster; `syncer sync --correct` creates it again"},
		Finding{Pipeline: "session-enrichment", Environment: "prod", Kind: Held, Severity: Info, Object: spark, Message: "SparkApplication/data-prod/session-enrichment waits for its change: the application is RUNNING"},
		Finding{Pipeline: "session-enrichment", Environment: "prod", Kind: TagMoved, Severity: Warning, Object: spark, Path: "spec.image", Desired: "sha256:0dbcaab889b5736560478a21e691f551d332457b40947c848611bdd66cb2b2ba", Live: "sha256:8687f5405a2b573c0372db1bc8128922a22983b613a2bf361e7285fe64a2abb5", FirstSeen: ago(26 * time.Hour), Message: "the tag of registry.example.com/data/session-enrichment:v1.4.2 moved; SparkApplication/data-prod/session-enrichment keeps the digest that it was deployed by (refresh the pin in pipeline.yaml to deploy what the tag is now)"},
	)
	report.Skew = append(report.Skew,
		Skew{Pipeline: "orders-daily", Environments: []string{"staging", "prod"}, Object: cron, Path: "spec.suspend", Values: map[string]any{"staging": nil, "prod": true}, Message: "m"},
		Skew{Pipeline: "orders-daily", Environments: []string{"staging", "prod"}, Object: cron, Path: "spec.concurrencyPolicy", Values: map[string]any{"staging": "Allow", "prod": "Forbid"}, Declared: true, Message: "m"},
		Skew{Pipeline: "orders-daily", Environments: []string{"staging", "prod"}, Object: cron, Path: "spec.jobTemplate.spec.parallelism", Values: map[string]any{"staging": 1, "prod": 8}, Declared: true, Expected: true, Message: "m"})
	past := report.Findings[2]
	past.Path, past.User = "spec.jobTemplate.spec.backoffLimit", "alan@example.com"
	report.Past = append(report.Past, Past{Finding: past, EndedAt: now.Add(-5 * time.Hour), Ending: Corrected}, Past{Finding: past, EndedAt: now.Add(-50 * time.Hour), Ending: Gone})
	report.Quiet = append(report.Quiet, Quiet{Rule: "HorizontalPodAutoscaler", Reason: "an autoscaler set the number of replicas", Count: 4})
	report.Finish()
	return report
}

func TestPageInABrowser(t *testing.T) {
	chromium, err := browser.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromium.Stop(); err != nil {
			t.Errorf("stopping the browser: %v", err)
		}
	})
	empty := Report{GeneratedAt: now, Source: Source{Commit: "c0ffee00"}}
	calm := sample()
	for i := range calm.Targets {
		calm.Targets[i].Error = ""
	}
	calm.Findings, calm.Skew, calm.Past, calm.Quiet = nil, nil, nil, nil
	for i := range calm.Targets {
		calm.Targets[i].State, calm.Targets[i].Message, calm.Targets[i].Error = Ready, "", ""
	}
	blind := sample()
	blind.Findings = nil
	hostile := sample()
	fill(reflect.ValueOf(&hostile).Elem(), hostileText)
	folder := t.TempDir()
	if keep := os.Getenv("SYNCER_SCREENSHOTS"); keep != "" {
		folder = keep
	}
	for name, c := range map[string]struct {
		report Report
		says   []string
	}{
		"full": {sample(), []string{
			"Drift: 6 findings", "kubectl-edit (Update), 38m ago", "of grace@example.com", "one tag, different bytes", "2 at once", "rolled back to 1",
			"could not be compared", "pipelines/orders-daily/base/cronjob.yaml:14", "the change of SparkApplication/data-prod/session-enrichment waits: the…",
			"the application is RUNNING", "Keep raw events for ninety days, as the…", "Keep raw events for ninety days, as the data office asked in its review of January by Alan Batch",
			"up to date", "4 commits behind", "commit the change or run syncer sync --correct", "refresh the pin in pipeline.yaml",
		}},
		"calm":    {calm, []string{"No drift", "The clusters are as the commits last applied say."}},
		"blind":   {blind, []string{"No drift found, 1 target not compared", "None where the clusters could be compared."}},
		"empty":   {empty, []string{"Nothing is deployed yet"}},
		"many":    {many(500), []string{"Drift: 500 findings", "2 critical", "spec.template.spec.containers[name=web].image"}},
		"hostile": {hostile, []string{"<script>alert(1)</script>"}},
	} {
		var out bytes.Buffer
		if err := HTML(&out, c.report); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, name+".html")
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		address, err := browser.FileURL(file)
		if err != nil {
			t.Fatal(err)
		}
		for look, view := range map[string]browser.View{
			"phone":        {Width: 360, Height: 800},
			"phone-dark":   {Width: 360, Height: 800, Dark: true, NoScript: true},
			"desktop":      {Width: 1280, Height: 900, NoScript: true},
			"desktop-dark": {Width: 1280, Height: 900, Dark: true},
		} {
			t.Run(name+"/"+look, func(t *testing.T) {
				t.Parallel()
				seen, err := chromium.Look(address, view)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, name+"-"+look+".png"), seen.Screenshot, 0o644); err != nil {
					t.Fatal(err)
				}
				if len(seen.Requests) > 0 || len(seen.Complaints) > 0 || seen.TooWide {
					t.Errorf("requests %v, complaints %v, too wide: %t", seen.Requests, seen.Complaints, seen.TooWide)
				}
				picture, err := png.DecodeConfig(bytes.NewReader(seen.Screenshot))
				if err != nil {
					t.Fatal(err)
				}
				// Folding keeps the page of 500 findings as long as the one of six.
				if name == "many" && picture.Height > 20_000 {
					t.Errorf("the page is %d pixels long", picture.Height)
				}
				for _, barrier := range seen.Barriers {
					t.Error(barrier)
				}
				for _, text := range c.says {
					if !strings.Contains(seen.Text, text) {
						t.Errorf("it does not say %q:\n%s", text, seen.Text)
					}
				}
			})
		}
	}
}

// many is a report of so many findings that nobody reads them all: two of them critical, in the first of 25 targets.
func many(findings int) Report {
	report := Report{GeneratedAt: now, Source: Source{Commit: "c0ffee00"}}
	for i := range 25 {
		report.Targets = append(report.Targets, Target{
			Pipeline: fmt.Sprintf("pipeline-%02d", i), Environment: "prod", State: Ready, Commit: commits[0].Commit, Behind: -1,
		})
	}
	for i := range findings {
		f := Finding{
			Pipeline: report.Targets[i%25].Pipeline, Environment: "prod", Kind: Modified, Severity: Warning, Desired: 3, Live: 1, Path: "spec.replicas",
			Object: manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data", Name: fmt.Sprintf("web-%03d", i)}, Message: "kubectl changed what git sets; commit the change or run `syncer sync --correct`",
		}
		if i%25 == 0 && i < 50 {
			f.Severity, f.Path = Critical, "spec.template.spec.containers[name=web].image"
		}
		report.Findings = append(report.Findings, f)
	}
	report.Finish()
	return report
}

func pageOf(t *testing.T, report Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, report); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPageFoldsWhatNobodyTakesIn(t *testing.T) {
	start := time.Now()
	text := pageOf(t, many(500))
	if took := time.Since(start); took > time.Minute { // some milliseconds, and much room for a busy machine
		t.Errorf("500 findings took %s", took)
	}
	if folded, open := strings.Count(text, "<details><summary>20 findings"), strings.Count(text, "<details open><summary>20 findings"); folded != 24 || open != 1 {
		t.Errorf("%d targets are folded and %d are open", folded, open)
	}
	if text = pageOf(t, many(unfolded)); strings.Contains(text, "<details") {
		t.Error("few findings are folded")
	}
}

func TestPageTellsZeroFromUnknown(t *testing.T) {
	for behind, want := range map[int]string{-1: "", 0: "up to date", 1: "1 commit behind", 2: "2 commits behind"} {
		text := pageOf(t, Report{GeneratedAt: now, Targets: []Target{{Pipeline: "a", Environment: "dev", State: Ready, Commit: "c0ffee00", Behind: behind}}})
		for _, phrase := range []string{"up to date", "1 commit behind", "2 commits behind", "-1"} {
			// Once in the matrix, and once where the target is described.
			if n := strings.Count(text, phrase); (n == 2) != (phrase == want) && n != 0 || phrase == want && n != 2 {
				t.Errorf("behind %d: %q is there %d times", behind, phrase, n)
			}
		}
	}
}

func TestPageLinksErrorsAndDatesAges(t *testing.T) {
	text := pageOf(t, sample())
	const id = "target-warehouse-export_at_dev"
	for _, want := range []string{
		`<section class="card error" id="` + id + `"`, `href="#` + id + `" aria-label="could not be compared, warehouse-export@dev"`,
		`<time datetime="2026-03-03T11:22:00Z" title="3 March 2026, 11:22 UTC">38m ago</time>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not have %s", want)
		}
	}
	if all, dated := strings.Count(text, " ago"), strings.Count(text, " ago</time>"); all != dated {
		t.Errorf("%d of %d ages have a date", dated, all)
	}
}

func TestPageShowsEachDigestOfAReference(t *testing.T) {
	one, other := Image{Reference: "r:v1", Digest: digestOf("one")}, Image{Reference: "r:v1", Digest: digestOf("other")}
	p := newPage(Report{Targets: []Target{
		{Pipeline: "a", Environment: "dev", Images: []Image{one, other, one}},
		{Pipeline: "b", Environment: "dev", Images: []Image{one}},
		{Pipeline: "b", Environment: "prod", Images: []Image{{Reference: "r:v1"}}},
	}})
	want := []pageImage{{Reference: "r:v1", Differs: true, Cells: [][]pageDigest{
		{{one.Digest, []string{"a", "b"}}, {other.Digest, []string{"a"}}}, {{"", []string{"b"}}},
	}}}
	if diff := cmp.Diff(want, p.Images); diff != "" {
		t.Error(diff)
	}
}

func TestAnchorsAreOnePerName(t *testing.T) {
	names := []string{"orders", "Ördërs", "a b", "a_b", "a@b", "a/b", "_at_", "a_at_b", "", "a", "b", "_20_", "a%20b", "\"><", "日本"}
	from := map[string]string{}
	for _, pipeline := range names {
		for _, environment := range names {
			id, name := anchor(pipeline, environment), fmt.Sprintf("%q@%q", pipeline, environment)
			if strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" {
				t.Errorf("%s: %s", name, id)
			}
			if from[id] != "" {
				t.Errorf("%s and %s both have the id %s", from[id], name, id)
			}
			from[id] = name
		}
	}
}

func TestAdviceSaysWhatTheRestDoesNot(t *testing.T) {
	id := manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data", Name: "orders"}
	change := manifest.Change{ID: id, Live: &unstructured.Unstructured{Object: map[string]any{}}}
	for name, c := range map[string]struct {
		finding Finding
		want    string
	}{
		"changed":         {modified(Finding{Object: id}, change, manifest.FieldChange{Path: "spec.suspend", From: true, To: false}, "syncer"), "commit the change or run `syncer sync --correct`"},
		"gone":            {modified(Finding{Object: id}, change, manifest.FieldChange{Path: "spec.suspend", To: false}, "syncer"), ""},
		"set":             {modified(Finding{Object: id}, change, manifest.FieldChange{Path: "spec.suspend", From: false}, "syncer"), ""},
		"of another form": {Finding{Object: id, Path: "spec.image", Message: "the tag moved; refresh it"}, "the tag moved; refresh it"},
		"odd path":        {Finding{Object: id, Path: "data.a; b", Message: "x changed data.a; b of CronJob/data/orders; revert"}, "x changed data.a; b of CronJob/data/orders; revert"},
		"none":            {Finding{Object: id, Path: "spec"}, ""},
	} {
		if got := advice(c.finding); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

const hostileText = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> javascript:alert(3) {{.}} </style></details><!-- & ` + "`\u202egnp.exe"

// fill sets every string that a value holds: those of maps and of fields of any type too.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Interface:
		v.Set(reflect.ValueOf(any([]any{text, map[string]any{text: text}})))
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, text)
		v.SetMapIndex(reflect.ValueOf(text).Convert(v.Type().Key()), value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	}
}

// tell gives a filled report the names back by which a page sorts targets and findings, so that each of its parts is there.
func tell(report Report) {
	was := sample()
	for i := range report.Targets {
		t := &report.Targets[i]
		t.State, t.Error = was.Targets[i].State, ""
		t.Pipeline += was.Targets[i].Pipeline
		t.Environment += was.Targets[i].Environment
	}
	for i := range report.Findings {
		f := &report.Findings[i]
		f.Severity = was.Findings[i].Severity
		f.Pipeline += was.Findings[i].Pipeline
		f.Environment += was.Findings[i].Environment
	}
}

// shape is what a browser makes of a page beside its text: elements, and the names of their attributes.
func shape(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	decoder := xml.NewDecoder(strings.NewReader(page))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			text := token.Name.Local
			for _, attribute := range token.Attr {
				text += " " + attribute.Name.Local
				if attribute.Name.Local == "href" && !strings.HasPrefix(attribute.Value, "#target-") && attribute.Value != "data:," {
					t.Errorf("a link leads to %s", attribute.Value)
				}
			}
			out = append(out, text)
		case xml.Comment, xml.ProcInst:
			t.Errorf("the page holds %T", token)
		}
	}
}

// What comes from a repository or a cluster is text, whatever it is and wherever it stands: a page of hostile strings is
// built as one of harmless ones.
func TestPageEscapes(t *testing.T) {
	harmless := strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>\"'{}&!/=\u202e", r) {
			return 'x'
		}
		return r
	}, hostileText)
	pages := map[string]string{}
	for _, telling := range []bool{false, true} {
		for _, text := range []string{hostileText, harmless} {
			report := sample()
			fill(reflect.ValueOf(&report).Elem(), text)
			if telling {
				tell(report)
			}
			pages[text] = pageOf(t, report)
		}
		if diff := cmp.Diff(shape(t, pages[harmless]), shape(t, pages[hostileText])); diff != "" {
			t.Errorf("it is built in another way (- harmless, + hostile):\n%s", diff)
		}
	}
	if !strings.Contains(pages[hostileText], "&lt;script&gt;") {
		t.Error("the text is not shown")
	}
	if strings.ContainsRune(pages[hostileText], '\u202e') {
		t.Error("a mark that turns the direction of text is in the page")
	}
}

// A cut goes between characters.
func TestPageCutsCharacters(t *testing.T) {
	const wide = "日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語"
	report := sample()
	fill(reflect.ValueOf(&report).Elem(), wide)
	if text := pageOf(t, report); !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		t.Error("a character is broken")
	}
}
