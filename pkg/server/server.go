// Package server shows the views of a daemon: pages for people, JSON for programs, metrics and health for operators, and
// webhooks that wake it. It reads only published views and changes nothing in a cluster.
package server

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/view"
)

// Daemon is the source of a server's answers; cmd/syncer gives it. Many goroutines may call its methods.
type Daemon interface {
	// View is the newest one, and never nil.
	View() *view.View
	// Changed is closed when there is a newer view than the one that View gave before it was called.
	Changed() <-chan struct{}
	// Objects judges the live objects of a target; it asks the API server, and answers from memory for some seconds.
	Objects(ctx context.Context, target v1alpha1.Target) ([]health.Object, error)
	// Wake has the repository looked at now.
	Wake()
	// Ready says why the daemon is not ready to do its work; nil: it is.
	Ready() error
	// Alive says why the daemon should be started again; nil: it works.
	Alive() error
	// Metrics are the metrics of the daemon.
	Metrics() prometheus.Gatherer
}

// New returns the handler of all pages of a daemon, without access rules. Serve adds the rules.
func New(daemon Daemon) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", newAPI(daemon))
	mux.Handle("GET /healthz", probe(daemon.Alive, "alive"))
	mux.Handle("GET /readyz", probe(daemon.Ready, "ready"))
	mux.Handle("GET /metrics", metrics(daemon))
	pages(daemon, mux)
	return withHeaders(mux)
}

// contentPolicy lets a page load files of this server, and nothing else. A page with a style or script in itself names
// its hash in a policy of its own.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// withHeaders sets the headers of every answer. A handler may set others.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// The state of a cluster does not belong in the cache of a shared computer or of a proxy.
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
