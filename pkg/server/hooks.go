package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// forge describes how a git host signs its posts.
type forge struct {
	// header holds the signature, a hash of the body in hexadecimal keyed by the secret, behind the prefix; or, of a forge
	// that sends the secret itself, that.
	header, prefix string
	secretItself   bool
	// ping is the header, and its value, of a forge's trial request.
	ping [2]string
}

var forges = map[string]forge{
	"github":    {header: "X-Hub-Signature-256", prefix: "sha256=", ping: [2]string{"X-GitHub-Event", "ping"}},
	"gitlab":    {header: "X-Gitlab-Token", secretItself: true},
	"gitea":     {header: "X-Gitea-Signature", ping: [2]string{"X-Gitea-Event", "ping"}},
	"bitbucket": {header: "X-Hub-Signature", prefix: "sha256=", ping: [2]string{"X-Event-Key", "diagnostics:ping"}},
	"generic":   {header: "X-Hub-Signature-256", prefix: "sha256="},
}

const (
	// largestHook is the most of a body that is read; a push of many commits may have megabytes.
	largestHook = 5 << 20
	// From one source so many webhooks are looked at at once, and then one at each interval; and from all together.
	hookBurst, hookInterval         = 30, time.Second
	allHooksBurst, allHooksInterval = 100, 100 * time.Millisecond
)

// hooks receives the webhooks of git hosts. They only wake the daemon, which then fetches the repository itself: their
// content is not used.
type hooks struct {
	secretFile string
	wake       func()
	log        *slog.Logger
	each, all  *limit
}

func newHooks(secretFile string, wake func(), log *slog.Logger) http.Handler {
	return &hooks{
		secretFile: secretFile, wake: wake, log: log,
		each: newLimit(hookBurst, hookInterval), all: newLimit(allHooksBurst, allHooksInterval),
	}
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, ok := forges[strings.TrimPrefix(r.URL.Path, "/hooks/")]
	if !ok {
		refuse(w, r, http.StatusNotFound, "there is no such webhook; there are "+strings.Join(slices.Sorted(maps.Keys(forges)), ", "))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, r, http.StatusMethodNotAllowed, "have the git host post its webhooks here")
		return
	}
	for _, l := range []struct {
		*limit
		party string
	}{{h.each, source(r)}, {h.all, everybody}} {
		if wait, ok := l.take(l.party); !ok {
			retryAfter(w, wait)
			refuse(w, r, http.StatusTooManyRequests, "too many webhooks; syncer polls the repository in any case")
			return
		}
	}
	if h.secretFile == "" {
		refuse(w, r, http.StatusNotFound, "no webhook is taken here: the configuration has no server.webhookSecretFile")
		return
	}
	secret, err := readSecret(h.secretFile)
	if err != nil {
		h.log.Warn("webhooks cannot be checked", "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the secret to check with cannot be read; syncer's log says why")
		return
	}
	if status, detail := from.verify(w, r, secret); status != http.StatusOK {
		refuse(w, r, status, detail)
		return
	}
	if from.ping[0] != "" && r.Header.Get(from.ping[0]) == from.ping[1] {
		w.WriteHeader(http.StatusOK)
		return
	}
	h.wake()
	w.WriteHeader(http.StatusAccepted)
}

// verify returns 200 if the sender of a request has the secret.
func (f forge) verify(w http.ResponseWriter, r *http.Request, secret []byte) (status int, detail string) {
	if r.ContentLength > largestHook {
		w.Header().Set("Connection", "close") // the rest is not read
		return http.StatusRequestEntityTooLarge, "the body is larger than 5 MiB"
	}
	given := r.Header.Get(f.header)
	if f.secretItself {
		if !sameSecret([]byte(given), secret) {
			return http.StatusForbidden, f.header + " is missing or wrong"
		}
		// HTTP/2 resets the stream of a body that is not read, and some clients take that for a failure.
		return drain(w, r, io.Discard)
	}
	signature, err := hex.DecodeString(strings.TrimPrefix(given, f.prefix))
	if err != nil || len(signature) != sha256.Size || !strings.HasPrefix(given, f.prefix) {
		return http.StatusForbidden, f.header + " is missing, or no signature as " + f.prefix + "HEX"
	}
	mac := hmac.New(sha256.New, secret)
	if status, detail := drain(w, r, mac); status != http.StatusOK {
		return status, detail
	}
	if !hmac.Equal(mac.Sum(nil), signature) {
		return http.StatusForbidden, f.header + " does not fit the body; the git host has another secret"
	}
	return http.StatusOK, ""
}

// drain copies a body into a writer and keeps nothing. It returns 200 if the body is not larger than allowed.
func drain(w http.ResponseWriter, r *http.Request, into io.Writer) (status int, detail string) {
	_, err := io.Copy(into, http.MaxBytesReader(w, r.Body, largestHook))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "the body is larger than 5 MiB"
	}
	if err != nil {
		return http.StatusBadRequest, "the body could not be read"
	}
	return http.StatusOK, ""
}

// sameSecret compares hashes, so that the time does not depend on the secret's length.
func sameSecret(given, secret []byte) bool {
	a, b := sha256.Sum256(given), sha256.Sum256(secret)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

var errEmptySecret = errors.New("the file is empty")

// readSecret reads a secret anew, because it may be renewed. A line's end is no part of it.
func readSecret(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	secret := []byte(strings.TrimRight(string(content), "\r\n"))
	if len(secret) == 0 {
		return nil, &os.PathError{Op: "read", Path: file, Err: errEmptySecret}
	}
	return secret, nil
}
