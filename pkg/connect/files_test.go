package connect_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/connect"
)

// shared is a kubeconfig with a context for each token.
func shared(server func(i int) string, tokens ...string) string {
	var clusters, users, contexts strings.Builder
	for i, token := range tokens {
		fmt.Fprintf(&clusters, "- {name: c%d, cluster: {%s}}\n", i, server(i))
		fmt.Fprintf(&users, "- {name: u%d, user: {token: %s}}\n", i, token)
		fmt.Fprintf(&contexts, "- {name: x%d, context: {cluster: c%d, user: u%d}}\n", i, i, i)
	}
	return "apiVersion: v1\nkind: Config\ncurrent-context: x0\nclusters:\n" + clusters.String() + "users:\n" + users.String() + "contexts:\n" + contexts.String()
}

// Connections that share a kubeconfig have the credentials of their own context, and follow the file as one by itself does.
func TestContextsOfOneFile(t *testing.T) {
	t.Parallel()
	servers := []*apiServer{newServer(t, "first"), newServer(t, "second")}
	file, files := filepath.Join(t.TempDir(), "kubeconfig"), connect.NewFiles()
	at := func(i int) string {
		return fmt.Sprintf("server: %q, certificate-authority: %q", servers[i].URL, servers[i].ca)
	}
	put(t, file, shared(at, "first", "second"))
	configs := make([]*rest.Config, len(servers))
	for i := range servers {
		s, err := connect.Open(connect.Options{Kubeconfig: file, Context: fmt.Sprintf("x%d", i), Files: files})
		if err != nil {
			t.Fatal(err)
		}
		configs[i] = s.Config
		if err := get(t, s.Config); err != nil {
			t.Errorf("context x%d: %v", i, err)
		}
	}
	servers[1].accept("third")
	rename(t, file, shared(at, "first", "third"))
	status, err := ask(t, configs[1], http.MethodPost, "/written") // at once: the server refuses the old token
	if err != nil || status != http.StatusOK {
		t.Errorf("with the new token: %d, %v", status, err)
	}
	if err := get(t, configs[0]); err != nil {
		t.Errorf("the other context: %v", err)
	}
	if _, err := connect.Open(connect.Options{Kubeconfig: file, Context: "x2", Files: files}); err == nil || !strings.Contains(err.Error(), `context "x2" does not exist`) {
		t.Errorf("a context that the file does not have: %v", err)
	}
}

// BenchmarkOpen opens the connections to 300 clusters whose contexts one kubeconfig has.
func BenchmarkOpen(b *testing.B) {
	tokens := make([]string, 300)
	for i := range tokens {
		tokens[i] = fmt.Sprint("token-", i)
	}
	file := filepath.Join(b.TempDir(), "kubeconfig")
	text := shared(func(i int) string {
		return fmt.Sprintf("server: https://c%d.example.com, insecure-skip-tls-verify: true", i)
	}, tokens...)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		files := connect.NewFiles()
		for i := range tokens {
			if _, err := connect.Open(connect.Options{Kubeconfig: file, Context: fmt.Sprintf("x%d", i), Files: files}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
