package pipeline

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

func TestDriftMetrics(t *testing.T) {
	m := newMetrics(func() time.Time { return noon })
	hour, minute := noon.Add(-time.Hour), noon.Add(-time.Minute)
	prod, dev := apply.Target{Pipeline: "etl", Environment: "prod"}, apply.Target{Pipeline: "etl", Environment: "dev"}
	m.saw(prod, measured{state: drift.Ready, findings: []drift.Finding{
		{Kind: drift.Modified, Severity: drift.Warning, Time: &minute},
		{Kind: drift.Modified, Severity: drift.Warning, FirstSeen: &hour},
		{Kind: drift.Missing, Severity: drift.Critical},
	}})
	m.saw(prod, measured{state: drift.Failed, held: 2, objects: map[string]int{"Healthy": 3, "Missing": 1}}) // says nothing of the findings
	m.saw(dev, measured{state: drift.Ready, findings: []drift.Finding{{Kind: drift.Added, Severity: drift.Info}}})
	m.saw(dev, measured{state: drift.Ready, findings: []drift.Finding{}})
	m.saw(apply.Target{Pipeline: "gone", Environment: "dev"}, measured{state: drift.Ready})
	m.forget(apply.Target{Pipeline: "gone", Environment: "dev"})
	m.missed.Add(2)
	m.synced(map[string]bool{"dev": true, "prod": true, "lost": false})
	q := newQueue()
	q.add(prod, time.Now().Add(-time.Second), fieldsMoved)
	q.add(dev, time.Now().Add(time.Hour), slowCheck)
	m.runs(q)
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
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
