package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

func TestDriftMetrics(t *testing.T) {
	m := newDriftMetrics(func() time.Time { return noon })
	hour, minute := noon.Add(-time.Hour), noon.Add(-time.Minute)
	prod := apply.Target{Pipeline: "etl", Environment: "prod"}
	m.set(prod, []drift.Finding{
		{Kind: drift.Modified, Severity: drift.Warning, Time: &minute, Path: "data.password", Desired: "canary", Live: "canary", Message: "canary"},
		{Kind: drift.Modified, Severity: drift.Warning, FirstSeen: &hour},
		{Kind: drift.Missing, Severity: drift.Critical},
	})
	m.set(apply.Target{Pipeline: "etl", Environment: "dev"}, []drift.Finding{{Kind: drift.Added, Severity: drift.Info}})
	m.set(apply.Target{Pipeline: "etl", Environment: "dev"}, nil)
	m.missed.Add(2)
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
`
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
