package daemon

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

func TestDriftMetrics(t *testing.T) {
	m, known := NewMetrics(func() time.Time { return noon }), &states{}
	hour, minute := noon.Add(-time.Hour), noon.Add(-time.Minute)
	prod, dev := v1alpha1.Target{Pipeline: "etl", Environment: "prod"}, v1alpha1.Target{Pipeline: "etl", Environment: "dev"}
	known.measure(prod, measured{state: drift.Ready, findings: []drift.Finding{
		{Kind: drift.Modified, Severity: drift.Warning, Time: &minute, Path: "data.password", Desired: "canary", Live: "canary", Message: "canary"},
		{Kind: drift.Modified, Severity: drift.Warning, FirstSeen: &hour},
		{Kind: drift.Missing, Severity: drift.Critical},
	}})
	known.measure(prod, measured{state: drift.Failed, held: 2, objects: map[string]int{"Healthy": 3, "Missing": 1}}) // says nothing of the findings
	known.measure(dev, measured{state: drift.Ready, findings: []drift.Finding{{Kind: drift.Added, Severity: drift.Info}}})
	known.measure(dev, measured{state: drift.Ready, findings: []drift.Finding{}})
	known.measure(v1alpha1.Target{Pipeline: "gone", Environment: "dev"}, measured{state: drift.Ready})
	known.forget(v1alpha1.Target{Pipeline: "gone", Environment: "dev"})
	m.targets.missed.Add(2)
	m.synced(map[string]bool{"dev": true, "prod": true, "lost": false}, known)
	q := newQueue(oneCluster)
	q.add(prod, time.Now().Add(-time.Second), fieldsChanged)
	q.add(dev, time.Now().Add(time.Hour), slowCheck)
	m.runs(&gauges{queue: q, watching: newWatching(nil), states: known})
	want := `
# HELP syncer_drift_findings Differences between the cluster and the commit last applied.
# TYPE syncer_drift_findings gauge
syncer_drift_findings{environment="prod",kind="Missing",pipeline="etl",severity="critical"} 1
syncer_drift_findings{environment="prod",kind="Modified",pipeline="etl",severity="warning"} 2
# HELP syncer_drift_missed_total Findings that only a full comparison made, and no watch had noticed.
# TYPE syncer_drift_missed_total counter
syncer_drift_missed_total 2
# HELP syncer_drift_oldest_seconds Age of a target's oldest finding of a severity.
# TYPE syncer_drift_oldest_seconds gauge
syncer_drift_oldest_seconds{environment="prod",pipeline="etl",severity="critical"} 0
syncer_drift_oldest_seconds{environment="prod",pipeline="etl",severity="warning"} 3600
# HELP syncer_held_changes Changes that wait, for the end of a run or for something else.
# TYPE syncer_held_changes gauge
syncer_held_changes{environment="dev"} 0
syncer_held_changes{environment="prod"} 2
# HELP syncer_last_sync_timestamp_seconds When it was last seen that every target of an environment had the newest commit carried out without a failure.
# TYPE syncer_last_sync_timestamp_seconds gauge
syncer_last_sync_timestamp_seconds{environment="dev"} ` + strconv.FormatFloat(float64(noon.Unix()), 'e', -1, 64) + `
# HELP syncer_objects Objects by state: Healthy, InProgress, Failed, Missing, or Completed: it ran and is gone as it should be.
# TYPE syncer_objects gauge
syncer_objects{environment="prod",state="Healthy"} 3
syncer_objects{environment="prod",state="Missing"} 1
# HELP syncer_queue_depth Targets whose turn has come and that no worker has taken yet.
# TYPE syncer_queue_depth gauge
syncer_queue_depth 1
# HELP syncer_targets Targets by state: Ready, Progressing, Held, Failed or Unknown.
# TYPE syncer_targets gauge
syncer_targets{environment="dev",state="Failed"} 0
syncer_targets{environment="dev",state="Held"} 0
syncer_targets{environment="dev",state="Progressing"} 0
syncer_targets{environment="dev",state="Ready"} 1
syncer_targets{environment="dev",state="Unknown"} 0
syncer_targets{environment="prod",state="Failed"} 1
syncer_targets{environment="prod",state="Held"} 0
syncer_targets{environment="prod",state="Progressing"} 0
syncer_targets{environment="prod",state="Ready"} 0
syncer_targets{environment="prod",state="Unknown"} 0
# HELP syncer_unwatched_kinds Kinds of deployed objects whose watch is not open, so that changes are seen at the next poll only.
# TYPE syncer_unwatched_kinds gauge
syncer_unwatched_kinds 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

var update = flag.Bool("update", false, "write docs/reference/metrics.md")

// descText is how a Desc prints itself, which is the only way to read one.
var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]+)", constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

func TestMetricsReference(t *testing.T) {
	m := NewMetrics(time.Now)
	descs := make(chan *prometheus.Desc, 100)
	kinds := map[string]string{}
	for kind, collectors := range map[string][]prometheus.Collector{
		"histogram": {m.targets.reconcile, m.targets.commitToLive}, "gauge": {m, m.targets.lastSync, m.targets.untrusted, m.leader}, "counter": {m.requests.renders, m.requests.git, m.requests.registries, m.requests.api, m.targets.missed, m.targets.panics},
	} {
		for _, c := range collectors {
			own := make(chan *prometheus.Desc, 100)
			c.Describe(own)
			close(own)
			for desc := range own {
				kinds[desc.String()] = kind
				descs <- desc
			}
		}
	}
	close(descs)
	var rows []string
	for desc := range descs {
		parts := descText.FindStringSubmatch(desc.String())
		if parts == nil {
			t.Fatalf("%s cannot be read", desc)
		}
		labels := strings.ReplaceAll(parts[3], ",", ", ")
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", parts[1], kinds[desc.String()], cmp.Or(labels, "-"), parts[2]))
		if !strings.HasPrefix(parts[1], "syncer_") || kinds[desc.String()] == "counter" != strings.HasSuffix(parts[1], "_total") {
			t.Errorf("%s is not named as Prometheus wants a %s to be", parts[1], kinds[desc.String()])
		}
	}
	slices.Sort(rows)
	text := `# Metrics

` + "`/metrics`" + ` speaks the Prometheus format. This table is written from the code. What is about targets and objects comes from
the replica that carries them out and is as of its last look at them, so that a sum over replicas is right. Besides these
there are ` + "`syncer_build_info{version}`" + `, and those of the Go runtime and of the process (` + "`go_*`, `process_*`" + `).

| name | type | labels | meaning |
| --- | --- | --- | --- |
` + strings.Join(rows, "")
	const file = "../../docs/reference/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || string(have) != text {
		t.Errorf("%s is not what the code says (%v); write it with `go test ./pkg/daemon -run TestMetricsReference -update`", file, err)
	}
}
