package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/view"
)

// users are the tokens of a cluster, as its API server would know them: alice may see everything, scraper the metrics,
// and bob nothing.
type users struct {
	mu    sync.Mutex
	asked int
	away  error
}

func (u *users) allowed(_ context.Context, token string, access view.Access) (string, bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	switch {
	case u.away != nil:
		return "", false, u.away
	case token == "alice-token":
		return "alice", true, nil
	case token == "scraper-token":
		return "scraper", access == view.AccessMetrics, nil
	case token == "bob-token":
		return "bob", false, nil
	}
	return "", false, nil
}

func (u *users) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// public is a server at an address that is not loopback.
func public(t *testing.T, u *users, change ...func(*Options)) http.Handler {
	t.Helper()
	options := Options{
		Server:  v1alpha1.Server{Listen: ":8080"},
		Allowed: u.allowed, Right: func(a view.Access) string { return "get " + string(a) }, Log: slog.New(slog.DiscardHandler),
	}
	for _, do := range change {
		do(&options)
	}
	handler, _, err := newHandler(options, fullDaemon(), false)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func TestWhoMaySeeWhat(t *testing.T) {
	handler := public(t, &users{}, func(o *Options) { o.Pprof = true })
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/healthz", "", 200}, {"/readyz", "", 200},
		{"/api/v1/status", "", 401}, {"/api/v1/status", "alice-token", 200}, {"/api/v1/status", "bob-token", 403},
		{"/api/v1/status", "scraper-token", 403}, {"/api/v1/status", "nobody", 401}, {"/api/v1/openapi.yaml", "", 401},
		{"/metrics", "", 401}, {"/metrics", "alice-token", 200}, {"/metrics", "scraper-token", 200}, {"/metrics", "bob-token", 403},
		{"/", "", 401}, {"/none", "", 401}, {"/none", "alice-token", 404}, {"/none", "bob-token", 403},
		{"/debug/pprof/", "", 401}, {"/debug/pprof/cmdline", "bob-token", 403}, {"/debug/pprof/", "alice-token", 200},
		{"/api/v1/status", strings.Repeat("a", longestToken+1), 401},
		{"/healthz/../api/v1/status", "", 307}, {"//api/v1/status", "", 307}, {"/hooks/../metrics", "", 307},
	} {
		answer := ask(t, handler, c.path, func(r *http.Request) {
			if c.token != "" {
				bearer(c.token)(r)
			}
		})
		if answer.Code != c.want {
			t.Errorf("%s with %.20q: %d %s", c.path, c.token, answer.Code, answer.Body)
		}
		if c.want == 401 && (!strings.HasPrefix(answer.Header().Get("WWW-Authenticate"), "Bearer") || !strings.Contains(answer.Body.String(), "kubectl create token")) {
			t.Errorf("%s with %.20q: it does not say how to come in: %s", c.path, c.token, answer.Body)
		}
		if answer.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no security headers", c.path)
		}
	}
	answer := ask(t, handler, "/api/v1/status", bearer("bob-token"))
	if !strings.Contains(answer.Body.String(), "bob may not get records") {
		t.Errorf("it does not say what is missing: %s", answer.Body)
	}
	if answer := ask(t, handler, "/api/v1/status", header("Authorization", "bearer alice-token")); answer.Code != 200 {
		t.Errorf("the scheme in small: %d", answer.Code)
	}
}

// The API server is asked once a minute for a token, and sooner for a wrong one, which may have been made since.
func TestVerdictsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &users{}
		handler := public(t, u)
		asked := func(token string, want int) {
			t.Helper()
			before := u.count()
			for range 3 {
				ask(t, handler, "/api/v1/status", bearer(token))
			}
			if got := u.count() - before; got != want {
				t.Errorf("%s: asked %d times, not %d", token, got, want)
			}
		}
		for _, token := range []string{"alice-token", "bob-token", "nobody"} {
			asked(token, 1)
		}
		time.Sleep(badFor + time.Second)
		asked("alice-token", 0)
		asked("bob-token", 1)
		asked("nobody", 1)
		time.Sleep(goodFor)
		asked("alice-token", 1)
		if answer := ask(t, handler, "/metrics", bearer("bob-token")); answer.Code != 403 || u.count() == 0 {
			t.Errorf("another question has the same answer: %d", answer.Code)
		}
	})
}

