package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// serving is a server of a test's own at a loopback address, and how it ends.
type serving struct {
	addr  string
	stop  context.CancelFunc
	ended <-chan error
	log   *safeBuffer
}

// safeBuffer is written by a server and read by its test.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func serve(t *testing.T, daemon Daemon, change ...func(*Options)) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	log, addr, ended := &safeBuffer{}, make(chan string, 1), make(chan error, 1)
	options := Options{
		Server:    v1alpha1.Server{Listen: "127.0.0.1:0"},
		Log:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listening: func(a net.Addr) { addr <- a.String() },
	}
	for _, do := range change {
		do(&options)
	}
	go func() { ended <- Serve(ctx, options, daemon) }()
	s := &serving{stop: stop, ended: ended, log: log}
	select {
	case s.addr = <-addr:
	case err := <-ended:
		stop()
		t.Fatalf("it does not listen: %v", err)
	}
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(2 * stopTimeout):
			t.Error("it does not end")
		}
	})
	return s
}

func get(t *testing.T, client *http.Client, target string, change ...func(*http.Request)) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range change {
		do(request)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// A page of another site cannot read what a browser's own machine serves by having its name lead there.
func TestOnlyItsOwnHostOnLoopback(t *testing.T) {
	s := serve(t, fullDaemon(), func(o *Options) { o.WebhookSecretFile = secretFile(t, hookSecret) })
	for name, want := range map[string]int{
		s.addr: 200, "localhost": 200, "localhost:9000": 200, "LocalHost": 200, "syncer.localhost:8080": 200, "127.0.0.2": 200, "[::1]:8080": 200, "[::1]": 200,
		"evil.example.com": 421, "evil.example.com:8080": 421, "localhost.example.com": 421, "127.0.0.1.example.com": 421, "192.0.2.7": 421, "notlocalhost": 421,
	} {
		if status, body := get(t, http.DefaultClient, "http://"+s.addr+"/api/v1/status", host(name)); status != want {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/hooks/github": 405, "/metrics": 421, "/": 421} {
		if status, _ := get(t, http.DefaultClient, "http://"+s.addr+path, host("10.1.2.3:8080")); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestOwnHostIsThatOfTheConfiguration(t *testing.T) {
	handler := ownHost("builder:8080", http.NotFoundHandler()) // a name in /etc/hosts
	for name, want := range map[string]int{"builder:8080": 404, "Builder": 404, "other": 421} {
		if answer := ask(t, handler, "/", host(name)); answer.Code != want {
			t.Errorf("%s: %d", name, answer.Code)
		}
	}
}

func TestWhatIsNotServed(t *testing.T) {
	no := func(t *testing.T, want string, change func(*Options)) {
		t.Helper()
		options := Options{Server: v1alpha1.Server{Listen: ":8080"}, Log: slog.New(slog.DiscardHandler)}
		change(&options)
		if _, _, err := newHandler(options, fullDaemon(), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
	no(t, "is not loopback", func(*Options) {})
	no(t, "--pprof with --insecure", func(o *Options) { o.Insecure, o.Pprof = true, true })
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	options := Options{Server: v1alpha1.Server{Listen: taken.Addr().String()}}
	if err := Serve(t.Context(), options, fullDaemon()); err == nil || !strings.Contains(err.Error(), "listening at "+options.Listen) {
		t.Errorf("an address that is taken: %v", err)
	}
	options.TLSCertFile, options.TLSKeyFile = "none.crt", "none.key"
	if err := Serve(t.Context(), options, fullDaemon()); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("no certificate: %v", err)
	}
}

func TestInsecureShowsEverything(t *testing.T) {
	handler := public(t, &users{}, func(o *Options) { o.Insecure, o.Allowed = true, nil })
	for path, want := range map[string]int{"/api/v1/status": 200, "/metrics": 200, "/sign-in": 404, "/debug/pprof/": 404} {
		if answer := ask(t, handler, path, host("syncer.example.com")); answer.Code != want {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
}

func TestProfilesAreAskedFor(t *testing.T) {
	without, with := serve(t, fullDaemon()), serve(t, fullDaemon(), func(o *Options) { o.Pprof = true })
	if status, _ := get(t, http.DefaultClient, "http://"+without.addr+"/debug/pprof/"); status != 404 {
		t.Errorf("without --pprof: %d", status)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if status, _ := get(t, http.DefaultClient, "http://"+with.addr+path); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// What is logged has no token, whether it was right or wrong and wherever it stood.
func TestTheLogHasNoTokens(t *testing.T) {
	log := &safeBuffer{}
	u := &users{}
	handler := public(t, u, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.WebhookSecretFile = secretFile(t, "other")
	})
	ask(t, handler, "/api/v1/status?token=canary-q", bearer("canary-a"))
	ask(t, handler, "/sign-in?next=/canary-n", fromBrowser, header("Cookie", "syncer="+cookie(httptest.NewRequest("GET", "/", nil), "canary-c", 0).Value))
	post(t, handler, "/sign-in", map[string][]string{"token": {"canary-f"}})
	post(t, handler, "/hooks/gitlab", nil, header("X-Gitlab-Token", "canary-h"))
	u.away = errors.New("no route to host")
	ask(t, handler, "/api/v1/status", bearer("canary-b"))
	text := log.String()
	if strings.Contains(text, "canary") || strings.Count(text, "msg=answered") != 5 || !strings.Contains(text, "no route to host") {
		t.Errorf("the log:\n%s", text)
	}
	if !strings.Contains(text, `level=INFO msg=answered method=POST path=/hooks/gitlab status=403`) || !strings.Contains(text, "level=DEBUG msg=answered method=GET path=/api/v1/status status=401") {
		t.Errorf("the log:\n%s", text)
	}
}

func TestAPanicIsAFailure(t *testing.T) {
	log := &safeBuffer{}
	handler := logged(slog.New(slog.NewTextHandler(log, nil)), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("at the disco") }))
	if answer := ask(t, handler, "/x"); answer.Code != 500 || strings.Contains(answer.Body.String(), "disco") || !strings.Contains(log.String(), "at the disco") {
		t.Errorf("%d %s\n%s", answer.Code, answer.Body, log)
	}
}

// slow is a daemon that is asked something and answers when it is told to.
type slow struct {
	*shown
	asked, answer chan struct{}
}

func (s *slow) Alive() error {
	close(s.asked)
	<-s.answer
	return nil
}

// An answer that has begun is finished when the daemon is told to stop, and nobody new is listened to.
func TestStopping(t *testing.T) {
	daemon := &slow{fullDaemon(), make(chan struct{}), make(chan struct{})}
	s := serve(t, daemon)
	answered := make(chan int, 1)
	go func() {
		answer, err := http.Get("http://" + s.addr + "/healthz")
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		answer.Body.Close()
		answered <- answer.StatusCode
	}()
	<-daemon.asked
	s.stop()
	for {
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			break // the test's own limit ends this where it never comes
		}
		conn.Close()
	}
	close(daemon.answer)
	if status := <-answered; status != 200 {
		t.Errorf("the answer was cut: %d", status)
	}
}

// A client that sends its header or its body a byte at a time does not hold a connection for ever.
func TestDeadlines(t *testing.T) {
	var read, write time.Time
	handler := hurried(http.NotFoundHandler())
	set := func(change ...func(*http.Request)) {
		request := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader("{}"))
		for _, do := range change {
			do(request)
		}
		handler.ServeHTTP(&deadlined{ResponseRecorder: httptest.NewRecorder(), read: &read, write: &write}, request)
	}
	set()
	if time.Until(read) > bodyTimeout || time.Until(read) <= 0 || time.Until(write) > writeTimeout || time.Until(write) <= 0 {
		t.Errorf("read until %s, write until %s", read, write)
	}
	set(header("Accept", "text/event-stream"))
	if !write.IsZero() {
		t.Errorf("a stream ends at %s", write)
	}
}

type deadlined struct {
	*httptest.ResponseRecorder
	read, write *time.Time
}

func (d *deadlined) SetReadDeadline(at time.Time) error  { *d.read = at; return nil }
func (d *deadlined) SetWriteDeadline(at time.Time) error { *d.write = at; return nil }

// pair writes a certificate for 127.0.0.1 with its key, as anybody can make one.
func pair(t *testing.T, folder string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "syncer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return certFile, keyFile, pool
}

func TestTLS(t *testing.T) {
	certFile, keyFile, pool := pair(t, t.TempDir(), 1)
	s := serve(t, fullDaemon(), func(o *Options) { o.TLSCertFile, o.TLSKeyFile = certFile, keyFile })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	if status, body := get(t, client, "https://"+s.addr+"/api/v1/daemon"); status != 200 || !strings.Contains(body, "syncer-0") {
		t.Errorf("%d %s", status, body)
	}
	_, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		t.Error("it speaks TLS 1.1")
	}
	if status, _ := get(t, http.DefaultClient, "http://"+s.addr+"/"); status != 400 {
		t.Errorf("plain HTTP: %d", status)
	}
}

// A Secret is mounted as a folder that a link leads to; the link is moved when the Secret changes.
func TestTheCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "data")
	mount := func(name string, serial int64) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if serial > 0 {
			pair(t, filepath.Join(dir, name), serial)
		}
		if err := os.Symlink(name, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	mount("one", 1)
	log := &safeBuffer{}
	c, err := openCertificate(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	serial := func(want int64) {
		t.Helper()
		c.mu.Lock()
		c.looked = time.Now().Add(-lookInterval) // the time to look has come
		c.mu.Unlock()
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := got.Leaf.SerialNumber.Int64(); n != want {
			t.Errorf("the certificate is number %d, not %d", n, want)
		}
	}
	serial(1)
	mount("two", 2)
	serial(2)
	mount("empty", 0)
	serial(2)
	serial(2)
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("it is said %d times that the pair is gone:\n%s", n, log)
	}
	mount("three", 3)
	serial(3)
	// The key comes after the certificate, as when somebody copies the files.
	mount("half", 4)
	if err := os.WriteFile(filepath.Join(dir, "half", "tls.key"), readFile(t, filepath.Join(dir, "three", "tls.key")), 0o600); err != nil {
		t.Fatal(err)
	}
	serial(3)
	if err := os.Remove(filepath.Join(dir, "half", "tls.key")); err != nil {
		t.Fatal(err)
	}
	pair(t, filepath.Join(dir, "half"), 5)
	serial(5)
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the key is in the log")
	}
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
