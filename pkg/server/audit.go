package server

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/syncerdev/syncer/pkg/view"
)

// largestBatch bounds a batch. The API server's own limit for a batch is the same, and it drops a refused batch.
const largestBatch = 10 << 20

// audit receives the posts of an API server's webhook backend for audit logs.
type audit struct {
	tokenFile string
	take      func(environment string, batch []byte) error
	log       *slog.Logger
	failures  *limit
}

func newAudit(tokenFile string, take func(string, []byte) error, log *slog.Logger) http.Handler {
	return &audit{tokenFile: tokenFile, take: take, log: log, failures: newLimit(wrongTokens, wrongTokenInterval)}
}

// ServeHTTP reads a body only with a valid token.
func (a *audit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, r, http.StatusMethodNotAllowed, "have the API server post batches of audit events here")
		return
	}
	if a.tokenFile == "" || a.take == nil {
		refuse(w, r, http.StatusNotFound, "no audit log is taken here: the configuration has no server.auditTokenFile")
		return
	}
	if !a.knows(w, r) {
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		refuse(w, r, http.StatusUnsupportedMediaType, "the batch must be application/json")
		return
	}
	batch, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBatch))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		refuse(w, r, http.StatusRequestEntityTooLarge, "the batch is larger than 10 MiB")
		return
	}
	if err == nil {
		err = a.take(r.PathValue("environment"), batch)
	}
	switch {
	case errors.Is(err, view.ErrNoAudit):
		refuse(w, r, http.StatusNotFound, err.Error())
	case err != nil:
		refuse(w, r, http.StatusBadRequest, err.Error())
	}
}

// knows checks the token and answers a request without a valid one.
func (a *audit) knows(w http.ResponseWriter, r *http.Request) bool {
	from := source(r)
	if wait, ok := a.failures.take(from); !ok {
		retryAfter(w, wait)
		refuse(w, r, http.StatusTooManyRequests, "too many wrong tokens came from this address; wait a little")
		return false
	}
	want, err := readSecret(a.tokenFile)
	if err != nil {
		a.failures.giveBack(from)
		a.log.Warn("audit logs cannot be checked", "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the token to compare with cannot be read; syncer's log says why") // the API server tries again
		return false
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !sameSecret([]byte(given), want) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, r, http.StatusUnauthorized, "the bearer token is missing or wrong")
		return false
	}
	a.failures.giveBack(from)
	return true
}
