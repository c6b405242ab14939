package fault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

const body = "the answer of the server"

// through starts a server and a proxy in front of it, and returns a client of the proxy.
func through(t *testing.T, secure bool) (*Proxy, *http.Client, *atomic.Int64) {
	t.Helper()
	carried := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		carried.Add(1)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts, transport := Options{Target: target}, &http.Transport{ForceAttemptHTTP2: true}
	if secure {
		ca := filepath.Join(t.TempDir(), "ca.crt")
		if opts.TLS, err = lab.ServerTLS(ca); err != nil {
			t.Fatal(err)
		}
		pem, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	p, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p, &http.Client{Transport: transport}, carried
}

func get(ctx context.Context, client *http.Client, p *Proxy) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL(), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

func TestAnswersAndLosses(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for name, c := range map[string]struct {
			fault   Fault
			status  int // 0: no answer
			carried int64
		}{
			"none":        {func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }, 200, 1},
			"429":         {Answer(429, 900*time.Second), 429, 0},
			"dropped":     {Drop(), 0, 0},
			"lost answer": {LoseAnswer(), 0, 1},
			"late":        {Delay(time.Millisecond, 2*time.Millisecond), 200, 1},
			"another":     {Only(func(r *http.Request) bool { return r.Method == http.MethodPatch }, Drop()), 200, 1},
			"every":       {Some(1, 1, Drop()), 0, 0},
			"no share":    {Some(1, 0, Drop()), 200, 1},
		} {
			p, client, carried := through(t, secure)
			end := p.Inject(c.fault)
			// A GET whose connection breaks is sent again by net/http; a body that cannot be read twice prevents it.
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL(), io.NopCloser(strings.NewReader("x")))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			status := 0
			if err == nil {
				status = response.StatusCode
				_ = response.Body.Close()
			}
			if status != c.status || carried.Load() != c.carried {
				t.Errorf("%s (TLS: %t): status %d (%v), carried out %d times", name, secure, status, err, carried.Load())
			}
			end()
			if status, text, err := get(t.Context(), client, p); status != 200 || text != body || err != nil {
				t.Errorf("%s (TLS: %t), when it is over: %d %q %v", name, secure, status, text, err)
			}
		}
	}
}

// A client that waits for an answer, or for the rest of one, waits until the fault is over.
func TestSilence(t *testing.T) {
	for name, fault := range map[string]func(context.Context) Fault{
		"no answer":    Hold,
		"half of it":   func(ctx context.Context) Fault { return Silence(ctx, 5) },
		"drop by drop": func(ctx context.Context) Fault { return Trickle(ctx, 1, time.Hour) },
	} {
		p, client, _ := through(t, true)
		ctx, over := context.WithCancel(t.Context())
		p.Inject(fault(ctx))
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, text, err := get(short, client, p); !errors.Is(err, context.DeadlineExceeded) || len(text) > 5 {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		cancel()
		over()
		if _, text, err := get(t.Context(), client, p); text != body || err != nil {
			t.Errorf("%s, when it is over: %q %v", name, text, err)
		}
	}
}

// A forgotten connection accepts bytes and answers nothing; a new one is served.
func TestForget(t *testing.T) {
	for _, secure := range []bool{false, true} {
		p, client, carried := through(t, secure)
		if _, _, err := get(t.Context(), client, p); err != nil {
			t.Fatal(err)
		}
		p.Forget()
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, _, err := get(short, client, p); !errors.Is(err, context.DeadlineExceeded) || carried.Load() != 1 {
			t.Errorf("TLS: %t: on a forgotten connection: %v, carried out %d times", secure, err, carried.Load())
		}
		cancel()
		client.CloseIdleConnections()
		fresh := &http.Client{Transport: client.Transport.(*http.Transport).Clone()}
		if _, text, err := get(t.Context(), fresh, p); text != body || err != nil {
			t.Errorf("TLS: %t: on a new connection: %q %v", secure, text, err)
		}
		fresh.CloseIdleConnections()
	}
}

func TestRefuse(t *testing.T) {
	p, client, _ := through(t, false)
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(t.Context(), client, p); err == nil {
		t.Error("it answers")
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if _, text, err := get(t.Context(), client, p); text != body || err != nil {
		t.Errorf("when it is over: %q %v", text, err)
	}
}

func TestNth(t *testing.T) {
	for when, answered := range map[Moment]bool{Before: false, Done: false, Answered: true} {
		p, client, carried := through(t, true)
		did := new(atomic.Int64)
		p.Inject(Nth(2, when, func() { did.Store(carried.Load()) }))
		for i := range 3 {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL(), io.NopCloser(strings.NewReader("x")))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			if want := i != 1 || answered; (err == nil) != want {
				t.Errorf("%s: request %d: %v", when, i+1, err)
			}
		}
		if want := map[Moment]int64{Before: 1, Done: 2, Answered: 2}[when]; did.Load() != want {
			t.Errorf("%s: %d requests were carried out by then", when, did.Load())
		}
	}
}
