// The files that these tests read are outside of their module, where go's test cache does not look: run them with
// -count=1.
package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

var (
	monitoring = filepath.Join("..", "..", "config", "monitoring")
	operations = filepath.Join("..", "..", "docs", "operations.md")
	// metricsPage lists the metrics that syncer has. It is generated from the code.
	metricsPage = filepath.Join("..", "..", "docs", "reference", "metrics.md")

	promQL = parser.NewParser(parser.Options{})
)

// loadRules reads the rules like Prometheus, from the output of the operator.
func loadRules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(monitoring, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var resource struct{ Spec json.RawMessage }
	if err := yaml.Unmarshal(data, &resource); err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(resource.Spec, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	byName := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if _, twice := byName[rule.Alert]; twice || rule.Alert == "" {
				t.Fatalf("group %s: alert %q is there twice or has no name", group.Name, rule.Alert)
			}
			byName[rule.Alert] = rule
		}
	}
	if len(byName) == 0 {
		t.Fatal("there is no alert")
	}
	return byName
}

// firing evaluates a rule each minute and returns the alerts that fire at the given minute.
func firing(t *testing.T, rule rulefmt.Rule, series string, minute int) []*rules.Alert {
	t.Helper()
	expr, err := promQL.ParseExpr(rule.Expr)
	if err != nil {
		t.Fatal(err)
	}
	// The series end at the first line that is not indented, or empty.
	store := promqltest.LoadedStorage(t, "load 1m\n  "+strings.TrimSpace(series))
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	alert := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), 0, labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations),
		labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	for at := range minute + 1 {
		if _, err := alert.Eval(t.Context(), 0, time.Unix(int64(at*60), 0), rules.EngineQueryFunc(engine, store), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	return slices.DeleteFunc(alert.ActiveAlerts(), func(a *rules.Alert) bool { return a.State != rules.StateFiring })
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	all := loadRules(t)
	tested := map[string]bool{}
	for _, c := range []struct {
		alert, name string
		series      string // one sample a minute
		minute      int
		fires       string // the summary; "": nothing fires
	}{
		{"SyncerSyncStale", "the last sync is long ago", `syncer_last_sync_timestamp_seconds{environment="prod"} 0x60`, 30, "Nothing has been synced to prod for 30m 0s."},
		{"SyncerSyncStale", "a replica that does not lead has an old value", `
			syncer_last_sync_timestamp_seconds{environment="prod",pod="a"} 0+60x60
			syncer_last_sync_timestamp_seconds{environment="prod",pod="b"} 0x60`, 60, ""},
		{"SyncerSyncStale", "it was stale and is not any more", `syncer_last_sync_timestamp_seconds{environment="prod"} 0x30 1860+60x20`, 40, ""},
		{"SyncerSyncStale", "one environment of two", `
			syncer_last_sync_timestamp_seconds{environment="prod"} 0x60
			syncer_last_sync_timestamp_seconds{environment="dev"} 0+60x60`, 60, "Nothing has been synced to prod for 1h 0m 0s."},

		{"SyncerTargetFailed", "a target has failed for long", `syncer_targets{environment="prod",state="Failed"} 2x60`, 31, "2 pipelines of prod have failed for half an hour."},
		{"SyncerTargetFailed", "not for long yet", `syncer_targets{environment="prod",state="Failed"} 0x20 2x40`, 45, ""},
		{"SyncerTargetFailed", "targets are ready", `syncer_targets{environment="prod",state="Ready"} 2x60`, 60, ""},
		{"SyncerTargetFailed", "each failure is mended within minutes", `syncer_targets{environment="prod",state="Failed"} 1x20 0x5 1x20 0x5`, 45, ""},

		{"SyncerTargetPanicked", "the first panic, which begins the series", `syncer_target_panics_total{pipeline="a",environment="prod"} _x10 1x60`, 15, "syncer panicked at a in prod."},
		{"SyncerTargetPanicked", "one more after a day", `syncer_target_panics_total{pipeline="a",environment="prod"} 1x1440 2x60`, 1450, "syncer panicked at a in prod."},
		{"SyncerTargetPanicked", "the work on a commit", `syncer_target_panics_total{pipeline="",environment=""} _x10 1x60`, 15, "syncer panicked at the work on a commit."},
		{"SyncerTargetPanicked", "it was long ago", `syncer_target_panics_total{pipeline="a",environment="prod"} 1x200`, 120, ""},

		{"SyncerChangeHeld", "a change has waited for a day and an hour", `syncer_held_changes{environment="prod"} 1x1600`, 1500, "Changes of prod have waited for more than a day."},
		{"SyncerChangeHeld", "the job ended in the night", `syncer_held_changes{environment="prod"} 1x800 0x10 1x800`, 1500, ""},

		{"SyncerCriticalDrift", "critical drift of two kinds, seen by two replicas", `
			syncer_drift_findings{pipeline="a",environment="prod",kind="Modified",severity="critical",pod="x"} 2x60
			syncer_drift_findings{pipeline="a",environment="prod",kind="Modified",severity="critical",pod="y"} 2x60
			syncer_drift_findings{pipeline="a",environment="prod",kind="Missing",severity="critical",pod="x"} 1x60`, 16, "a in prod differs from git in 3 critical findings."},
		{"SyncerCriticalDrift", "drift that is not critical", `syncer_drift_findings{pipeline="a",environment="prod",kind="Modified",severity="warning"} 2x60`, 60, ""},
		{"SyncerCriticalDrift", "a deployment by hand that is put right at once", `syncer_drift_findings{pipeline="a",environment="prod",kind="Modified",severity="critical"} 2x10 0x50`, 30, ""},

		{"SyncerDriftMissed", "a comparison found what no watch said", `syncer_drift_missed_total 0x10 1x60`, 20, "A full comparison found drift that the watches had not noticed."},
		{"SyncerDriftMissed", "it was long ago", `syncer_drift_missed_total 1x200`, 120, ""},

		{"SyncerNoLeader", "no replica leads", `
			syncer_leader{lease="syncer",pod="a"} 1x10 0x50
			syncer_leader{lease="syncer",pod="b"} 0x60`, 20, "No replica of syncer leads, so nobody does the work."},
		{"SyncerNoLeader", "nothing is scraped", `up{job="other"} 1x60`, 20, "No replica of syncer leads, so nobody does the work."},
		{"SyncerNoLeader", "the lease changes hands", `
			syncer_leader{lease="syncer",pod="a"} 1x10 0x50
			syncer_leader{lease="syncer",pod="b"} 0x12 1x48`, 30, ""},
		{"SyncerNoLeader", "one syncer of two has no leader", `
			syncer_leader{namespace="a",lease="syncer"} 1x60
			syncer_leader{namespace="b",lease="syncer"} 0x60`, 20, "No replica of syncer leads, so nobody does the work."},

		{"SyncerQueueNotDraining", "it is never empty", `syncer_queue_depth 3x90`, 40, "The queue has not been empty for half an hour."},
		{"SyncerQueueNotDraining", "it is full and empty in turn", `syncer_queue_depth 300x9 0 300x9 0 300x9 0 300x9 0 300x9 0 300x9 0`, 55, ""},

		{"SyncerGitErrors", "most looks fail", `
			syncer_git_requests_total{outcome="changed"} 0+1x60
			syncer_git_requests_total{outcome="failed"} 0+3x60`, 30, "75% of the looks at the repository fail."},
		{"SyncerGitErrors", "one in ten fails", `
			syncer_git_requests_total{outcome="unchanged"} 0+9x60
			syncer_git_requests_total{outcome="failed"} 0+1x60`, 60, ""},
		{"SyncerGitErrors", "nothing changes", `syncer_git_requests_total{outcome="unchanged"} 0+1x60`, 60, ""},
		{"SyncerGitErrors", "nothing is asked", `syncer_git_requests_total{outcome="failed"} 5x60`, 60, ""},

		{"SyncerRegistryErrors", "one registry of two refuses, after it asked for credentials", `
			syncer_registry_requests_total{host="a.example.com",outcome="challenged"} 0+1x60
			syncer_registry_requests_total{host="a.example.com",outcome="denied"} 0+1x60
			syncer_registry_requests_total{host="b.example.com",outcome="ok"} 0+9x60`, 30, "100% of the requests to the registry a.example.com fail."},
		{"SyncerRegistryErrors", "every look-up begins with a challenge", `
			syncer_registry_requests_total{host="a.example.com",outcome="challenged"} 0+2x60
			syncer_registry_requests_total{host="a.example.com",outcome="notFound"} 0+1x60
			syncer_registry_requests_total{host="a.example.com",outcome="ok"} 0+1x60`, 60, ""},
		{"SyncerRegistryErrors", "it failed for a moment", `
			syncer_registry_requests_total{host="a.example.com",outcome="failed"} 0+1x4 4x60
			syncer_registry_requests_total{host="a.example.com",outcome="ok"} 0x4 0+1x60`, 30, ""},
	} {
		t.Run(c.alert+"/"+c.name, func(t *testing.T) {
			rule, ok := all[c.alert]
			if !ok {
				t.Fatal("there is no such alert")
			}
			fired := firing(t, rule, c.series, c.minute)
			switch {
			case c.fires == "" && len(fired) > 0:
				t.Errorf("it fires: %s", fired[0].Annotations)
			case c.fires != "" && len(fired) != 1:
				t.Errorf("%d alerts fire, want one", len(fired))
			case c.fires != "" && fired[0].Annotations.Get("summary") != c.fires:
				t.Errorf("summary %q, want %q", fired[0].Annotations.Get("summary"), c.fires)
			}
		})
		if c.fires == "" {
			tested[c.alert+" is silent"] = true
		} else {
			tested[c.alert+" fires"] = true
		}
	}
	for name := range all {
		for _, what := range []string{" fires", " is silent"} {
			if !tested[name+what] {
				t.Errorf("no case shows when %s%s", name, what)
			}
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	const page = "https://github.com/syncerdev/syncer/blob/main/docs/operations.md#"
	runbook, err := os.ReadFile(operations)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for name, rule := range loadRules(t) {
		if rule.For == 0 {
			t.Errorf("%s: it fires at the first sample", name)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
			t.Errorf("%s: severity %q", name, rule.Labels["severity"])
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s: it has no summary or no description", name)
		}
		if rule.Annotations["runbook_url"] != page+strings.ToLower(name) {
			t.Errorf("%s: runbook_url %q does not lead to its section", name, rule.Annotations["runbook_url"])
		}
		if runbook != nil && !regexp.MustCompile(`(?m)^#+ +`+name+`$`).Match(runbook) {
			t.Errorf("%s has no heading %s", operations, name)
		}
	}
}

var metricName = regexp.MustCompile(`\bsyncer_[a-z_]+\b`)

// metrics returns the names of syncer's metrics. A histogram has several.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range metricName.FindAllString(string(text), -1) {
		names[name] = true
		if strings.HasSuffix(name, "_seconds") {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[name+part] = true
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("no metric is listed")
	}
	return names
}

// check returns the fault of a query.
func check(query string, known map[string]bool) error {
	expr, err := promQL.ParseExpr(query)
	if err != nil {
		return err
	}
	var errs []error
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok && !known[selector.Name] {
			errs = append(errs, fmt.Errorf("syncer has no metric %q", selector.Name))
		}
		return nil
	})
	return errors.Join(errs...)
}

