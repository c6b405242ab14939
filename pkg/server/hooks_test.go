package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const hookSecret = "hook-canary-51c2"

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func secretFile(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hook posts a webhook, and says whether it woke the daemon.
func hook(handler http.Handler, wakes chan struct{}, name string, body io.Reader, change ...func(*http.Request)) (answer *httptest.ResponseRecorder, woke bool) {
	request := httptest.NewRequest(http.MethodPost, "/hooks/"+name, body)
	for _, do := range change {
		do(request)
	}
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	select {
	case <-wakes:
		return answer, true
	default:
		return answer, false
	}
}

func newTestHooks(file string) (http.Handler, chan struct{}) {
	wakes := make(chan struct{}, 1)
	return newHooks(file, func() { wakes <- struct{}{} }, slog.New(slog.DiscardHandler)), wakes
}

func TestHooks(t *testing.T) {
	file := secretFile(t, hookSecret+"\n")
	body := []byte(`{"ref":"refs/heads/main"}`)
	right, wrong := signature(hookSecret, body), signature("another", body)
	none := func(*http.Request) {}
	for name, c := range map[string]struct {
		hook   string
		change func(*http.Request)
		want   int
	}{
		"github":        {"github", header("X-Hub-Signature-256", "sha256="+right), 202},
		"generic":       {"generic", header("X-Hub-Signature-256", "sha256="+right), 202},
		"bitbucket":     {"bitbucket", header("X-Hub-Signature", "sha256="+right), 202},
		"gitea":         {"gitea", header("X-Gitea-Signature", right), 202},
		"gitlab":        {"gitlab", header("X-Gitlab-Token", hookSecret), 202},
		"large letters": {"gitea", header("X-Gitea-Signature", strings.ToUpper(right)), 202},
		"a ping of github": {"github", func(r *http.Request) {
			header("X-Hub-Signature-256", "sha256="+right)(r)
			header("X-GitHub-Event", "ping")(r)
		}, 200},
		"a push of github": {"github", func(r *http.Request) {
			header("X-Hub-Signature-256", "sha256="+right)(r)
			header("X-GitHub-Event", "push")(r)
		}, 202},
		"a ping of bitbucket": {"bitbucket", func(r *http.Request) {
			header("X-Hub-Signature", "sha256="+right)(r)
			header("X-Event-Key", "diagnostics:ping")(r)
		}, 200},
		"a ping that is not signed":      {"github", header("X-GitHub-Event", "ping"), 403},
		"no signature":                   {"github", none, 403},
		"no token":                       {"gitlab", none, 403},
		"an empty token":                 {"gitlab", header("X-Gitlab-Token", ""), 403},
		"another token":                  {"gitlab", header("X-Gitlab-Token", hookSecret+"x"), 403},
		"the beginning of the token":     {"gitlab", header("X-Gitlab-Token", hookSecret[:4]), 403},
		"another secret":                 {"github", header("X-Hub-Signature-256", "sha256="+wrong), 403},
		"another hash":                   {"github", header("X-Hub-Signature-256", "sha1="+right), 403},
		"the prefix alone":               {"github", header("X-Hub-Signature-256", "sha256="), 403},
		"the signature alone":            {"github", header("X-Hub-Signature-256", right), 403},
		"half a signature":               {"gitea", header("X-Gitea-Signature", right[:32]), 403},
		"no hexadecimal":                 {"gitea", header("X-Gitea-Signature", strings.Repeat("z", 64)), 403},
		"the header of another":          {"gitea", header("X-Hub-Signature-256", "sha256="+right), 403},
		"the secret itself":              {"github", header("X-Hub-Signature-256", hookSecret), 403},
		"a signature of an empty secret": {"github", header("X-Hub-Signature-256", "sha256="+signature("", body)), 403},
		"a look":                         {"github", func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"a host that is not known":       {"sourcehut", header("X-Hub-Signature-256", "sha256="+right), 404},
		"no host":                        {"", none, 404},
		"something below":                {"github/x", header("X-Hub-Signature-256", "sha256="+right), 404},
	} {
		handler, wakes := newTestHooks(file)
		answer, woke := hook(handler, wakes, c.hook, bytes.NewReader(body), c.change)
		if answer.Code != c.want || woke != (c.want == 202) {
			t.Errorf("%s: %d, and woke: %t: %s", name, answer.Code, woke, answer.Body)
		}
		if strings.Contains(answer.Body.String(), hookSecret) || strings.Contains(answer.Body.String(), right) {
			t.Errorf("%s: the answer gives away too much: %s", name, answer.Body)
		}
	}
}

// A body that is left unread makes HTTP/2 reset the stream, which looks like a failure to some git hosts.
func TestHooksReadTheBody(t *testing.T) {
	handler, wakes := newTestHooks(secretFile(t, hookSecret))
	text := `{"ref":"refs/heads/main"}`
	for name, head := range map[string]func(*http.Request){
		"gitlab":  header("X-Gitlab-Token", hookSecret),
		"generic": header("X-Hub-Signature-256", "sha256="+signature(hookSecret, []byte(text))),
	} {
		body := strings.NewReader(text)
		if answer, woke := hook(handler, wakes, name, body, head); answer.Code != 202 || !woke || body.Len() != 0 {
			t.Errorf("%s: status %d, woke %t, %d bytes of the body unread", name, answer.Code, woke, body.Len())
		}
	}
}

func TestHooksFollowTheSecret(t *testing.T) {
	body := []byte("{}")
	signed := func(secret string) func(*http.Request) {
		return header("X-Hub-Signature-256", "sha256="+signature(secret, body))
	}
	handler, wakes := newTestHooks("")
	if answer, woke := hook(handler, wakes, "github", bytes.NewReader(body), signed("")); answer.Code != 404 || woke || !strings.Contains(answer.Body.String(), "server.webhookSecretFile") {
		t.Errorf("without a secret: %d %s", answer.Code, answer.Body)
	}
	file := secretFile(t, "\n")
	handler, wakes = newTestHooks(file)
	for _, step := range []struct {
		secret, sign string
		want         int
	}{{"\n", "", 503}, {"", "", 503}, {"one\n", "one", 202}, {"two", "one", 403}, {"two", "two", 202}, {"three\r\n", "three", 202}, {"a b ", "a b ", 202}} {
		if err := os.WriteFile(file, []byte(step.secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if answer, woke := hook(handler, wakes, "github", bytes.NewReader(body), signed(step.sign)); answer.Code != step.want || woke != (step.want == 202) {
			t.Errorf("%q signed with %q: %d %s", step.secret, step.sign, answer.Code, answer.Body)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if answer, woke := hook(handler, wakes, "github", bytes.NewReader(body), signed("")); answer.Code != 503 || woke || strings.Contains(answer.Body.String(), file) {
		t.Errorf("without the file: %d %s", answer.Code, answer.Body)
	}
}

// endless gives a body of some length and counts what is read of it.
type endless struct{ left, read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	e.left, e.read = e.left-n, e.read+n
	return n, nil
}

func TestLargeHooks(t *testing.T) {
	handler, wakes := newTestHooks(secretFile(t, hookSecret))
	body := bytes.Repeat([]byte("x"), largestHook)
	if answer, woke := hook(handler, wakes, "gitea", bytes.NewReader(body), header("X-Gitea-Signature", signature(hookSecret, body))); answer.Code != 202 || !woke {
		t.Errorf("the largest: %d", answer.Code)
	}
	body = append(body, 'x')
	signed := header("X-Gitea-Signature", signature(hookSecret, body))
	if answer, woke := hook(handler, wakes, "gitea", bytes.NewReader(body), signed); answer.Code != 413 || woke {
		t.Errorf("one byte more: %d", answer.Code)
	}
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	if answer, woke := hook(handler, wakes, "gitea", bytes.NewReader(body), signed, chunked); answer.Code != 413 || woke {
		t.Errorf("one byte more that was not announced: %d", answer.Code)
	}
	for name, change := range map[string]func(*http.Request){"signed": signed, "not signed": func(*http.Request) {}} {
		for _, length := range []int64{10 << 20, -1} {
			large := &endless{left: 10 << 20}
			answer, woke := hook(handler, wakes, "gitea", large, change, func(r *http.Request) { r.ContentLength = length })
			if answer.Code/100 != 4 || woke || large.read > largestHook+64<<10 {
				t.Errorf("%s, announced as %d: %d after %d bytes", name, length, answer.Code, large.read)
			}
		}
	}
}

// Ten megabytes each, many times over, and none of it stays.
func TestHooksKeepNothing(t *testing.T) {
	file := secretFile(t, hookSecret)
	wakes := make(chan struct{}, 1)
	signed := header("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	round := func() {
		handler := newHooks(file, func() { wakes <- struct{}{} }, slog.New(slog.DiscardHandler)) // with the limits as new
		for range hookBurst {
			answer, woke := hook(handler, wakes, "github", &endless{left: 10 << 20}, signed, func(r *http.Request) { r.ContentLength = -1 })
			if answer.Code != 413 || woke {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
		}
	}
	memory := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	round()
	before := memory()
	const rounds = 3
	for range rounds {
		round()
	}
	after := memory()
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 1<<20 {
		t.Errorf("%d bytes are kept", kept)
	}
	if each := (after.TotalAlloc - before.TotalAlloc) / (rounds * hookBurst); each > 100<<10 {
		t.Errorf("%d bytes for each", each)
	}
}

func TestHooksAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, wakes := newTestHooks(secretFile(t, hookSecret))
		token := header("X-Gitlab-Token", hookSecret)
		for i := range 2 * hookBurst {
			answer, woke := hook(handler, wakes, "gitlab", nil, token)
			if want := map[bool]int{true: 202, false: 429}[i < hookBurst]; answer.Code != want || woke != (want == 202) {
				t.Fatalf("%d: %d", i, answer.Code)
			}
		}
		let := 0
		for i := range 2 * allHooksBurst { // one each from many
			answer, _ := hook(handler, wakes, "gitlab", nil, func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:1", i/200, i%200) })
			if answer.Code != 429 {
				let++
			} else if answer.Header().Get("Retry-After") == "" {
				t.Fatal("it does not say when to come back")
			}
		}
		if let != allHooksBurst-hookBurst {
			t.Errorf("%d of many were looked at", let)
		}
		time.Sleep(hookInterval)
		if answer, woke := hook(handler, wakes, "gitlab", nil, token); answer.Code != 202 || !woke {
			t.Errorf("later: %d", answer.Code)
		}
	})
}

// Whoever does not have the secret gets an error of his own making, and wakes nobody.
func FuzzHooks(f *testing.F) {
	for name, forge := range forges {
		f.Add(name, http.MethodPost, forge.header, forge.prefix+strings.Repeat("0", 64), forge.ping[0], forge.ping[1], []byte("{}"))
	}
	f.Add("github", http.MethodGet, "X-Hub-Signature-256", "sha256=zz", "X-GitHub-Event", "ping", []byte{})
	f.Add("../api/v1/status", http.MethodPost, "X-Gitlab-Token", "", "Content-Length", "-1", []byte("x"))
	file := secretFile(f, hookSecret)
	f.Fuzz(func(t *testing.T, name, method, key, value, key2, value2 string, body []byte) {
		handler, wakes := newTestHooks(file)
		request := httptest.NewRequest(http.MethodPost, "/hooks/x", bytes.NewReader(body))
		request.URL.Path, request.Method = "/hooks/"+name, method
		request.Header[http.CanonicalHeaderKey(key)] = []string{value}
		request.Header[http.CanonicalHeaderKey(key2)] = []string{value2}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		forged := value == hookSecret || value2 == hookSecret
		if answer.Code/100 != 4 && !forged {
			t.Errorf("status %d", answer.Code)
		}
		if len(wakes) > 0 && !forged {
			t.Error("it woke the daemon")
		}
	})
}

// What somebody signed who has the secret wakes, whatever it says.
func FuzzSignedHooks(f *testing.F) {
	f.Add("github", []byte(`{"ref":"refs/heads/main"}`))
	f.Add("gitea", []byte{})
	f.Add("bitbucket", []byte{0xff, 0})
	f.Add("generic", []byte("not JSON"))
	f.Add("gitlab", []byte("not JSON"))
	file := secretFile(f, hookSecret)
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		forge, ok := forges[name]
		if !ok || len(body) > largestHook {
			return
		}
		value := forge.prefix + signature(hookSecret, body)
		if forge.secretItself {
			value = hookSecret
		}
		handler, wakes := newTestHooks(file)
		if answer, woke := hook(handler, wakes, name, bytes.NewReader(body), header(forge.header, value)); answer.Code != 202 || !woke {
			t.Errorf("status %d", answer.Code)
		}
	})
}
