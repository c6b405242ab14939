// Package server shows what a daemon knows: pages for people, JSON for programs, metrics and health for operators, and
// webhooks that wake it. It reads what pkg/pipeline publishes and changes nothing in a cluster.
package server

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncerdev/syncer/pkg/pipeline"
)

// Daemon is what a server shows; *pipeline.Runner is one. Its methods may be called by many goroutines.
type Daemon interface {
	// View is the newest one, and never nil.
	View() *pipeline.View
	// Changed is closed when there is a newer view than the one that View gave before it was called.
	Changed() <-chan struct{}
	// Objects judges the live objects of a target; it asks the API server, and answers from memory for some seconds.
	Objects(ctx context.Context, target pipeline.Target) ([]pipeline.ObjectView, error)
	// Wake has the repository looked at now.
	Wake()
	// Ready says why the daemon is not ready to do its work; nil: it is.
	Ready() error
	// Alive says why the daemon should be started again; nil: it works.
	Alive() error
	// Metrics are those of the daemon.
	Metrics() prometheus.Gatherer
}

// New returns the handler of everything that a daemon serves.
func New(daemon Daemon) http.Handler {
	mux := http.NewServeMux()
	pages(daemon, mux)
	return mux
}