func TestQueriesNameMetricsThatSyncerHas(t *testing.T) {
	known := metrics(t)
	for name, rule := range loadRules(t) {
		if err := check(rule.Expr, known); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for title, queries := range dashboardQueries(t) {
		for _, query := range queries {
			if err := check(query, known); err != nil {
				t.Errorf("panel %q: %v in %s", title, err, query)
			}
		}
	}
	for _, wrong := range []string{"syncer_unheard_of", "sum by (", `rate(syncer_unheard_of_bucket[5m])`} {
		if check(wrong, known) == nil {
			t.Errorf("%s passes", wrong)
		}
	}
}

// dashboardQueries lists the queries of each panel, with Grafana's variables filled in.
func dashboardQueries(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(monitoring, "dashboards", "syncer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*", "$environment", ".*")
	queries := map[string][]string{}
	for _, panel := range dashboard.Panels {
		if panel.Type == "row" {
			continue
		}
		if len(panel.Targets) == 0 || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("panel %q has no query, or does not fit", panel.Title)
		}
		for _, target := range panel.Targets {
			query := variables.Replace(target.Expr)
			if strings.Contains(query, "$") {
				t.Errorf("panel %q: unknown variable in %s", panel.Title, query)
			}
			queries[panel.Title] = append(queries[panel.Title], query)
		}
	}
	if len(queries) == 0 {
		t.Fatal("the dashboard has no panel")
	}
	return queries
}
