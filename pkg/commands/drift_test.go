package commands

import (
	"maps"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/target"
)

const nightly = `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "$REGISTRY/ingest:v1"}]}}}}
`

func TestDriftReport(t *testing.T) {
	p := newProject(t, "")
	p.push("ingest:v1")
	p.commit(pipeline("a", plain("a", "1"), nightly), "First")
	p.sync()
	report, err := p.session.Drift(p.Ctx, DriftOptions{})
	if err != nil || len(report.Findings) > 0 || len(report.Targets) != 2 || report.Targets[0].Behind != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	p.edit("dev", "a", `{"data":{"key":"by hand"}}`)
	p.push("ingest:v1") // the tag moves
	p.commit(pipeline("a", plain("a", "2"), nightly), "Second")
	report, err = p.session.Drift(p.Ctx, DriftOptions{Selection: v1alpha1.Selection{Environments: []string{"dev"}}})
	if err != nil {
		t.Fatal(err)
	}
	// It is compared with the commit applied last, and the new one is named.
	if len(report.Findings) != 2 || report.Targets[0].Behind != 1 {
		t.Fatalf("%+v", report)
	}
	for _, f := range report.Findings {
		switch f.Kind {
		case drift.Modified:
			if f.Manager != "kubectl-edit" || f.Desired != "1" || f.File != "pipelines/a/base/all.yaml" {
				t.Errorf("%+v", f)
			}
		case drift.TagMoved:
		default:
			t.Errorf("%+v", f)
		}
	}
}

// A target that cannot be compared is named by the error, and the report has the others.
func TestDriftReportWithoutOneTarget(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")).and(pipeline("b", plain("b", "1"))), "First")
	p.sync("dev")
	p.commit(pipeline("a", plain("a", "1")), "Remove b")
	b := p.Other("b")
	b.Target.Environment = "dev"
	b.EditRecord(`{"status":null}`)
	b.T = t
	record := b.Record()
	record.Status.LastAppliedCommit = strings.Repeat("0", 40)
	if _, err := p.Cluster.Records().SaveStatus(p.Ctx, b.Target, record.Status, ""); err != nil {
		t.Fatal(err)
	}
	report, err := p.session.Drift(p.Ctx, DriftOptions{})
	bench.WantError(t, err, "b@dev: reading the commit last applied")
	if len(report.Targets) != 2 || report.Targets[1].Error == "" || report.Targets[0].Error != "" {
		t.Errorf("%+v", report.Targets)
	}
}

func TestEnvironmentsAreCompared(t *testing.T) {
	p := newProject(t, "compare: {ignore: [{kind: ConfigMap, name: size, paths: [data.key]}]}\n")
	f := pipeline("a", plain("a", "1"), plain("size", "1")).and(pipeline("b", plain("b", "1")))
	f["pipelines/a/overlays/prod/kustomization.yaml"] = "namespace: $NS-prod\nresources: [../../base, more.yaml]\npatches: [{path: patch.yaml}]\n"
	f["pipelines/a/overlays/prod/more.yaml"] = plain("more", "1")
	f["pipelines/a/overlays/prod/patch.yaml"] = plain("size", "9")
	p.commit(f, "First")
	p.sync("dev")
	if _, err := p.session.Sync(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: []string{"prod"}, Pipelines: []string{"a"}}}); err != nil {
		t.Fatal(err)
	}
	p.edit("prod", "a", `{"data":{"key":"by hand"}}`)
	for name, options := range map[string]DriftOptions{"two": {Compare: []string{"dev", "prod"}}, "all": {CompareAll: true}} {
		report, err := p.session.Drift(p.Ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		expected := map[string]bool{}
		for _, s := range report.Skew {
			expected[s.Pipeline+" "+s.Object.Name] = s.Expected
		}
		// A rule expects the size; b was not synced to prod yet.
		if want := (map[string]bool{"a a": false, "a more": false, "a size": true, "b b": true}); !maps.Equal(expected, want) {
			t.Errorf("%s: %+v", name, report.Skew)
		}
	}
}

