package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The password that hostile registries are sent, in no error.
const canary = "c4nary-passw0rd"

// tight are limits that a test meets quickly.
var tight = Limits{RequestsPerLookup: 30, Redirects: 3, TagPages: 5, TagBytes: 1 << 20, ManifestBytes: 1 << 20, Signatures: 5}

// hostile is a registry that does what a test says, and counts.
type hostile struct {
	*httptest.Server
	host     string
	requests atomic.Int32
	sent     atomic.Int64
}

func beHostile(t *testing.T, does http.HandlerFunc) *hostile {
	t.Helper()
	h := &hostile{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		does(&weighed{w, &h.sent}, r)
	}))
	t.Cleanup(h.Close)
	h.host = strings.TrimPrefix(h.URL, "http://")
	return h
}

type weighed struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *weighed) Write(b []byte) (int, error) {
	w.sent.Add(int64(len(b)))
	return w.ResponseWriter.Write(b)
}

// knows makes a registry with credentials for a host.
func knows(t *testing.T, host string, limits Limits) *Registry {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	file := filepath.Join(t.TempDir(), "config.json")
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("bob:"+canary)))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := NewRegistry([]Host{{Name: host, PlainHTTP: true, CredentialsFile: file}}, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.delay = time.Millisecond
	return r
}

// wanting is a registry that wants a password, and then does what a test says below /v2/.
func wanting(does http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/v2/" {
			return
		}
		does(w, r)
	}
}

// bearer is a registry with a token service of its own.
func bearer(token, does http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/token") {
			token(w, r)
			return
		}
		if does == nil || r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/v2/" {
			does(w, r)
		}
	}
}

