package server

import (
	"io"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health answers a probe: 200, or 503 with the reason.
func probe(check func() error, what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, reason := http.StatusOK, ""
		if err := check(); err != nil {
			status, reason = http.StatusServiceUnavailable, err.Error()
		}
		if strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			writeJSON(w, map[string]any{what: reason == "", "reason": reason})
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		text := what + "\n"
		if reason != "" {
			text = "not " + what + ": " + reason + "\n"
		}
		_, _ = io.WriteString(w, text) // the probe may have gone
	})
}

// metrics joins the metrics of the daemon and of its process.
func metrics(daemon Daemon) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "syncer_build_info", Help: "Always 1; the labels say which build this is.",
			ConstLabels: prometheus.Labels{"version": daemon.View().Replica.Version, "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return promhttp.HandlerFor(prometheus.Gatherers{own, daemon.Metrics()}, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}