func TestEnvironmentsToCompare(t *testing.T) {
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "staging"}, {Name: "prod"}}}
	for name, c := range map[string]struct {
		options  DriftOptions
		pairs    []pair
		selected string
		err      string
	}{
		"none":                 {},
		"all":                  {options: DriftOptions{CompareAll: true}, pairs: []pair{{"dev", "staging"}, {"staging", "prod"}}},
		"all that is selected": {options: DriftOptions{CompareAll: true, Selection: v1alpha1.Selection{Environments: []string{"dev", "prod"}}}, pairs: []pair{{"dev", "prod"}}, selected: "dev prod"},
		"two":                  {options: DriftOptions{Compare: []string{"prod", "dev"}}, pairs: []pair{{"prod", "dev"}}, selected: "prod dev"},
		"one":                  {options: DriftOptions{Compare: []string{"prod"}}, err: "two environments are compared"},
		"twice the same":       {options: DriftOptions{Compare: []string{"prod", "prod"}}, err: "two environments are compared"},
		"an unknown one":       {options: DriftOptions{Compare: []string{"prod", "test"}}, err: "test"},
		"one not selected":     {options: DriftOptions{Compare: []string{"prod", "dev"}, Selection: v1alpha1.Selection{Environments: []string{"dev"}}}, err: "environment prod is to be compared and is not selected"},
		"of an unknown one":    {options: DriftOptions{Selection: v1alpha1.Selection{Environments: []string{"test"}}}, err: "test"},
	} {
		pairs, selection, err := pairsOf(config, c.options)
		if c.err != "" {
			bench.WantError(t, err, c.err)
			continue
		}
		if err != nil || len(pairs) != len(c.pairs) || strings.Join(selection.Environments, " ") != c.selected {
			t.Errorf("%s: %v, %v, %v", name, pairs, selection, err)
			continue
		}
		for i := range pairs {
			if pairs[i] != c.pairs[i] {
				t.Errorf("%s: %v", name, pairs)
			}
		}
	}
}

// A pipeline that could not be read in one environment is not compared: its objects are not known.
func TestSkewNeedsBothSides(t *testing.T) {
	of := func(environment string, read bool) comparison {
		c := comparison{target: &target.Desired{Target: v1alpha1.Target{Pipeline: "a", Environment: environment}}}
		if read {
			c.side = drift.Side{Environment: environment, Rendered: (&bench.Bench{T: t}).Set(plain("a", environment))}
		}
		return c
	}
	pairs := []pair{{"dev", "prod"}}
	if got := skewOf([]comparison{of("dev", true), of("prod", false)}, pairs, nil, nil); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	if got := skewOf([]comparison{of("dev", true), of("prod", true)}, pairs, nil, nil); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	inGit := []*target.Pipeline{{Name: "a", Overlays: map[string]string{"prod": "a/prod"}}}
	for _, c := range [][]comparison{{of("dev", true)}, {of("prod", true)}} {
		if got := skewOf(c, pairs, inGit, nil); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	}
	if got := skewOf([]comparison{of("test", true)}, pairs, inGit, nil); len(got) > 0 {
		t.Errorf("neither environment has it: %+v", got)
	}
}

func TestReportIsOrdered(t *testing.T) {
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "staging"}, {Name: "prod"}}}
	targets := []drift.Target{{Pipeline: "b", Environment: "staging"}, {Pipeline: "a", Environment: "prod"}, {Pipeline: "a", Environment: "staging"}}
	orderTargets(targets, config)
	if targets[0].Environment != "staging" || targets[1].Environment != "prod" || targets[2].Pipeline != "b" {
		t.Errorf("%+v", targets)
	}
	quiet := counted([]ignore.Quiet{{Rule: "b", Reason: "y"}, {Rule: "a", Reason: "x"}, {Rule: "b", Reason: "y"}})
	if len(quiet) != 2 || quiet[0].Rule != "a" || quiet[1].Count != 2 || quiet[1].Reason != "y" {
		t.Errorf("%+v", quiet)
	}
}

// edit changes a ConfigMap of an environment as a person with kubectl does.
func (p *project) edit(environment, name, patch string) {
	p.T.Helper()
	in := *p.Bench
	in.Namespace += "-" + environment
	in.Edit(bench.ConfigMaps, name, patch)
}