func gives(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"token": %q}`, token) }
}

func redirects(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// endless repeats a text until nobody listens.
func endless(first, text string) http.HandlerFunc {
	block := strings.Repeat(text, max(1, 64<<10/len(text)))
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, first)
		for r.Method != http.MethodHead { // whose answer has no body, and no reader
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}
}

// manifestOf answers GET with a body under a name, and HEAD not at all.
func manifestOf(kind, named string, content http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", kind)
		if named != "" {
			w.Header().Set("Docker-Content-Digest", named)
		}
		content(w, r)
	}
}

const ociImage = "application/vnd.oci.image.manifest.v1+json"

// Each hostile registry fails its question alone: the error says why and is one of those that leave what runs, no
// credentials are in it, few requests are sent, and little is read.
func TestHostileRegistries(t *testing.T) {
	const mostSent = 16 << 20 // with what the buffers of connections hold
	other := "sha256:" + strings.Repeat("a", 64)
	digest := func(t *testing.T, r *Registry, host string) error {
		got, err := r.Digest(t.Context(), host+"/team/web:1")
		if err == nil {
			err = r.Confirm(t.Context(), host+"/team/web:1", got)
		}
		return err
	}
	tags := func(t *testing.T, r *Registry, host string) error {
		_, err := r.Tags(t.Context(), host+"/team/web")
		return err
	}
	for name, c := range map[string]struct {
		does     http.HandlerFunc
		ask      func(t *testing.T, r *Registry, host string) error
		want     error
		says     string
		requests int32
	}{
		"a redirect to itself":         {wanting(redirects("/v2/team/web/manifests/1?token=" + canary)), digest, ErrLimit, "registryLimits.redirects", 12},
		"a redirect of the first page": {redirects("/v2/?token=" + canary), digest, ErrLimit, "redirects more than 3 times", 12},
		"a redirect to metadata":       {wanting(redirects("http://169.254.169.254/latest?token=" + canary)), digest, ErrUnavailable, "169.254.169.254", 6},
		"a first page at metadata":     {redirects("http://169.254.169.254/"), digest, ErrUnavailable, "where clouds keep credentials", 6},
		"a redirect with a password":   {wanting(redirects("http://bob:" + canary + "@127.0.0.1:1/x?sig=" + canary)), digest, ErrUnavailable, "refused", 30},
		"a redirect to nothing":        {wanting(redirects("http://[")), digest, ErrUnavailable, "no address", 6},
		"a token service in a loop":    {bearer(redirects("/token?sig="+canary), nil), digest, ErrLimit, "redirects more than 3 times", 12},
		"a token service elsewhere":    {realm("http://169.254.169.254/token"), digest, ErrUnavailable, "private or link-local", 4},
		"a token service in a file":    {realm("file:///etc/passwd"), digest, ErrUnavailable, "realm", 4},
		"a token that never suffices":  {bearer(gives("abcdef"), nil), digest, ErrDenied, "", 12},
		"a token that is none":         {bearer(says(200, `{"tokn": "`+canary+`"}`), nil), digest, ErrUnavailable, "no token", 6},
		"an endless token":             {bearer(endless(`{"token": "`, "x"), nil), digest, ErrUnavailable, "65536 byte limit", 6},
		"an endless first page":        {endless("", "x"), digest, ErrLimit, "manifestBytes", 12},
		"an endless refusal":           {wanting(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); endless("", "no ")(w, r) }), digest, ErrDenied, "", 12},
		"an endless failure":           {wanting(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless("", "no ")(w, r) }), digest, ErrUnavailable, "", 30},
		"a wish to be asked in a year": {wanting(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "31536000")
			w.WriteHeader(429)
		}), digest, ErrUnavailable, "", 6},
		"an error that quotes":          {wanting(quotes), digest, ErrUnavailable, "quotes the credentials", 12},
		"a refusal that quotes a token": {bearer(gives("s3cret-t0ken"), quotes), digest, ErrUnavailable, "quotes the credentials", 12},
		"an error in colours":           {wanting(says(400, `{"errors": [{"code": "X", "message": "\u001b[31mred\nline `+strings.Repeat("y", 5000)+`"}]}`)), digest, ErrUnavailable, "red", 12},
		"an endless manifest":           {wanting(manifestOf(ociImage, other, endless("{", " "))), digest, ErrLimit, "registryLimits.manifestBytes", 6},
		"one without a name":            {wanting(manifestOf(ociImage, "", endless("{", " "))), digest, ErrLimit, "registryLimits.manifestBytes", 6},
		"an index of 100,000":           {wanting(manifestOf("application/vnd.oci.image.index.v1+json", "", says(200, index(100_000)))), digest, ErrLimit, "1 MiB", 6},
		"a manifest that inflates":      {wanting(manifestOf(ociImage, other, inflates(64<<20))), digest, ErrLimit, "manifestBytes", 6},
		"another digest":                {wanting(manifestOf(ociImage, other, says(200, "{}"))), digest, ErrMismatch, other, 6},
		"a digest that is not provable": {wanting(manifestOf("application/vnd.docker.distribution.manifest.v1+prettyjws", other, says(200, "{}"))), digest, ErrUnavailable, "schema 1", 6},
		"a header without an end":       {wanting(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }), digest, ErrUnavailable, "", 30},
		"tags without an end":           {wanting(endless(`{"tags": [`, `"tag",`)), tags, ErrLimit, "registryLimits.tagBytes", 6},
		"tags that inflate":             {wanting(inflates(64 << 20)), tags, ErrLimit, "registryLimits.tagBytes", 6},
		"pages without an end":          {wanting(pages("x")), tags, ErrLimit, "registryLimits.tagPages", 12},
		"large pages":                   {wanting(pages(strings.Repeat("x", 300<<10))), tags, ErrLimit, "registryLimits.tagBytes", 12},
		"a page at another host": {wanting(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<http://169.254.169.254/>; rel="next"`)
			fmt.Fprint(w, `{"tags": []}`)
		}), tags, ErrUnavailable, "", 12},
	} {
		t.Run(name, func(t *testing.T) {
			h := beHostile(t, c.does)
			r := knows(t, h.host, tight)
			var err error
			if n := allocated(func() { err = c.ask(t, r, h.host) }); n > 48<<20 {
				t.Errorf("%d bytes were asked for", n)
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "s3cret") || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 1000) {
				t.Errorf("the error %q", err)
			}
			if n := h.requests.Load(); n > c.requests {
				t.Errorf("%d requests", n)
			}
			if n := h.sent.Load(); n > mostSent {
				t.Errorf("the registry could send %d bytes", n)
			}
		})
	}
}

// quotes answers with what it was sent.
func quotes(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"errors": [{"code": "X", "message": "wrong: %s %s"}]}`, r.Header.Get("Authorization"), password)
}

func realm(of string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+of+`",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func pages(tag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%sx>; rel="next"`, r.URL.Path, r.URL.Query().Get("last")))
		fmt.Fprintf(w, `{"tags": [%q]}`, tag)
	}
}

