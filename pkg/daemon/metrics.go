package daemon

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

// Metrics are those of a process, for Prometheus. The metrics of targets come from the replica that reconciles them, so
// that sums over replicas are right. They are as of the last reconcile of each target. It is safe for concurrent use.
type Metrics struct {
	now      func() time.Time
	registry *prometheus.Registry
	targets  targetMetrics
	requests requestMetrics
	leader   *prometheus.GaugeVec
	running  atomic.Pointer[gauges] // nil: no daemon runs
}

// targetMetrics are about reconciles.
type targetMetrics struct {
	reconcile    *prometheus.HistogramVec
	commitToLive *prometheus.HistogramVec
	lastSync     *prometheus.GaugeVec
	missed       prometheus.Counter
	panics       *prometheus.CounterVec
	untrusted    *prometheus.GaugeVec
}

// requestMetrics count what a process asks of others, and what it renders.
type requestMetrics struct {
	renders    *prometheus.CounterVec
	git        *prometheus.CounterVec
	registries *prometheus.CounterVec
	api        *prometheus.CounterVec
}

// NewMetrics returns metrics of no target. now is the wall clock.
func NewMetrics(now func() time.Time) *Metrics {
	m := &Metrics{
		now: now, registry: prometheus.NewRegistry(), targets: newTargetMetrics(), requests: newRequestMetrics(),
		leader: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "syncer_leader", Help: "1 while this replica holds a Lease.",
		}, []string{"lease"}),
	}
	m.registry.MustRegister(m, m.leader)
	m.registry.MustRegister(m.targets.all()...)
	m.registry.MustRegister(m.requests.all()...)
	return m
}

func newTargetMetrics() targetMetrics {
	return targetMetrics{
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
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "syncer_drift_missed_total", Help: "Findings that only a full comparison made, and no watch had noticed.",
		}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "syncer_target_panics_total", Help: "Panics of syncer that failed a target, or, without one, work that is of none. The log has their stacks.",
		}, []string{"pipeline", "environment"}),
		untrusted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "syncer_commit_untrusted", Help: "1 while the newest commit is not signed as the environment demands, and an earlier one stays in force; 0 while it is.",
		}, []string{"environment"}),
	}
}

func (m targetMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.reconcile, m.commitToLive, m.lastSync, m.missed, m.panics, m.untrusted}
}

func newRequestMetrics() requestMetrics {
	return requestMetrics{
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
	}
}

func (m requestMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.renders, m.git, m.registries, m.api}
}

// runs has the metrics show a daemon that runs.
func (m *Metrics) runs(g *gauges) { m.running.Store(g) }

// reconciled counts a reconcile.
func (m *Metrics) reconciled(w *target.Desired, verdict reconcile.Verdict, took time.Duration) {
	m.targets.reconcile.WithLabelValues(w.Environment.Name, string(verdict)).Observe(took.Seconds())
}

// live observes a deployment that was just seen healthy for the first time.
func (m *Metrics) live(w *target.Desired, before, after v1alpha1.PipelineSyncStatus) {
	if len(after.History) == 0 || after.History[0].HealthyAt == nil || after.History[0].Commit != w.Snapshot.Commit {
		return
	}
	deployed := after.History[0]
	if len(before.History) > 0 && before.History[0].Number == deployed.Number && before.History[0].HealthyAt != nil {
		return
	}
	m.targets.commitToLive.WithLabelValues(w.Environment.Name).Observe(max(0, deployed.HealthyAt.Sub(w.Snapshot.Time).Seconds()))
}

// synced notes when each environment was last in sync: none of its targets failed.
func (m *Metrics) synced(environments map[string]bool, known *states) {
	for target, of := range known.all() {
		if of.measured != nil && of.measured.state == drift.Failed {
			environments[target.Environment] = false
		}
	}
	for environment, all := range environments {
		if all {
			m.targets.lastSync.WithLabelValues(environment).Set(float64(m.now().Unix()))
		}
	}
}

// Panicked counts a panic that failed a target; the zero target stands for work that is of none.
func (m *Metrics) Panicked(target v1alpha1.Target) {
	m.targets.panics.WithLabelValues(target.Pipeline, target.Environment).Inc()
}

// leads notes whether this replica holds a Lease.
func (m *Metrics) leads(lease string, leads bool) {
	value := 0.0
	if leads {
		value = 1
	}
	m.leader.WithLabelValues(lease).Set(value)
}

// Requested counts a request to an API server; code 0: no answer came.
func (m *Metrics) Requested(verb string, code int) {
	m.requests.api.WithLabelValues(verb, strconv.Itoa(code)).Inc()
}

// AskedRegistry counts a request to an image registry.
func (m *Metrics) AskedRegistry(host, outcome string) {
	m.requests.registries.WithLabelValues(host, outcome).Inc()
}

// Rendered counts an overlay that a commit needs.
func (m *Metrics) Rendered(result target.RenderResult) {
	m.requests.renders.WithLabelValues(string(result)).Inc()
}
