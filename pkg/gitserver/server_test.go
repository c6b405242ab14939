package gitserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/syncerdev/syncer/internal/lab"
)

// filled makes a repository with one commit and returns the hash of that.
func filled(t *testing.T, in lab.Repositories) string {
	t.Helper()
	if err := in.Create(t.Context(), "repo"); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", in.Path("repo")}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		cmd.Stdin = strings.NewReader("")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	commit := git("commit-tree", "-m", "first", git("mktree"))
	git("update-ref", "refs/heads/main", commit)
	return commit
}

func serverAt(t *testing.T, url string, auth Auth, failed func(error)) *Server {
	t.Helper()
	place, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	if failed == nil {
		failed = func(err error) { t.Errorf("tried again after %v", err) }
	}
	s := New(place, auth, failed)
	s.Limits.backoff = time.Millisecond
	t.Cleanup(s.Close)
	return s
}

// list returns the commit of main, as the server lists it.
func list(ctx context.Context, s *Server) (main string, err error) {
	err = s.Call(ctx, func(_ context.Context, c *Conn) error {
		main = c.Advertised().References["refs/heads/main"].String()
		return nil
	})
	return main, err
}

// pack receives the pack of a commit and returns its size.
func pack(ctx context.Context, c *Conn, commit string) (size int64, err error) {
	return size, c.Fetch(ctx, func(adv *packp.AdvRefs) (*packp.UploadPackRequest, error) {
		adv.Capabilities.Delete(capability.Sideband)
		adv.Capabilities.Delete(capability.Sideband64k)
		request := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
		request.Wants = []plumbing.Hash{plumbing.NewHash(commit)}
		return request, nil
	}, func(answer *packp.UploadPackResponse, _ *packp.UploadPackRequest) error {
		size, err = io.Copy(io.Discard, answer)
		return err
	})
}