func index(n int) string {
	one := fmt.Sprintf(`{"mediaType": %q, "digest": "sha256:%s", "size": 2}`, ociImage, strings.Repeat("a", 64))
	return `{"schemaVersion": 2, "manifests": [` + strings.Repeat(one+",", n-1) + one + `]}`
}

// inflates answers with a text that is small on the way.
func inflates(size int) http.HandlerFunc {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = io.WriteString(w, `{"tags": [`+strings.Repeat(`"x",`, size/16)+strings.Repeat(" ", size/2)+`"x"]}`)
	_ = w.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body.Bytes())
	}
}

func allocated(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A redirect to another host is followed, as to a mirror or a storage, and takes no credentials along; two hosts that
// redirect to each other end as well.
func TestRedirectsToOtherHosts(t *testing.T) {
	var leaked atomic.Bool
	var to string
	elsewhere := beHostile(t, func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(leaked.Load() || r.Header.Get("Authorization") != "")
		if to != "" {
			redirects(to)(w, r)
			return
		}
		w.Header().Set("Content-Type", ociImage)
		w.Header().Set("Docker-Content-Digest", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
		w.Header().Set("Content-Length", "2")
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "{}")
		}
	})
	h := beHostile(t, wanting(func(w http.ResponseWriter, r *http.Request) { redirects(elsewhere.URL+r.URL.Path)(w, r) }))
	r := knows(t, h.host, tight)
	reference := h.host + "/team/web:1"
	got, err := r.Digest(t.Context(), reference)
	if err == nil {
		err = r.Confirm(t.Context(), reference, got)
	}
	if err != nil {
		t.Error(err)
	}
	to = h.URL + "/v2/team/web/manifests/1"
	if _, err := r.Digest(t.Context(), reference); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
	if leaked.Load() {
		t.Error("credentials went to another host")
	}
	if n := h.requests.Load() + elsewhere.requests.Load(); n > 24 {
		t.Errorf("%d requests", n)
	}
}

// A host has a rate, which look-ups wait for or name when they cannot.
func TestRequestsPerMinute(t *testing.T) {
	h := beHostile(t, says(http.StatusNotFound, ""))
	limits := tight
	limits.RequestsPerMinute = 6
	r := knows(t, h.host, limits)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var err error
	for range 5 {
		if _, err = r.Digest(ctx, h.host+"/team/web:1"); errors.Is(err, ErrLimit) {
			break
		}
	}
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "6 requests a minute") || !strings.Contains(err.Error(), "registryLimits.requestsPerMinute") {
		t.Errorf("error %v", err)
	}
	if n := h.requests.Load(); n > 3 {
		t.Errorf("%d requests", n)
	}
}

// Signatures are looked at up to a number.
func TestTooManySignatures(t *testing.T) {
	layer := `{"mediaType": "x", "digest": "sha256:` + strings.Repeat("a", 64) + `", "size": 2, "annotations": {"dev.cosignproject.cosign/signature": "eHg="}}`
	list := `{"schemaVersion": 2, "mediaType": "` + ociImage + `", "config": ` + layer + `, "layers": [` + strings.Repeat(layer+",", 9) + layer + `]}`
	h := beHostile(t, wanting(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ociImage)
		fmt.Fprint(w, list)
	}))
	_, key := newKey(t)
	err := knows(t, h.host, tight).Verify(t.Context(), h.host+"/team/web", "sha256:"+strings.Repeat("b", 64), key)
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "more than 5 signatures") || h.requests.Load() > 4 {
		t.Errorf("%d requests, %v", h.requests.Load(), err)
	}
}

// Addresses where clouds keep credentials are reached only where the configuration has them.
func TestLinkLocalAddresses(t *testing.T) {
	for _, c := range []struct {
		address string
		hosts   []Host
		refused bool
	}{
		{"169.254.169.254:80", nil, true}, {"[fe80::1]:80", nil, true}, {"[::ffff:169.254.169.254]:80", nil, true}, {"10.0.0.1:443", nil, false},
		{"169.254.20.10:5000", []Host{{Name: "169.254.20.10:5000"}}, false}, {"169.254.20.10:5000", []Host{{Mirror: "169.254.20.10:5000"}}, false},
	} {
		if err := notLinkLocal(c.hosts)("tcp", c.address, nil); (err != nil) != c.refused {
			t.Errorf("%s: %v", c.address, err)
		}
	}
}
