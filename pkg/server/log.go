package server

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// logged logs failures, and at the level debug everything. It writes neither headers nor queries, which may hold tokens.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, seen := time.Now(), &answer{ResponseWriter: w}
		defer func() {
			failure := recover()
			if failure == http.ErrAbortHandler {
				panic(failure)
			}
			if failure != nil {
				log.Error("answering failed", "path", r.URL.Path, "error", failure, "stack", string(debug.Stack()))
				if seen.status == 0 {
					refuse(seen, r, http.StatusInternalServerError, "this is a fault of syncer; its log says more")
				}
			}
			log.Log(r.Context(), levelOf(seen.status), "answered", "method", r.Method, "path", r.URL.Path, "status", seen.status,
				"source", source(r), "took", time.Since(began).Round(time.Microsecond))
		}()
		next.ServeHTTP(seen, r)
	})
}

// levelOf logs a failure at a visible level. A component that is not ready logs that itself. Failures that any client can
// cause at will are logged at debug.
func levelOf(status int) slog.Level {
	switch {
	case status == http.StatusServiceUnavailable:
		return slog.LevelDebug
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case status == http.StatusForbidden:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// answer notes the status that a handler gives.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 || a.status < http.StatusOK { // an informational status comes before the answer
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Flush lets a stream of events reach the browser at once.
func (a *answer) Flush() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush() // the next write tells
}