// What cannot be judged is not let in, and is judged again at the next request.
func TestTheAPIServerIsAway(t *testing.T) {
	u := &users{away: errors.New("no route to host")}
	handler := public(t, u)
	for range 2 * wrongTokens { // and it is no wrong token
		if answer := ask(t, handler, "/api/v1/status", bearer("alice-token")); answer.Code != 503 || strings.Contains(answer.Body.String(), "route") {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	u.away = nil
	if answer := ask(t, handler, "/api/v1/status", bearer("alice-token")); answer.Code != 200 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestWrongTokensAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &users{}
		handler := public(t, u)
		ask(t, handler, "/api/v1/status", bearer("alice-token"))
		for i := range 50 {
			answer := ask(t, handler, "/api/v1/status", bearer(fmt.Sprint("guess ", i)))
			if want := map[bool]int{true: 401, false: 429}[i < wrongTokens]; answer.Code != want || (want == 429) != (answer.Header().Get("Retry-After") != "") {
				t.Fatalf("guess %d: %d", i, answer.Code)
			}
		}
		if u.count() > 1+wrongTokens {
			t.Errorf("the API server was asked %d times", u.count())
		}
		if answer := ask(t, handler, "/api/v1/status", bearer("alice-token")); answer.Code != 200 {
			t.Errorf("who was let in before is kept out: %d", answer.Code)
		}
		elsewhere := func(r *http.Request) { r.RemoteAddr = "198.51.100.9:1" }
		if answer := ask(t, handler, "/metrics", bearer("alice-token"), elsewhere); answer.Code != 200 {
			t.Errorf("another address is kept out: %d", answer.Code)
		}
		time.Sleep(wrongTokenInterval)
		if answer := ask(t, handler, "/metrics", bearer("scraper-token")); answer.Code != 200 {
			t.Errorf("it is for ever: %d", answer.Code)
		}
	})
}

func TestVerdictsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verdicts{keep: time.Minute}
		key := func(i int) (k [32]byte) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
		for i := range 3 * mostVerdicts {
			v.put(key(i), verdict{user: "u"})
		}
		if _, ok := v.get(key(3*mostVerdicts - 1)); len(v.byKey) > mostVerdicts || !ok {
			t.Errorf("%d verdicts, the last one among them: %v", len(v.byKey), ok)
		}
	})
}

