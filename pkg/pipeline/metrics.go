package pipeline

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/target"
)

// metrics are those of a process, for Prometheus. The metrics of targets come from the replica that reconciles them, so
// that sums over replicas are right. They are as of the last reconcile of each target. It is safe for concurrent use.
type metrics struct {
	now      func() time.Time
	registry *prometheus.Registry

	reconcile    *prometheus.HistogramVec
	commitToLive *prometheus.HistogramVec
	lastSync     *prometheus.GaugeVec
	renders      *prometheus.CounterVec
	git          *prometheus.CounterVec
	registries   *prometheus.CounterVec
	api          *prometheus.CounterVec
	leader       *prometheus.GaugeVec
	missed       prometheus.Counter
	panics       *prometheus.CounterVec

	states *states

	mu        sync.Mutex
	queue     *queue // nil: no loop runs
	unwatched func() int
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

func newMetrics(now func() time.Time, states *states) *metrics {
	m := &metrics{
		now: now, registry: prometheus.NewRegistry(), states: states,
		reconcile: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "syncer_reconcile_duration_seconds", Help: "How long a target's turn took, by its result: Applied, Unchanged, Held or Failed.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"environment", "result"}),
		commitToLive: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "syncer_commit_to_live_seconds", Help: "Time from a commit to the moment when all of its objects were first seen healthy in a target, by the committer's clock.",
			Buckets: []float64{5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600},
		}, []string{"environment"}),
		lastSync: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "syncer_last_sync_timestamp_seconds", Help: "When it was last seen that every target of an environment had the newest commit carried out without a failure.",
		}, []string{"environment"}),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_renders_total", Help: "Overlays that were rendered: built, failed, or reused because nothing that they read has changed.",
		}, []string{"result"}),
		git: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_git_requests_total", Help: "Looks at the repository: changed, unchanged or failed, each try by itself.",
		}, []string{"outcome"}),
		registries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_registry_requests_total", Help: "Requests to image registries and what they refer to: ok, notFound, challenged (which is how a look-up with credentials begins), denied, limited or failed.",
		}, []string{"host", "outcome"}),
		api: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_api_requests_total", Help: "Requests to the Kubernetes API by verb and HTTP status; code 0: no answer came.",
		}, []string{"verb", "code"}),
		leader: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "syncer_leader", Help: "1 while this replica holds a Lease.",
		}, []string{"lease"}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "syncer_drift_missed_total", Help: "Findings that only a full comparison made, and no watch had noticed.",
		}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_target_panics_total", Help: "Panics of syncer that failed a target, or, without one, work that is of none. The log has their stacks.",
		}, []string{"pipeline", "environment"}),
	}
	m.registry.MustRegister(m, m.panics, m.reconcile, m.commitToLive, m.lastSync, m.renders, m.git, m.registries, m.api, m.leader, m.missed)
	return m
}

// runs gives the metrics the queue of a loop.
func (m *metrics) runs(q *queue, unwatched func() int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue, m.unwatched = q, unwatched
}

// reconciled takes in that a target was reconciled.
func (m *metrics) reconciled(w *target.Desired, result *TargetResult, took time.Duration) {
	m.reconcile.WithLabelValues(w.Environment.Name, string(result.Result)).Observe(took.Seconds())
}

// saw takes in how a target is.
func (m *metrics) saw(target v1alpha1.Target, is measured) {
	m.states.change(target, func(of *state) {
		if is.findings == nil && of.measured != nil { // nothing was said of them
			is.findings = of.measured.findings
		}
		of.measured = &is
	})
}

// progresses takes in that a newer commit is on its way into a target.
func (m *metrics) progresses(target v1alpha1.Target) {
	m.states.change(target, func(of *state) {
		is := measured{state: drift.Progressing}
		if of.measured != nil {
			is = *of.measured
			is.state = drift.Progressing
		}
		of.measured = &is
	})
}

// live observes a deployment that was just seen healthy for the first time.
func (m *metrics) live(w *target.Desired, before, after v1alpha1.PipelineSyncStatus) {
	if len(after.History) == 0 || after.History[0].HealthyAt == nil || after.History[0].Commit != w.Snapshot.Commit {
		return
	}
	deployed := after.History[0]
	if len(before.History) > 0 && before.History[0].Number == deployed.Number && before.History[0].HealthyAt != nil {
		return
	}
	m.commitToLive.WithLabelValues(w.Environment.Name).Observe(max(0, deployed.HealthyAt.Sub(w.Snapshot.Time).Seconds()))
}

// synced notes when each environment was last in sync: none of its targets failed.
func (m *metrics) synced(environments map[string]bool) {
	for target, of := range m.states.all() {
		if of.measured != nil && of.measured.state == drift.Failed {
			environments[target.Environment] = false
		}
	}
	for environment, all := range environments {
		if all {
			m.lastSync.WithLabelValues(environment).Set(float64(m.now().Unix()))
		}
	}
}

// panicked counts a panic that failed a target.
func (m *metrics) panicked(target v1alpha1.Target) {
	m.panics.WithLabelValues(target.Pipeline, target.Environment).Inc()
}

func (m *metrics) leads(lease string, leads bool) {
	value := 0.0
	if leads {
		value = 1
	}
	m.leader.WithLabelValues(lease).Set(value)
}

func (m *metrics) requested(verb string, code int) {
	m.api.WithLabelValues(verb, strconv.Itoa(code)).Inc()
}

func (m *metrics) askedRegistry(host, outcome string) {
	m.registries.WithLabelValues(host, outcome).Inc()
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{queueDesc, unwatchedDesc, targetsDesc, objectsDesc, heldDesc, findingsDesc, oldestDesc} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	queue, unwatched := m.queue, m.unwatched
	m.mu.Unlock()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if queue != nil {
		gauge(queueDesc, float64(queue.depth()))
		gauge(unwatchedDesc, float64(unwatched()))
	}
	type byState struct{ environment, state string }
	targets, objects, held := map[byState]int{}, map[byState]int{}, map[string]int{}
	for target, of := range m.states.all() {
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

func (m *metrics) collectDrift(target v1alpha1.Target, findings []drift.Finding, gauge func(*prometheus.Desc, float64, ...string)) {
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

// countObjects counts the objects of a target by how they are.
func countObjects(objects []health.Object) map[string]int {
	counts := map[string]int{}
	for _, state := range []string{string(health.Healthy), string(health.InProgress), string(health.Failed), health.ObjectMissing, health.ObjectCompleted} {
		counts[state] = 0
	}
	for _, o := range objects {
		counts[o.Health]++
	}
	return counts
}
