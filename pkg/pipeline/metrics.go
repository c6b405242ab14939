package pipeline

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
)

// driftMetrics tells what drifted, as of the last look at each target. It is safe for concurrent use.
type driftMetrics struct {
	now    func() time.Time
	missed prometheus.Counter

	mu       sync.Mutex
	byTarget map[apply.Target][]drift.Finding
}

var (
	findingsDesc = prometheus.NewDesc("syncer_drift_findings", "Differences between the cluster and the commit last applied.",
		[]string{"pipeline", "environment", "kind", "severity"}, nil)
	oldestDesc = prometheus.NewDesc("syncer_drift_oldest_seconds", "Age of a target's oldest finding of a severity.",
		[]string{"pipeline", "environment", "severity"}, nil)
)

func newDriftMetrics(now func() time.Time) *driftMetrics {
	return &driftMetrics{
		now: now, byTarget: map[apply.Target][]drift.Finding{},
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "syncer_drift_missed_total",
			Help: "Findings that only a full comparison made, and no watch had noticed.",
		}),
	}
}

// set replaces the findings of a target.
func (m *driftMetrics) set(target apply.Target, findings []drift.Finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(findings) == 0 {
		delete(m.byTarget, target)
		return
	}
	m.byTarget[target] = findings
}

// Describe implements prometheus.Collector.
func (m *driftMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- findingsDesc
	out <- oldestDesc
	m.missed.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *driftMetrics) Collect(out chan<- prometheus.Metric) {
	m.missed.Collect(out)
	m.mu.Lock()
	defer m.mu.Unlock()
	type labels struct {
		target   apply.Target
		kind     drift.Kind
		severity drift.Severity
	}
	counts, ages := map[labels]int{}, map[labels]time.Duration{}
	for target, findings := range m.byTarget {
		for _, f := range findings {
			counts[labels{target, f.Kind, f.Severity}]++
			at := labels{target: target, severity: f.Severity}
			age := time.Duration(0)
			if since := f.Since(); since != nil {
				age = max(0, m.now().Sub(*since))
			}
			ages[at] = max(ages[at], age)
		}
	}
	for l, n := range counts {
		out <- prometheus.MustNewConstMetric(findingsDesc, prometheus.GaugeValue, float64(n), l.target.Pipeline, l.target.Environment, string(l.kind), string(l.severity))
	}
	for l, age := range ages {
		out <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age.Seconds(), l.target.Pipeline, l.target.Environment, string(l.severity))
	}
}