// Many at once with one token are one question.
func TestOneQuestionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		g := newGuard(func(context.Context, string, view.Access) (string, bool, error) {
			asked++
			time.Sleep(time.Second)
			return "alice", true, nil
		}, nil, slog.New(slog.DiscardHandler))
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
				if i == 0 {
					r = r.WithContext(gone)
				}
				v, err := g.judge(r, "alice-token", view.AccessRecords)
				if !v.allowed && (i != 0 || !errors.Is(err, context.Canceled)) {
					t.Errorf("%d: %v %v", i, v, err)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func fromBrowser(r *http.Request) { r.Header.Set("Accept", "text/html,application/xhtml+xml") }

// post is a form that a browser sends.
func post(t *testing.T, handler http.Handler, target string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, do := range change {
		do(request)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func TestABrowserSignsIn(t *testing.T) {
	handler := public(t, &users{})
	answer := ask(t, handler, "/pipelines?x=1", fromBrowser)
	if to := answer.Header().Get("Location"); answer.Code != http.StatusSeeOther || to != "/sign-in?next=%2Fpipelines%3Fx%3D1" {
		t.Fatalf("%d %s", answer.Code, to)
	}
	page := ask(t, handler, answer.Header().Get("Location"), fromBrowser)
	for _, want := range []string{`name="next" value="/pipelines?x=1"`, `type="password"`, "who may get records"} {
		if page.Code != 200 || !strings.Contains(page.Body.String(), want) {
			t.Errorf("%d: there is no %s in %s", page.Code, want, page.Body)
		}
	}
	if policy := page.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	for token, want := range map[string]string{"": "400 Paste a token", "nobody": "401 The cluster does not know this token", "bob-token": "403 bob may not get records."} {
		answer := post(t, handler, "/sign-in", url.Values{"token": {token}, "next": {"/x"}})
		status, text, _ := strings.Cut(want, " ")
		if fmt.Sprint(answer.Code) != status || !strings.Contains(answer.Body.String(), text) || len(answer.Result().Cookies()) > 0 || !strings.Contains(answer.Body.String(), `value="/x"`) {
			t.Errorf("%s: %d %s", token, answer.Code, answer.Body)
		}
		if token != "" && strings.Contains(answer.Body.String(), "nobody") {
			t.Errorf("the token is on the page: %s", answer.Body)
		}
	}
	in := post(t, handler, "/sign-in", url.Values{"token": {" alice-token\n"}, "next": {"/pipelines?x=1"}})
	if in.Code != http.StatusSeeOther || in.Header().Get("Location") != "/pipelines?x=1" || len(in.Result().Cookies()) != 1 {
		t.Fatalf("%d %v", in.Code, in.Header())
	}
	c := in.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 0 || c.Secure || c.Domain != "" {
		t.Errorf("the cookie is %s", c)
	}
	with := func(r *http.Request) { r.AddCookie(c) }
	if answer := ask(t, handler, "/api/v1/status", with); answer.Code != 200 {
		t.Errorf("the cookie does not let in: %d", answer.Code)
	}
	if answer := ask(t, handler, "/api/v1/status", with, bearer("nobody")); answer.Code != 401 {
		t.Errorf("a wrong bearer is let in by the cookie: %d", answer.Code)
	}
	if page := ask(t, handler, "/sign-in", with); !strings.Contains(page.Body.String(), "signed in as <strong>alice</strong>") {
		t.Errorf("it does not say who: %s", page.Body)
	}
	if answer := ask(t, handler, "/sign-in?next=/x", with); answer.Header().Get("Location") != "/x" {
		t.Errorf("who has signed in is asked again: %d", answer.Code)
	}
	out := post(t, handler, "/sign-out", nil, with)
	if out.Code != http.StatusSeeOther || len(out.Result().Cookies()) != 1 || out.Result().Cookies()[0].MaxAge >= 0 || out.Result().Cookies()[0].Name != c.Name {
		t.Errorf("%d %v", out.Code, out.Header())
	}
	if answer := ask(t, handler, "/", fromBrowser, func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: cookie(r, "bob-token", 0).Value})
	}); answer.Code != 403 || !strings.Contains(answer.Body.String(), "bob may not get records") || !strings.Contains(answer.Body.String(), "Sign out") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// Over TLS the cookie is for TLS alone, and browsers hold the name to it.
func TestCookieOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(public(t, &users{}))
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.PostForm(server.URL+"/sign-in", url.Values{"token": {"alice-token"}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if c := answer.Cookies(); len(c) != 1 || !c[0].Secure || !strings.HasPrefix(c[0].Name, "__Host-") {
		t.Errorf("%d %v", answer.StatusCode, c)
	}
}

func TestFormsOfOtherSites(t *testing.T) {
	handler := public(t, &users{})
	for name, change := range map[string]func(*http.Request){
		"another site": header("Sec-Fetch-Site", "cross-site"),
		"a sibling":    header("Sec-Fetch-Site", "same-site"),
		"an older browser": func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example.com")
		},
		"a page of no site": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
	} {
		for _, path := range []string{"/sign-in", "/sign-out"} {
			answer := post(t, handler, path, url.Values{"token": {"alice-token"}}, change)
			if answer.Code != 403 || len(answer.Result().Cookies()) > 0 {
				t.Errorf("%s, %s: %d", name, path, answer.Code)
			}
		}
	}
	large := post(t, handler, "/sign-in", url.Values{"token": {strings.Repeat("a", 1<<20)}})
	if large.Code != 400 {
		t.Errorf("a large form: %d", large.Code)
	}
}

// A link in a chat leads to the page for whoever has signed in: the cookie is not sent with the first request.
func TestALinkFromElsewhere(t *testing.T) {
	handler := public(t, &users{})
	answer := ask(t, handler, `/pipelines?x="><script>`, fromBrowser, header("Sec-Fetch-Site", "cross-site"))
	if answer.Code != 200 || !strings.Contains(answer.Body.String(), `content="0;url=/sign-in?next=%2Fpipelines%3Fx%3D`) || strings.Contains(answer.Body.String(), "<script") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestLocalPath(t *testing.T) {
	for next, want := range map[string]string{
		"/pipelines?x=1": "/pipelines?x=1", "": "/", "/": "/", "//evil.example.com": "/", "https://evil.example.com": "/", `/\evil.example.com`: "/",
		"/\t/evil.example.com": "/", "javascript:alert(1)": "/", "/sign-in?next=/": "/", "/sign-out": "/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q: %q", next, got)
		}
	}
}
