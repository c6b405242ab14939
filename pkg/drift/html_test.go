package drift

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/browser"
	"github.com/syncerdev/syncer/pkg/manifest"
)

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
			digest := fmt.Sprintf("sha256:%064d", i*7)
			if pipeline == "orders-daily" && environment == "prod" {
				digest = fmt.Sprintf("sha256:%064d", 99)
			}
			target := Target{
				Pipeline: pipeline, Environment: environment, State: Ready, Commit: fmt.Sprintf("%08x", 0x9b1f2c3d-n*4711) + strings.Repeat("0", 32), Behind: n * (i % 3),
				DeployedAt: ago(time.Duration(i*5+n*3+1) * time.Hour),
				Images:     []Image{{Reference: "registry.example.com/data/" + pipeline + ":v1.4.2", Digest: digest}},
				Deployments: []Deployment{
					{Number: 3, Commit: "9b1f2c3d", Author: "Ada Data", Subject: "Read orders in smaller batches", Time: *ago(time.Duration(i*5+n*3+1) * time.Hour), Outcome: "Applied"},
					{Number: 2, Commit: "77aa0001", Author: "Grace Stream", Subject: "Revert \"Use Spark 4\"", Time: *ago(time.Duration(40+i) * time.Hour), Outcome: "Applied", RollbackOf: 1},
				},
			}
			switch {
			case pipeline == "session-enrichment" && environment == "prod":
				target.State, target.Message = Waiting, "the change of SparkApplication/data-prod/session-enrichment waits: the application is RUNNING"
			case pipeline == "feature-store" && environment == "staging":
				target.State, target.Message = Failed, "Deployment/data-staging/feature-store: container web: CrashLoopBackOff"
			case pipeline == "warehouse-export" && environment == "dev":
				target.State, target.Error = Unknown, "listing the CronJob objects of warehouse-export@dev: the server is currently unable to handle the request"
			case pipeline == "airflow-config" && environment == "dev":
				target.State = Progressing
			}
			report.Targets = append(report.Targets, target)
		}
	}
	spark := manifest.ID{APIVersion: "sparkoperator.k8s.io/v1beta2", Kind: "SparkApplication", Namespace: "data-prod", Name: "session-enrichment"}
	cron := manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "orders-daily"}
	report.Findings = append(report.Findings,
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Modified, Severity: Critical, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].image", Desired: "registry.example.com/data/orders-daily:v1.4.2@sha256:0dbcaab889b5736560478a21e691f551d332457b40947c848611bdd66cb2b2ba", Live: "registry.example.com/data/orders-daily:hotfix", Manager: "kubectl-set", Operation: "Update", User: "grace@example.com", Time: ago(40 * time.Minute), File: "pipelines/orders-daily/base/cronjob.yaml", Line: 14, Message: "m"},
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Added, Severity: Warning, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].env[name=DEBUG]", Live: map[string]any{"name": "DEBUG", "value": "1"}, Manager: "kubectl-edit", Operation: "Update", Time: ago(38 * time.Minute), Message: "m"},
		Finding{Pipeline: "orders-daily", Environment: "prod", Kind: Modified, Severity: Warning, Object: cron, Path: "spec.schedule", Desired: "*/15 * * * *", Live: "0 3 * * *", Manager: "kubectl-patch", Operation: "Update", Time: ago(3 * time.Hour), File: "pipelines/orders-daily/overlays/prod/kustomization.yaml", Line: 9, Message: "m"},
		Finding{Pipeline: "orders-daily", Environment: "staging", Kind: Missing, Severity: Critical, Object: manifest.ID{APIVersion: "v1", Kind: "ServiceAccount", Namespace: "data-staging", Name: "orders"}, FirstSeen: ago(9 * time.Hour), Message: "ServiceAccount/data-staging/orders is in git and not in the cluster; `syncer sync --correct` creates it again"},
		Finding{Pipeline: "session-enrichment", Environment: "prod", Kind: Held, Severity: Info, Object: spark, Message: "SparkApplication/data-prod/session-enrichment waits for its change: the application is RUNNING"},
		Finding{Pipeline: "session-enrichment", Environment: "prod", Kind: TagMoved, Severity: Warning, Object: spark, Path: "spec.image", Desired: "sha256:0dbcaab889b5736560478a21e691f551d332457b40947c848611bdd66cb2b2ba", Live: "sha256:8687f5405a2b573c0372db1bc8128922a22983b613a2bf361e7285fe64a2abb5", FirstSeen: ago(26 * time.Hour), Message: "m"},
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
	calm.Findings, calm.Skew, calm.Past, calm.Quiet = nil, nil, nil, nil
	folder := t.TempDir()
	if keep := os.Getenv("SYNCER_SCREENSHOTS"); keep != "" {
		folder = keep
	}
	for name, c := range map[string]struct {
		report Report
		says   []string
	}{
		"full":  {sample(), []string{"Drift: 6 findings", "kubectl-edit (Update), 38m ago", "of grace@example.com", "one tag, different bytes", "rolled back to 1", "could not be compared", "pipelines/orders-daily/base/cronjob.yaml:14"}},
		"calm":  {calm, []string{"No drift", "The clusters are as the commits last applied say."}},
		"empty": {empty, []string{"Nothing is deployed yet"}},
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

// What comes from a repository or a cluster is text, whatever it is.
func TestPageEscapes(t *testing.T) {
	const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> javascript:alert(3) {{.}}`
	report := sample()
	for i := range report.Findings {
		f := &report.Findings[i]
		f.Path, f.Manager, f.User, f.Message, f.File, f.Desired, f.Live = hostile, hostile, hostile, hostile, hostile, hostile, []any{hostile}
		f.Object.Name, f.Pipeline, f.Environment = hostile, hostile, hostile
	}
	for i := range report.Targets {
		target := &report.Targets[i]
		target.Pipeline, target.Environment, target.Commit, target.Message, target.Error = hostile, hostile, hostile, hostile, hostile
		target.Images[0].Reference, target.Deployments[0].Subject = hostile, hostile
	}
	report.Skew[0].Values["prod"], report.Quiet[0].Rule, report.Source.URL = hostile, hostile, hostile
	var out bytes.Buffer
	if err := HTML(&out, report); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "onerror=alert(2)>", `href="javascript`} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if !strings.Contains(out.String(), "&lt;script&gt;") {
		t.Error("the text is not shown")
	}
}
