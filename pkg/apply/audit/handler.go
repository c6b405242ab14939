package audit

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// largestBatch is the most that a batch may have; the API server's own default is 400 events.
const largestBatch = 10 << 20

// Handler takes what the API server's webhook backend for audit logs posts. Who says the token as a bearer may write
// to the log; it is asked for with each request, because it may be renewed. An empty token lets nobody in.
func Handler(log *Log, token func() (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "post batches of audit events here", http.StatusMethodNotAllowed)
			return
		}
		want, err := token()
		if err != nil || want == "" {
			http.Error(w, "the token to compare with cannot be read", http.StatusServiceUnavailable) // the API server tries again
			return
		}
		if !bearer(r, want) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the bearer token is missing or wrong", http.StatusUnauthorized)
			return
		}
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			http.Error(w, "the batch must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		batch, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBatch))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			http.Error(w, "the batch is larger than 10 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		if err == nil {
			err = log.Take(batch)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
}

// bearer compares hashes, whose length tells nothing of the token's.
func bearer(r *http.Request, want string) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
