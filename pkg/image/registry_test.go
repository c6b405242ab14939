package image

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/syncerdev/syncer/pkg/pacing"
)

// recorder is a handler that remembers its requests and lets a test answer in its place.
type recorder struct {
	next   http.Handler
	before func(w http.ResponseWriter, r *http.Request) (answered bool)

	mu       sync.Mutex
	requests []string
}

func (h *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	h.mu.Unlock()
	if h.before != nil && h.before(w, r) {
		return
	}
	h.next.ServeHTTP(w, r)
}

// manifests counts the requests for manifests, by method.
func (h *recorder) manifests() (heads, gets int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, request := range h.requests {
		method, path, _ := strings.Cut(request, " ")
		if strings.Contains(path, "/manifests/") && method == http.MethodHead {
			heads++
		} else if strings.Contains(path, "/manifests/") {
			gets++
		}
	}
	return heads, gets
}

// serve starts a registry that holds team/web:1, and returns its host and the image's digest.
func serve(t *testing.T) (h *recorder, host, want string) {
	t.Helper()
	h = &recorder{next: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	push(t, host+"/team/web:1", img)
	sum, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.requests = nil
	h.mu.Unlock()
	return h, host, sum.String()
}

func push(t *testing.T, reference string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
}

// quick prepares look-ups that do not wait long between their tries, and an empty docker configuration.
func quick(t *testing.T, hosts ...Host) *Registry {
	t.Helper()
	if os.Getenv("DOCKER_CONFIG") == "" || !strings.HasPrefix(os.Getenv("DOCKER_CONFIG"), os.TempDir()) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
	}
	r, err := NewRegistry(hosts, Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.delay = time.Millisecond
	return r
}

func TestDigestCostsOneHead(t *testing.T) {
	h, host, want := serve(t)
	got, err := quick(t).Digest(t.Context(), host+"/team/web:1")
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if heads, gets := h.manifests(); heads != 1 || gets != 0 {
		t.Errorf("%d HEAD and %d GET", heads, gets)
	}
}

func TestGetWhereHeadGivesNothing(t *testing.T) {
	for reason, before := range map[string]func(http.ResponseWriter){
		"405": func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"400": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
		"no digest": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
		},
		"wrong digest": func(w http.ResponseWriter) {
			w.Header().Set("Docker-Content-Digest", "x")
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			h, host, want := serve(t)
			h.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodHead {
					return false
				}
				before(w)
				return true
			}
			got, err := quick(t).Digest(t.Context(), host+"/team/web:1")
			if err != nil || got != want {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
			if heads, gets := h.manifests(); heads != 1 || gets != 1 {
				t.Errorf("%d HEAD and %d GET", heads, gets)
			}
		})
	}
}

func TestIndexDigestOfSeveralPlatforms(t *testing.T) {
	_, host, _ := serve(t)
	amd, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
	)
	tag, err := name.NewTag(host + "/team/multi:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := quick(t).Digest(t.Context(), host+"/team/multi:1"); err != nil || got != want.String() {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestNoTagIsLatest(t *testing.T) {
	_, host, _ := serve(t)
	push(t, host+"/team/web:latest", empty.Image)
	want, err := empty.Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := quick(t).Digest(t.Context(), host+"/team/web"); err != nil || got != want.String() {
		t.Errorf("%s, %v", got, err)
	}
}

// Three errors that a user acts on in three ways, told apart by errors.Is; each names the reference.
func TestThreeErrors(t *testing.T) {
	answer := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(status)
				return true
			}
			return false
		}
	}
	for reason, c := range map[string]struct {
		before    func(http.ResponseWriter, *http.Request) bool
		reference string
		want      error
		tries     int // for manifests, HEAD and GET
	}{
		"no such tag":        {nil, "team/web:2", ErrNotFound, 2},
		"no such repository": {nil, "team/nothing:1", ErrNotFound, 2},
		"unauthorized":       {answer(401), "team/web:1", ErrDenied, 2},
		"forbidden":          {answer(403), "team/web:1", ErrDenied, 2},
		"server error":       {answer(500), "team/web:1", ErrUnavailable, pacing.FailuresToOpen}, // then the host is left alone
		"too many requests":  {answer(429), "team/web:1", ErrUnavailable, 10},
		"teapot":             {answer(418), "team/web:1", ErrUnavailable, 2},
	} {
		t.Run(reason, func(t *testing.T) {
			h, host, _ := serve(t)
			h.before = c.before
			_, err := quick(t).Digest(t.Context(), host+"/"+c.reference)
			for _, sentinel := range []error{ErrNotFound, ErrDenied, ErrUnavailable} {
				if errors.Is(err, sentinel) != (sentinel == c.want) {
					t.Errorf("%v; is %q: %t", err, sentinel, errors.Is(err, sentinel))
				}
			}
			if err == nil || !strings.Contains(err.Error(), "resolving "+host+"/"+c.reference+": ") {
				t.Errorf("the reference is not named: %v", err)
			}
			if heads, gets := h.manifests(); heads+gets != c.tries {
				t.Errorf("asked %d+%d times, want %d", heads, gets, c.tries)
			}
		})
	}
}

