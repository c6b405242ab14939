package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/internal/lab"
)

// hundred writes a repository of a hundred pipelines in three environments.
func hundred(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hundred")
	}
	write := func(file, text string) {
		path := ts.MkAbs(filepath.Join("repo", file))
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
	write("shared/labels/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {team: data}}]\n")
	for i := range 100 {
		at := fmt.Sprintf("pipelines/p%02d/", i)
		write(at+"base/kustomization.yaml", "resources: [settings.yaml]\ncomponents: [../../../shared/labels]\n")
		write(at+"base/settings.yaml", fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p%02d}\ndata: {days: \"7\"}\n", i))
		for _, environment := range []string{"dev", "staging", "prod"} {
			write(at+"overlays/"+environment+"/kustomization.yaml", fmt.Sprintf("namespace: %s-%s\nresources: [../../base]\n", ts.Getenv("NS"), environment))
		}
	}
}

// costs FILE1 FILE2 METRIC{LABEL=VALUE}=N... compares two answers of /metrics: a counter has grown by N, and by nothing where
// it is not there.
func costs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: costs BEFORE AFTER METRIC{LABEL=VALUE}=N...")
	}
	before, after := scraped(ts, args[0]), scraped(ts, args[1])
	for _, arg := range args[2:] {
		i := strings.LastIndex(arg, "=")
		metric, want := arg[:i], arg[i+1:]
		if got := fmt.Sprint(after[metric] - before[metric]); got != want {
			ts.Fatalf("%s has grown by %s, want %s", metric, got, want)
		}
	}
}

// scraped reads what /metrics said: by name and labels, with NAME_count for a histogram, and NAME alone for the sum over
// all labels.
func scraped(ts *testscript.TestScript, file string) map[string]float64 {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(ts.ReadFile(file)))
	ts.Check(err)
	out := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			value, name := valueOf(m, name)
			out[name] += value
			for _, l := range m.GetLabel() {
				out[fmt.Sprintf("%s{%s=%s}", name, l.GetName(), l.GetValue())] += value
			}
		}
	}
	return out
}

func valueOf(m *dto.Metric, name string) (float64, string) {
	switch {
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount()), prometheus.BuildFQName("", name, "count")
	case m.Counter != nil:
		return m.Counter.GetValue(), name
	}
	return m.GetGauge().GetValue(), name
}

// asked FROM VERB=N... counts what syncer asked of the API server in the script's namespaces since the event number FROM,
// which `asked` alone prints. It is the API server's own log that counts.
func (p *parts) asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: asked [FROM VERB=N...]")
	}
	if len(args) == 0 {
		ts.Check(os.WriteFile(ts.MkAbs("asked.txt"), fmt.Append(nil, len(p.audited(ts))), 0o644))
		return
	}
	var from int
	_, err := fmt.Sscan(ts.ReadFile(args[0]), &from)
	ts.Check(err)
	counts := map[string]int{}
	for _, e := range p.audited(ts)[from:] {
		ours := strings.HasPrefix(e.UserAgent, "syncer/") && (strings.HasPrefix(e.Object.Namespace, ts.Getenv("NS")+"-") || e.Object.Namespace == "")
		if !ours || e.Object.Resource == "leases" || e.Verb == "watch" {
			continue
		}
		kind := e.Object.Resource
		if e.Object.Subresource != "" {
			kind += "/" + e.Object.Subresource
		}
		if strings.Contains(e.RequestURI, "dryRun") {
			kind += "(dry run)"
		}
		counts[e.Verb+":"+kind]++
	}
	for _, arg := range args[1:] {
		what, want, _ := strings.Cut(arg, "=")
		if got := fmt.Sprint(counts[what]); got != want {
			ts.Fatalf("%s: %s, want %s; all: %v", what, got, want, counts)
		}
	}
	ts.Logf("the API server was asked %v", counts)
}

// audited returns what the API server has logged. It logs a request after it has answered it, so a last one marks where the
// log has come to.
func (p *parts) audited(ts *testscript.TestScript) (events []lab.AuditEvent) {
	mark := "mark-" + rand.Text()
	config := p.plane.Config()
	config.UserAgent = mark
	cluster, err := dynamic.NewForConfig(config)
	ts.Check(err)
	_, err = cluster.Resource(resource("", "v1", "namespaces")).Get(context.Background(), "default", metav1.GetOptions{})
	ts.Check(err)
	until(ts, "the audit log does not come to its newest request", func() bool {
		events, err = lab.ReadAudit(p.audit)
		ts.Check(err)
		return slices.ContainsFunc(events, func(e lab.AuditEvent) bool { return e.UserAgent == mark })
	})
	return events
}