// twice receives a pack two times in one call: a session gives one pack.
func twice(t *testing.T, s *Server, commit string) {
	t.Helper()
	err := s.Call(t.Context(), func(ctx context.Context, c *Conn) error {
		for range 2 {
			if size, err := pack(ctx, c, commit); err != nil || size == 0 {
				t.Errorf("a pack of %d bytes, %v", size, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHTTPS(t *testing.T) {
	server, err := lab.StartGitHTTP(t.Context(), lab.GitOptions{Dir: t.TempDir(), Username: "bob", Password: "s3cret", TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	commit := filled(t, server.Repositories)
	auth := Auth{Username: "bob", PasswordFile: file(t, "s3cret\n"), CAFile: server.CAFile}
	s := serverAt(t, server.URL("repo"), auth, nil)
	if got, err := list(t.Context(), s); err != nil || got != commit {
		t.Fatalf("main is at %s, %v; want %s", got, err, commit)
	}
	twice(t, s, commit)
	for _, c := range []struct {
		name string
		url  string
		auth Auth
		want error
		says string
	}{
		{"a user with a token", server.URL("repo"), Auth{Username: "bob", TokenFile: file(t, "s3cret"), CAFile: server.CAFile}, nil, ""},
		{"credentials in the url", server.CloneURL("repo"), Auth{CAFile: server.CAFile}, nil, ""},
		{"no credentials", server.URL("repo"), Auth{CAFile: server.CAFile}, ErrAuth, "set passwordFile or tokenFile"},
		{"a bearer token", server.URL("repo"), Auth{TokenFile: file(t, "other"), CAFile: server.CAFile}, ErrAuth, "the token in"},
		{"a wrong password", server.URL("repo"), Auth{Username: "bob", PasswordFile: file(t, "other"), CAFile: server.CAFile}, ErrAuth, "the user name with the password in"},
		{"wrong credentials in the url", strings.Replace(server.CloneURL("repo"), "s3cret", "other", 1), Auth{CAFile: server.CAFile}, ErrAuth, "the credentials in the url"},
		{"an empty password", server.URL("repo"), Auth{Username: "bob", PasswordFile: file(t, " \n"), CAFile: server.CAFile}, errAny, "is empty"},
		{"no such file", server.URL("repo"), Auth{TokenFile: "/none", CAFile: server.CAFile}, os.ErrNotExist, "reading tokenFile"},
		{"an unknown authority", server.URL("repo"), Auth{Username: "bob", PasswordFile: file(t, "s3cret")}, ErrTLS, "name its file in caFile"},
		{"an authority that is none", server.URL("repo"), Auth{CAFile: file(t, "x")}, errAny, "holds no PEM certificate"},
		{"no such authority", server.URL("repo"), Auth{CAFile: "/none"}, os.ErrNotExist, "reading caFile"},
		{"another repository", server.URL("other"), auth, ErrRepositoryNotFound, "hidden from these credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := list(t.Context(), serverAt(t, c.url, c.auth, nil))
			check(t, err, c.want, c.says)
		})
	}
}

var errAny = errors.New("any error")

func check(t *testing.T, err, want error, says string) {
	t.Helper()
	switch {
	case want == nil:
		if err != nil {
			t.Errorf("%v", err)
		}
	case err == nil || want != errAny && !errors.Is(err, want) || !strings.Contains(err.Error(), says):
		t.Errorf("%v, want %v that says %q", err, want, says)
	case strings.Contains(err.Error(), "s3cret"):
		t.Errorf("the error gives away the password: %v", err)
	}
}

func TestSSH(t *testing.T) {
	// No t.Parallel: SSH_AUTH_SOCK changes.
	t.Setenv("SSH_AUTH_SOCK", "")
	server, err := lab.StartGitSSH(t.Context(), lab.SSHOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	commit := filled(t, server.Repositories)
	auth := Auth{SSHKeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}
	s := serverAt(t, server.URL("repo"), auth, nil)
	if got, err := list(t.Context(), s); err != nil || got != commit {
		t.Fatalf("main is at %s, %v; want %s", got, err, commit)
	}
	twice(t, s, commit)
	for _, c := range []struct {
		name string
		url  string
		auth Auth
		want error
		says string
	}{
		{"an unknown host", server.URL("repo"), Auth{SSHKeyFile: server.KeyFile, KnownHostsFile: file(t, "")}, ErrHostKey, "add the line that ssh-keyscan prints"},
		{"no known hosts", server.URL("repo"), Auth{SSHKeyFile: server.KeyFile, KnownHostsFile: "/none"}, ErrHostKey, "name a file in knownHostsFile"},
		{"no key", server.URL("repo"), Auth{KnownHostsFile: server.KnownHosts}, ErrAuth, "set sshKeyFile, or start an ssh agent"},
		{"a key that is none", server.URL("repo"), Auth{SSHKeyFile: file(t, "x"), KnownHostsFile: server.KnownHosts}, errAny, "is not a private key"},
		{"no such key", server.URL("repo"), Auth{SSHKeyFile: "/none", KnownHostsFile: server.KnownHosts}, os.ErrNotExist, "reading sshKeyFile"},
		{"another repository", server.URL("other"), auth, ErrRepositoryNotFound, "the server says"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := list(t.Context(), serverAt(t, c.url, c.auth, nil))
			check(t, err, c.want, c.says)
		})
	}
	t.Run("an agent that does not answer", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", "/none")
		_, err := list(t.Context(), serverAt(t, server.URL("repo"), Auth{KnownHostsFile: server.KnownHosts}, nil))
		check(t, err, ErrAuth, "the ssh agent does not answer")
	})
}

// An error that may pass is tried again, and each try but the last is passed to failed.
func TestTriesAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		failed int
		says   string
	}{
		{http.StatusBadGateway, 3, "the server answered 502 Bad Gateway"},
		{http.StatusTooManyRequests, 3, "the server answered 429"},
		{http.StatusTeapot, 0, "the server answered 418"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }))
		t.Cleanup(server.Close)
		failed := 0
		s := serverAt(t, server.URL, Auth{}, func(error) { failed++ })
		_, err := list(t.Context(), s)
		if check(t, err, ErrUnreachable, c.says); failed != c.failed {
			t.Errorf("%d: %d failed tries, want %d", c.status, failed, c.failed)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	s := serverAt(t, server.URL, Auth{}, nil)
	s.Limits.List = 20 * time.Millisecond
	_, err := list(t.Context(), s)
	check(t, err, ErrUnreachable, "no answer within 20ms")
}