func TestRegistryThatIsDown(t *testing.T) {
	const host = "127.0.0.1:1" // nothing listens there
	_, err := quick(t).Digest(t.Context(), host+"/team/web:1")
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), host+"/team/web:1") {
		t.Errorf("got %v", err)
	}
}

func TestRegistryThatHangsIsLeft(t *testing.T) {
	h, host, _ := serve(t)
	release := make(chan struct{})
	h.before = func(http.ResponseWriter, *http.Request) bool { <-release; return false }
	defer close(release)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("no answer within 20ms"))
	defer cancel()
	if _, err := quick(t).Digest(ctx, host+"/team/web:1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	gone, leave := context.WithCancelCause(t.Context())
	leave(errors.New("the daemon ends"))
	if _, err := quick(t).Digest(gone, host+"/team/web:1"); errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the daemon ends") {
		t.Errorf("a cancelled look-up blames the registry: %v", err)
	}
}

func TestTransientAnswersAreTriedAgain(t *testing.T) {
	for reason, fail := range map[string]func(http.ResponseWriter){
		"503": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
		"reset": func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_ = conn.(*net.TCPConn).SetLinger(0) // so that closing it is a reset
			conn.Close()
		},
		"closed": func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			conn.Close()
		},
	} {
		t.Run(reason, func(t *testing.T) {
			h, host, want := serve(t)
			var mu sync.Mutex
			failures := 3
			h.before = func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if failures == 0 || !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				failures--
				fail(w)
				return true
			}
			if got, err := quick(t).Digest(t.Context(), host+"/team/web:1"); err != nil || got != want {
				t.Errorf("%s, %v", got, err)
			}
			if heads, gets := h.manifests(); heads != 4 || gets != 0 {
				t.Errorf("%d HEAD and %d GET", heads, gets)
			}
		})
	}
}

