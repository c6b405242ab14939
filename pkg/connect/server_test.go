package connect_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/connect"
)

// apiServer answers requests that have one of its tokens, or the client certificate that it knows.
type apiServer struct {
	*httptest.Server
	ca string // the path of the certificate of its authority

	mu     sync.Mutex
	tokens []string
	client []byte                                            // the known client certificate; nil: none
	bodies []string                                          // of the requests that were let in
	users  []string                                          // that requests act as
	answer func(w http.ResponseWriter, r *http.Request) bool // answers a request that was let in; false: the server does
}

func newServer(t *testing.T, tokens ...string) *apiServer {
	t.Helper()
	s := &apiServer{tokens: tokens, ca: filepath.Join(t.TempDir(), "ca.crt")}
	settings, err := lab.ServerTLS(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	settings.ClientAuth = tls.RequestClientCert
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused certificate is what some tests want
	s.TLS = settings
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// accept replaces the tokens.
func (s *apiServer) accept(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = tokens
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	allowed := s.client != nil && len(r.TLS.PeerCertificates) > 0 && string(r.TLS.PeerCertificates[0].Raw) == string(s.client)
	for _, token := range s.tokens {
		allowed = allowed || r.Header.Get("Authorization") == "Bearer "+token
	}
	if allowed {
		s.bodies, s.users = append(s.bodies, string(body)), append(s.users, r.Header.Get("Impersonate-User"))
	}
	answer := s.answer
	s.mu.Unlock()
	switch {
	case !allowed:
		w.WriteHeader(http.StatusUnauthorized)
	case answer == nil || !answer(w, r):
		fmt.Fprint(w, "{}")
	}
}

// kubeconfig has the server, the way to trust it, and one user.
func kubeconfig(server, ca, user string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]\n"+
		"users: [{name: u, user: {%s}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", server, ca, user)
}

// open opens a connection by a kubeconfig.
func open(t *testing.T, file string) *rest.Config {
	t.Helper()
	server, err := connect.Open(connect.Options{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return server.Config
}

// ask sends a request, and returns the status and the error.
func ask(t *testing.T, config *rest.Config, method, path string) (int, error) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, strings.NewReader("content of "+path))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// get reads a path, and says whether it was let in.
func get(t *testing.T, config *rest.Config) error {
	t.Helper()
	status, err := ask(t, config, http.MethodGet, "/api")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the server answers %d", status)
	}
	return err
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantError checks that an error contains each part.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func pemOf(kind string, content []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
}
