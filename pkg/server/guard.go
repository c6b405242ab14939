package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/syncerdev/syncer/pkg/view"
)

// guard admits requests with a token of the cluster whose user may see the requested page. A nil guard admits every
// request. It is safe for concurrent use.
type guard struct {
	allowed func(ctx context.Context, token string, access view.Access) (user string, allowed bool, err error)
	right   func(view.Access) string
	log     *slog.Logger

	// Apart, so that a flood of wrong tokens does not push the right ones out.
	good, bad verdicts
	reviews   singleflight.Group
	atOnce    chan struct{} // a slot for each question to the API server
	failures  *limit        // of invalid tokens, by source
}

// verdict is the API server's answer about a token.
type verdict struct {
	user    string // empty: the token is invalid
	allowed bool
}

const (
	goodFor = time.Minute
	badFor  = 10 * time.Second
	// reviewsAtOnce bounds the questions to the API server.
	reviewsAtOnce = 8
	mostVerdicts  = 1000
	// From one source so many wrong tokens are tried at once, and then one at each interval.
	wrongTokens        = 10
	wrongTokenInterval = 6 * time.Second
	// longestToken is above the length of any issuer's token.
	longestToken = 16 << 10
)

func newGuard(allowed func(context.Context, string, view.Access) (string, bool, error), right func(view.Access) string, log *slog.Logger) *guard {
	return &guard{
		allowed: allowed, right: right, log: log, good: verdicts{keep: goodFor}, bad: verdicts{keep: badFor},
		atOnce: make(chan struct{}, reviewsAtOnce), failures: newLimit(wrongTokens, wrongTokenInterval),
	}
}

// protect passes a request on to next if its user has the access.
func (g *guard) protect(access view.Access, next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Another token, or none, gives another answer.
		w.Header().Add("Vary", "Authorization, Cookie")
		token := tokenOf(r)
		if token == "" {
			g.ask(w, r, access, "")
			return
		}
		v, err := g.judge(r, token, access)
		switch {
		case err != nil:
			g.unjudged(w, r, err)
		case v.user == "":
			g.ask(w, r, access, "the token is not valid, or no longer so")
		case !v.allowed && wantsPage(r) && access == view.AccessRecords:
			g.show(w, r, http.StatusForbidden, r.URL.RequestURI(), v.user+" may not "+g.right(access)+".")
		case !v.allowed:
			refuse(w, r, http.StatusForbidden, v.user+" may not "+g.right(access))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// tooManyError holds the wait before the next token.
type tooManyError struct{ wait time.Duration }

func (e *tooManyError) Error() string { return "too many wrong tokens" }

// judge returns the verdict on a token.
func (g *guard) judge(r *http.Request, token string, access view.Access) (verdict, error) {
	if token == "" || len(token) > longestToken {
		return verdict{}, nil
	}
	key := sha256.Sum256([]byte(string(access) + "\x00" + token))
	if v, ok := g.known(key); ok {
		return v, nil
	}
	from := source(r)
	// The first request may be cancelled while others wait for the same answer: a page sends many requests at once.
	answer := g.reviews.DoChan(string(key[:]), func() (any, error) {
		if wait, ok := g.failures.take(from); !ok {
			return verdict{}, &tooManyError{wait}
		}
		g.atOnce <- struct{}{}
		defer func() { <-g.atOnce }()
		user, allowed, err := g.allowed(context.WithoutCancel(r.Context()), token, access)
		if err != nil || user != "" {
			g.failures.giveBack(from)
		}
		if err != nil {
			return verdict{}, err
		}
		v := verdict{user, user != "" && allowed}
		if v.allowed {
			g.good.put(key, v)
		} else {
			g.bad.put(key, v)
		}
		return v, nil
	})
	select {
	case <-r.Context().Done():
		return verdict{}, r.Context().Err()
	case result := <-answer:
		v, _ := result.Val.(verdict)
		return v, result.Err
	}
}

func (g *guard) known(key [sha256.Size]byte) (verdict, bool) {
	if v, ok := g.good.get(key); ok {
		return v, true
	}
	return g.bad.get(key)
}

// ask demands a token: from a browser by the sign-in page.
func (g *guard) ask(w http.ResponseWriter, r *http.Request, access view.Access, why string) {
	if wantsPage(r) && access == view.AccessRecords {
		send(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="syncer"`)
	if why != "" {
		why += "; "
	}
	refuse(w, r, http.StatusUnauthorized, why+"send a bearer token of a user or service account who may "+g.right(access)+", as `kubectl create token` prints one")
}

// unjudged answers where a token could not be judged.
func (g *guard) unjudged(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := g.failure(w, r, err)
	refuse(w, r, status, detail)
}

func (g *guard) failure(w http.ResponseWriter, r *http.Request, err error) (status int, detail string) {
	if many, ok := errors.AsType[*tooManyError](err); ok {
		retryAfter(w, many.wait)
		return http.StatusTooManyRequests, "too many wrong tokens came from this address; wait a little"
	}
	if r.Context().Err() == nil {
		g.log.Error("the API server could not be asked who somebody is", "error", err)
	}
	return http.StatusServiceUnavailable, "the API server cannot be asked now who you are; try again"
}

func retryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
}

// wantsPage reports whether a browser, and not a program, opens a page.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// tokenOf is the token of a request: the bearer token, else the cookie of a browser that has signed in.
func tokenOf(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return cookieToken(r)
}

// verdicts are remembered for a while, by a hash of the token, so that none is kept.
type verdicts struct {
	keep time.Duration

	mu    sync.Mutex
	byKey map[[sha256.Size]byte]dated
}

type dated struct {
	verdict
	until time.Time
}

func (v *verdicts) get(key [sha256.Size]byte) (verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.byKey[key]
	return known.verdict, ok && time.Now().Before(known.until)
}

func (v *verdicts) put(key [sha256.Size]byte, what verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.byKey == nil {
		v.byKey = map[[sha256.Size]byte]dated{}
	}
	if len(v.byKey) >= mostVerdicts {
		for old, known := range v.byKey {
			if !now.Before(known.until) {
				delete(v.byKey, old)
			}
		}
	}
	for old := range v.byKey { // any one, if that was not enough
		if len(v.byKey) < mostVerdicts {
			break
		}
		delete(v.byKey, old)
	}
	v.byKey[key] = dated{what, now.Add(v.keep)}
}
