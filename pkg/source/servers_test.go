package source_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/syncerdev/syncer/pkg/source"
)

// repo is a work tree that a test commits to.
type repo struct {
	t     testing.TB
	dir   string
	grown int
}

// newRepo makes an empty repository with the branch main, in its own folder.
func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "repo")}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "main")
	return r
}

// git runs the git program and returns what it prints.
func (r *repo) git(args ...string) string {
	r.t.Helper()
	return r.feed("", args...)
}

func (r *repo) feed(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(tool(r.t, "git", "git"), args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Bot", "GIT_COMMITTER_EMAIL=bot@example.com")
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit writes one file and commits everything.
func (r *repo) commit(name, content string) string {
	r.t.Helper()
	r.write(name, content)
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "change "+name)
	return r.git("rev-parse", "HEAD")
}

// grow adds many commits to the end of main, quickly. Each writes its number
// into the file count.
func (r *repo) grow(n int) string {
	r.t.Helper()
	var in strings.Builder
	r.grown++
	for i := range n {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Bot <bot@example.com> %d +0000\ndata 7\ngrow %02d\n", 1700000000+i, r.grown)
		if i == 0 {
			if head, err := exec.Command("git", "-C", r.dir, "rev-parse", "-q", "--verify", "refs/heads/main").Output(); err == nil {
				fmt.Fprintf(&in, "from %s", head)
			}
		}
		text := strconv.Itoa(i)
		fmt.Fprintf(&in, "M 644 inline count\ndata %d\n%s\n", len(text), text)
	}
	r.feed(in.String(), "fast-import", "--quiet", "--force")
	r.git("reset", "-q", "--hard", "main")
	return r.git("rev-parse", "main")
}

func tool(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: these tests need the real one: apt-get install %s", name, debian)
	}
	return path
}

// httpServer is git http-backend, with a count of what was asked and a gate
// that may refuse.
type httpServer struct {
	*httptest.Server
	lists, packs atomic.Int32
	sent         atomic.Int64
	gate         atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func serveHTTP(t testing.TB, root string) *httpServer {
	t.Helper()
	s := newHTTPServer(t, root)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func newHTTPServer(t testing.TB, root string) *httpServer {
	t.Helper()
	out, err := exec.Command(tool(t, "git", "git"), "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Fatalf("git http-backend is missing (%v): these tests need the real one: apt-get install git", err)
	}
	handler := &cgi.Handler{
		Path:   backend,
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"},
		Stderr: new(bytes.Buffer),
	}
	s := &httpServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			s.lists.Add(1)
		} else {
			s.packs.Add(1)
		}
		if gate := s.gate.Load(); gate != nil && !(*gate)(w, r) {
			return
		}
		handler.ServeHTTP(&counter{w, &s.sent}, r)
	}))
	return s
}

type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

// guard sets what happens before git: false means that all was said.
func (s *httpServer) guard(gate func(http.ResponseWriter, *http.Request) bool) { s.gate.Store(&gate) }

// serve gives a repository an http server of its own.
func (r *repo) serve() (*httpServer, string) {
	r.t.Helper()
	s := serveHTTP(r.t, filepath.Dir(r.dir))
	return s, s.URL + "/repo/.git"
}

// refuse answers everything with a status.
func refuse(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return false
	}
}

// sshServer is sshd, started for each connection as inetd would.
type sshServer struct {
	addr   string
	host   ssh.PublicKey
	key    string // a private key that is let in
	hosts  string // a known_hosts file that has the server
	root   string
	conns  atomic.Int32
	listen net.Listener
}

func serveSSH(t testing.TB, root string, config ...string) *sshServer {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Fatal("sshd is missing: these tests need the real one: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatalf("sshd needs the folder /run/sshd: create it as root: %v", err)
	}
	dir := t.TempDir()
	s := &sshServer{root: root, key: filepath.Join(dir, "id"), hosts: filepath.Join(dir, "known_hosts")}
	s.host = writeKey(t, filepath.Join(dir, "host"))
	user := writeKey(t, s.key)
	write(t, filepath.Join(dir, "authorized_keys"), string(ssh.MarshalAuthorizedKey(user)))
	write(t, filepath.Join(dir, "config"), strings.Join(append([]string{
		"HostKey " + filepath.Join(dir, "host"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PermitRootLogin yes", "PermitUserEnvironment no", "LogLevel QUIET",
	}, append(config, "")...), "\n"))
	if s.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.addr = s.listen.Addr().String()
	write(t, s.hosts, knownhosts.Line([]string{s.addr}, s.host)+"\n")

	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := s.listen.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			running.Go(func() { oneSSH(t, sshd, filepath.Join(dir, "config"), conn) })
		}
	})
	t.Cleanup(func() {
		s.listen.Close()
		running.Wait()
	})
	return s
}

func oneSSH(t testing.TB, sshd, config string, conn net.Conn) {
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	cmd := exec.Command(sshd, "-i", "-f", config)
	cmd.Stdin, cmd.Stdout = file, file
	if err := cmd.Run(); err != nil {
		t.Logf("sshd: %v", err) // so it ends when the client hangs up
	}
}

func (s *sshServer) url(name string) string {
	return "ssh://" + me() + "@" + s.addr + filepath.Join(s.root, name)
}

func me() string {
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(out))
}

// writeKey makes a key pair and returns the public half.
func writeKey(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// secretFile makes a file as a mounted Secret has them.
func secretFile(t testing.TB, content string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "secret"), content+"\n")
}

func open(t testing.TB, opts source.Options) *source.Repository {
	t.Helper()
	r, err := source.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return r
}

func fetch(t testing.TB, r *source.Repository) source.Snapshot {
	t.Helper()
	snap, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}
