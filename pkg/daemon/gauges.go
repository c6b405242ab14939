package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

// gauges are what the metrics read of a daemon that runs, when they are asked.
type gauges struct {
	queue    *queue
	watching *watching
	states   *states
}

// measured is how a target is, for the metrics. It is not changed.
type measured struct {
	findings []drift.Finding
	state    drift.State
	held     int
	objects  map[string]int // by state
}

var (
	queueDesc     = prometheus.NewDesc("syncer_queue_depth", "Targets whose turn has come and that no worker has taken yet.", nil, nil)
	unwatchedDesc = prometheus.NewDesc("syncer_unwatched_kinds", "Kinds of deployed objects whose watch is not open, so that changes are seen at the next poll only.", nil, nil)
	targetsDesc   = prometheus.NewDesc("syncer_targets", "Targets by state: Ready, Progressing, Held, Failed or Unknown.", []string{"environment", "state"}, nil)
	objectsDesc   = prometheus.NewDesc("syncer_objects", "Objects by state: Healthy, InProgress, Failed, Missing, or Completed: it ran and is gone as it should be.", []string{"environment", "state"}, nil)
	heldDesc      = prometheus.NewDesc("syncer_held_changes", "Changes that wait, for the end of a run or for something else.", []string{"environment"}, nil)
	findingsDesc  = prometheus.NewDesc("syncer_drift_findings", "Differences between the cluster and the commit last applied.",
		[]string{"pipeline", "environment", "kind", "severity"}, nil)
	oldestDesc = prometheus.NewDesc("syncer_drift_oldest_seconds", "Age of a target's oldest finding of a severity.",
		[]string{"pipeline", "environment", "severity"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{queueDesc, unwatchedDesc, targetsDesc, objectsDesc, heldDesc, findingsDesc, oldestDesc} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	g := m.running.Load()
	if g == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(queueDesc, float64(g.queue.depth()))
	gauge(unwatchedDesc, float64(g.watching.unwatchedKinds()))
	type byState struct{ environment, state string }
	targets, objects, held := map[byState]int{}, map[byState]int{}, map[string]int{}
	for target, of := range g.states.all() {
		is := of.measured
		if is == nil {
			continue
		}
		for _, state := range []drift.State{drift.Ready, drift.Progressing, drift.Waiting, drift.Failed, drift.Unknown} {
			targets[byState{target.Environment, string(state)}] += 0 // an alert wants to see that there are none
		}
		targets[byState{target.Environment, string(is.state)}]++
		held[target.Environment] += is.held
		for state, n := range is.objects {
			objects[byState{target.Environment, state}] += n
		}
		m.collectDrift(target, is.findings, gauge)
	}
	for l, n := range targets {
		gauge(targetsDesc, float64(n), l.environment, l.state)
	}
	for l, n := range objects {
		gauge(objectsDesc, float64(n), l.environment, l.state)
	}
	for environment, n := range held {
		gauge(heldDesc, float64(n), environment)
	}
}

func (m *Metrics) collectDrift(target v1alpha1.Target, findings []drift.Finding, gauge func(*prometheus.Desc, float64, ...string)) {
	type labels struct {
		kind     drift.Kind
		severity drift.Severity
	}
	counts, ages := map[labels]int{}, map[drift.Severity]time.Duration{}
	for _, f := range findings {
		counts[labels{f.Kind, f.Severity}]++
		age := time.Duration(0)
		if since := f.Since(); since != nil {
			age = max(0, m.now().Sub(*since))
		}
		ages[f.Severity] = max(ages[f.Severity], age)
	}
	for l, n := range counts {
		gauge(findingsDesc, float64(n), target.Pipeline, target.Environment, string(l.kind), string(l.severity))
	}
	for severity, age := range ages {
		gauge(oldestDesc, age.Seconds(), target.Pipeline, target.Environment, string(severity))
	}
}