// dockerConfig writes a config.json with one login.
func dockerConfig(t *testing.T, host, user, password string) string {
	t.Helper()
	login := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	data, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": login}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// basic asks for a password.
func basic(user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestCredentials(t *testing.T) {
	const canary = "pass-canary-77"
	t.Run("of the docker configuration", func(t *testing.T) {
		h, host, want := serve(t)
		h.before = basic("svc", canary)
		t.Setenv("DOCKER_CONFIG", filepath.Dir(dockerConfig(t, host, "svc", canary)))
		if got, err := quick(t).Digest(t.Context(), host+"/team/web:1"); err != nil || got != want {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("of a file for the host, before the docker configuration", func(t *testing.T) {
		h, host, want := serve(t)
		h.before = basic("svc", canary)
		t.Setenv("DOCKER_CONFIG", filepath.Dir(dockerConfig(t, host, "svc", "wrong")))
		file := dockerConfig(t, host, "svc", canary)
		r := quick(t, Host{Name: host, CredentialsFile: file})
		if got, err := r.Digest(t.Context(), host+"/team/web:1"); err != nil || got != want {
			t.Errorf("%s, %v", got, err)
		}
		// The file is read again at each look-up, so that credentials can be rotated.
		if err := os.Rename(dockerConfig(t, host, "svc", "other"), file); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrDenied) {
			t.Errorf("the old password is kept: %v", err)
		}
	})
	t.Run("of another host are not sent", func(t *testing.T) {
		h, host, _ := serve(t)
		h.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != "" {
				t.Error("credentials were sent")
			}
			return basic("svc", canary)(w, r)
		}
		r := quick(t, Host{Name: "registry.example.com", CredentialsFile: dockerConfig(t, "registry.example.com", "svc", canary)})
		if _, err := r.Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrDenied) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("that are wrong stand in no error", func(t *testing.T) {
		h, host, _ := serve(t)
		h.before = basic("svc", "right")
		login := base64.StdEncoding.EncodeToString([]byte("svc:" + canary))
		_, err := quick(t, Host{Name: host, CredentialsFile: dockerConfig(t, host, "svc", canary)}).Digest(t.Context(), host+"/team/web:1")
		if !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), login) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("that cannot be read", func(t *testing.T) {
		h, host, _ := serve(t)
		broken := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(broken, []byte(`{"auths": {"`+canary+`"`), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{broken, filepath.Join(t.TempDir(), "nothing.json")} {
			_, err := quick(t, Host{Name: host, CredentialsFile: file}).Digest(t.Context(), host+"/team/web:1")
			if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v", err)
			}
		}
		if heads, gets := h.manifests(); heads+gets != 0 {
			t.Errorf("asked all the same: %d HEAD, %d GET", heads, gets)
		}
	})
}

// A token server that throttles gets the whole request again, body included.
func TestTokenRequestIsRepeatedWithItsBody(t *testing.T) {
	h, host, want := serve(t)
	var bodies []string
	token := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(body))
		if len(bodies) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"access_token": "granted"}`)
	}
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			token(w, r)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer granted" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+host+`/token",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: {"auth": %q, "identitytoken": "identity"}}}`, host, base64.StdEncoding.EncodeToString([]byte("<token>:x"))), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := quick(t, Host{Name: host, CredentialsFile: file}).Digest(t.Context(), host+"/team/web:1")
	if err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if len(bodies) != 3 || bodies[0] != bodies[2] || !strings.Contains(bodies[2], "refresh_token=identity") {
		t.Errorf("the token server got %q", bodies)
	}
}

func TestQueriesStandInNoError(t *testing.T) {
	err := classify(t.Context(), &url.Error{Op: "Get", URL: "https://store.example.com/blob?X-Signature=canary&x=y", Err: syscall.ECONNREFUSED})
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "store.example.com/blob") {
		t.Errorf("got %v", err)
	}
}

// What a registry says may be anything.
func TestDiagnosisIsOneLineOfText(t *testing.T) {
	h, host, _ := serve(t)
	h.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"errors": [{"code": "DENIED", "message": "a\nb\u001b[31m\u0007 %s"}]}`, strings.Repeat("ü", longestDiagnosis))
		return true
	}
	_, err := quick(t).Digest(t.Context(), host+"/team/web:1")
	if text := fmt.Sprint(err); !errors.Is(err, ErrDenied) || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || !strings.Contains(text, "DENIED: a b [31m ü") {
		t.Errorf("got %q", text)
	}
}

func TestMirrorIsAskedInPlaceOfTheHost(t *testing.T) {
	h, host, want := serve(t)
	h.before = basic("svc", "secret")
	r := quick(t, Host{Name: "registry.example.com", Mirror: host, CredentialsFile: dockerConfig(t, host, "svc", "secret")})
	got, err := r.Digest(t.Context(), "registry.example.com/team/web:1")
	if err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := r.Digest(t.Context(), "registry.example.com/team/web:2"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "resolving registry.example.com/team/web:2") {
		t.Errorf("the reference that git writes is not named: %v", err)
	}
}

func TestDockerHubByMirror(t *testing.T) {
	_, host, _ := serve(t)
	push(t, host+"/library/busybox:1", empty.Image)
	want, err := empty.Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, registry := range []string{"docker.io", "index.docker.io"} {
		if got, err := quick(t, Host{Name: registry, Mirror: host}).Digest(t.Context(), "busybox:1"); err != nil || got != want.String() {
			t.Errorf("%s: %s, %v", registry, got, err)
		}
	}
}

func TestOwnCA(t *testing.T) {
	h := &recorder{next: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewTLSServer(h)
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	host := strings.TrimPrefix(server.URL, "https://")
	tag, err := name.NewTag(host + "/team/web:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, empty.Image, remote.WithTransport(server.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := quick(t, Host{Name: host, CAFile: ca}).Digest(t.Context(), tag.String()); err != nil {
		t.Error(err)
	}
	if _, err := quick(t, Host{Name: "registry.example.com", Mirror: host, CAFile: ca}).Digest(t.Context(), "registry.example.com/team/web:1"); err != nil {
		t.Errorf("by mirror: %v", err)
	}
	if _, err := quick(t).Digest(t.Context(), tag.String()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an unknown CA was trusted: %v", err)
	}
	for _, file := range []string{"/nowhere.pem", os.Args[0]} {
		if _, err := NewRegistry([]Host{{Name: host, CAFile: file}}, Limits{}, nil); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A host that is not a loopback one is reached over plain http only where the configuration says so.
func TestPlainHTTP(t *testing.T) {
	_, host, want := serve(t)
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	to := func(r *Registry) *Registry {
		base := http.DefaultTransport.(*http.Transport).Clone()
		base.Proxy = nil
		base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, host)
		}
		r.transport = hostTransport{otherwise: base}
		return r
	}
	reference := "registry.example.com:" + port + "/team/web:1"
	if got, err := to(quick(t, Host{Name: "registry.example.com:" + port, PlainHTTP: true})).Digest(t.Context(), reference); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := to(quick(t)).Digest(t.Context(), reference); !errors.Is(err, ErrUnavailable) {
		t.Errorf("spoke http unasked: %v", err)
	}
}

func TestBadHostIsAnError(t *testing.T) {
	if _, err := NewRegistry([]Host{{Name: "https://registry.example.com/x"}}, Limits{}, nil); err == nil {
		t.Error("a URL was taken for a host")
	}
}

func TestLocate(t *testing.T) {
	r := quick(t,
		Host{Name: "registry.example.com", Mirror: "mirror.example.com:5000"},
		Host{Name: "docker.io", Mirror: "hub.example.com"},
		Host{Name: "plain.example.com", PlainHTTP: true},
	)
	for reference, want := range map[string]string{
		"registry.example.com/team/web:1":           "https://mirror.example.com:5000/team/web:1",
		"registry.example.com/team/web":             "https://mirror.example.com:5000/team/web:latest",
		"registry.example.com/team/web@" + digest:   "https://mirror.example.com:5000/team/web@" + digest,
		"registry.example.com/team/web:1@" + digest: "https://mirror.example.com:5000/team/web@" + digest,
		"busybox@" + digest:                         "https://hub.example.com/library/busybox@" + digest,
		"docker.io/team/web:1":                      "https://hub.example.com/team/web:1",
		"plain.example.com/web:1":                   "http://plain.example.com/web:1",
		"registry.example.com:443/team/web:1":       "https://mirror.example.com:5000/team/web:1",
		"Registry.example.com/team/web:1":           "https://mirror.example.com:5000/team/web:1",
		"registry-1.docker.io/team/web:1":           "https://hub.example.com/team/web:1",
		"plain.example.com:80/web:1":                "http://plain.example.com/web:1",
		"other.example.com/web:1@" + digest:         "https://other.example.com/web@" + digest,
	} {
		at, err := r.locate(reference)
		if err != nil {
			t.Errorf("%s: %v", reference, err)
			continue
		}
		if got := at.Context().Scheme() + "://" + at.Name(); got != want {
			t.Errorf("%s: %s, want %s", reference, got, want)
		}
	}
	if _, err := r.locate("registry.example.com/UPPER:1"); err == nil {
		t.Error("a reference that is none was taken")
	}
}

// The digest of a reference by digest is itself, as long as the registry has it.
func TestExistenceOfADigest(t *testing.T) {
	h, host, want := serve(t)
	direct, mirrored := quick(t), quick(t, Host{Name: "registry.example.com", Mirror: host})
	for _, c := range []struct {
		r         *Registry
		reference string
	}{{direct, host + "/team/web@" + want}, {direct, host + "/team/web:moved@" + want}, {mirrored, "registry.example.com/team/web@" + want}} {
		if got, err := c.r.Digest(t.Context(), c.reference); err != nil || got != want {
			t.Errorf("%s: %s, %v", c.reference, got, err)
		}
	}
	if heads, gets := h.manifests(); heads != 3 || gets != 0 {
		t.Errorf("%d HEAD and %d GET", heads, gets)
	}
	for _, c := range []struct {
		r    *Registry
		host string
	}{{direct, host}, {mirrored, "registry.example.com"}} {
		if _, err := c.r.Digest(t.Context(), c.host+"/team/web@"+digest); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "resolving "+c.host+"/team/web@"+digest) {
			t.Errorf("a digest that is gone: %v", err)
		}
	}
}

func TestTags(t *testing.T) {
	_, host, _ := serve(t)
	for _, tag := range []string{"v1.0.0", "v1.1.0", "main"} {
		push(t, host+"/team/web:"+tag, empty.Image)
	}
	for name, c := range map[string]struct {
		r          *Registry
		repository string
	}{
		"of the host":   {quick(t), host + "/team/web"},
		"of its mirror": {quick(t, Host{Name: "registry.example.com", Mirror: host}), "registry.example.com/team/web"},
	} {
		tags, err := c.r.Tags(t.Context(), c.repository)
		if got := strings.Join(tags, " "); err != nil || got != "1 main v1.0.0 v1.1.0" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if tag, err := NewLookup(c.r).Highest(t.Context(), c.repository, "v1.x"); err != nil || tag != "v1.1.0" {
			t.Errorf("%s: the highest is %s, %v", name, tag, err)
		}
	}
	if _, err := quick(t).Tags(t.Context(), host+"/team/nothing"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "listing the tags of "+host+"/team/nothing: ") {
		t.Errorf("got %v", err)
	}
}

// A list of tags in several pages is read to its end.
func TestTagsInPages(t *testing.T) {
	h, host, _ := serve(t)
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		if r.URL.Query().Get("last") == "" {
			w.Header().Set("Link", `</v2/team/web/tags/list?last=v1.0.0>; rel="next"`)
			fmt.Fprint(w, `{"name": "team/web", "tags": ["v1.0.0"]}`)
		} else {
			fmt.Fprint(w, `{"name": "team/web", "tags": ["v1.1.0"]}`)
		}
		return true
	}
	tags, err := quick(t).Tags(t.Context(), host+"/team/web")
	if got := strings.Join(tags, " "); err != nil || got != "v1.0.0 v1.1.0" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestThousandTargetsCostOneLookupPerReference(t *testing.T) {
	h, host, want := serve(t)
	for i := range 50 {
		h.next.ServeHTTP(httptest.NewRecorder(), copied(t, h, i))
	}
	lookup := NewLookup(quick(t))
	var targets sync.WaitGroup
	for i := range 1000 {
		targets.Go(func() {
			reference := fmt.Sprintf("%s/team/web:r%d", host, i%50)
			if got, err := lookup.Digest(t.Context(), reference); err != nil || got != want {
				t.Errorf("%s: %s, %v", reference, got, err)
			}
		})
	}
	targets.Wait()
	if heads, gets := h.manifests(); heads != 50 || gets != 0 {
		t.Errorf("%d HEAD and %d GET for 50 references", heads, gets)
	}
}

// copied is the request that gives team/web:1 one more tag.
func copied(t *testing.T, h *recorder, i int) *http.Request {
	t.Helper()
	got := httptest.NewRecorder()
	h.next.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/v2/team/web/manifests/1", nil))
	put := httptest.NewRequest(http.MethodPut, fmt.Sprintf("/v2/team/web/manifests/r%d", i), got.Body)
	put.Header.Set("Content-Type", got.Header().Get("Content-Type"))
	return put
}

// A registry that asks for a long rest is left alone for a while, and a look-up says until when.
func TestLookupSaysWhenAHostWantsToBeAskedAgain(t *testing.T) {
	h, host, _ := serve(t)
	h.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	r := quick(t)
	for _, want := range []string{"429", "it wants to be asked again at ", "it wants to be asked again at "} {
		if _, err := r.Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) != 1 {
		t.Errorf("asked %v", h.requests)
	}
}

// Many look-ups at a registry that is down cost a few requests, and say what happens next.
func TestRegistryThatIsDownIsNotAskedByEveryTarget(t *testing.T) {
	h, host, _ := serve(t)
	h.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }
	r := quick(t)
	for range 20 {
		if _, err := r.Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	_, err := r.Digest(t.Context(), host+"/team/web:1")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), pacing.ErrRests.Error()) {
		t.Errorf("got %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) != pacing.FailuresToOpen {
		t.Errorf("%d requests", len(h.requests))
	}
}
