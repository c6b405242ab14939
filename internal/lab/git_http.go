package lab

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// GitOptions are the options for repositories over HTTP. Dir is required.
type GitOptions struct {
	Dir      string // folder of the repositories
	Username string // with Password the credentials of every request; empty: none
	Password string
	TLS      bool // serve https with a certificate of CAFile
}

// GitHTTP serves repositories by git's own http-backend.
type GitHTTP struct {
	Repositories
	CAFile string // with TLS, the PEM file of the authority a client must trust

	opts    GitOptions
	address string
	tls     *tls.Config
	backend *cgi.Handler
	log     *os.File // the error output of git

	serving sync.RWMutex // held by each request while its git process runs
	stopped bool         // guarded by serving

	mu     sync.Mutex
	server *http.Server // nil while down
	counts GitRequests
}

// GitRequests counts the requests of clients.
type GitRequests struct {
	Refs    int // lists of refs, for a fetch
	Fetches int // packs asked for; with protocol 2, lists of refs come here too
	Pushes  int // packs sent
	Refused int // without the right credentials
}

// StartGitHTTP serves the repositories of opts.Dir on a free port.
func StartGitHTTP(ctx context.Context, opts GitOptions) (*GitHTTP, error) {
	backend, err := httpBackend(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	g := &GitHTTP{Repositories: Repositories{dir}, opts: opts}
	if g.address, err = FreeAddress(); err != nil {
		return nil, err
	}
	if opts.TLS {
		g.CAFile = filepath.Join(dir, "ca.crt")
		if g.tls, err = ServerTLS(g.CAFile); err != nil {
			return nil, err
		}
	}
	if g.log, err = openLog(filepath.Join(dir, "http-backend.log")); err != nil {
		return nil, err
	}
	g.backend = &cgi.Handler{
		Path:   backend,
		Env:    append(gitEnvironment(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: g.log,
		Logger: log.New(g.log, "", log.LstdFlags),
	}
	if err := g.Down(false); err != nil {
		return nil, errors.Join(err, g.log.Close())
	}
	return g, nil
}

// httpBackend finds git's program for serving over HTTP.
func httpBackend(ctx context.Context) (string, error) {
	git, err := debianProgram("git", "git")
	if err != nil {
		return "", err
	}
	folder, err := exec.CommandContext(ctx, git, "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("asking git for its programs: %w", err)
	}
	return debianProgram("git-http-backend", "git", strings.TrimSpace(string(folder)))
}

// URL is a repository's address without credentials.
func (g *GitHTTP) URL(repo string) string { return g.location(repo).String() }

// CloneURL is a repository's address with credentials, as `git clone` takes it.
func (g *GitHTTP) CloneURL(repo string) string {
	location := g.location(repo)
	if g.opts.Username != "" {
		location.User = url.UserPassword(g.opts.Username, g.opts.Password)
	}
	return location.String()
}

func (g *GitHTTP) location(repo string) *url.URL {
	scheme := "http"
	if g.opts.TLS {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: g.address, Path: "/" + repo + ".git"}
}

// Requests returns the counts since the start.
func (g *GitHTTP) Requests() GitRequests {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// Down makes the server refuse connections, or serve again at the same address.
func (g *GitHTTP) Down(down bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if down == (g.server == nil) {
		return nil
	}
	if down {
		err := g.server.Close()
		g.server = nil
		return err
	}
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		return fmt.Errorf("serving git: %w", err)
	}
	if g.tls != nil {
		listener = tls.NewListener(listener, g.tls)
	}
	server := &http.Server{Handler: g, ErrorLog: g.backend.Logger}
	g.server = server
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			g.backend.Logger.Print(err)
		}
	}()
	return nil
}

// Stop ends the server and returns when its git processes are gone.
func (g *GitHTTP) Stop() error {
	err := g.Down(true)
	g.serving.Lock()
	defer g.serving.Unlock()
	if g.stopped {
		return err
	}
	g.stopped = true
	return errors.Join(err, g.log.Close())
}

// ServeHTTP counts a request and passes it to git.
func (g *GitHTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.serving.RLock()
	defer g.serving.RUnlock()
	if g.stopped {
		return
	}
	if !g.admits(r) {
		g.count(func(c *GitRequests) { c.Refused++ })
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "username and password needed", http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Query().Get("service") == "git-upload-pack":
		g.count(func(c *GitRequests) { c.Refs++ })
	case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		g.count(func(c *GitRequests) { c.Fetches++ })
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		g.count(func(c *GitRequests) { c.Pushes++ })
	}
	g.backend.ServeHTTP(w, r)
}

func (g *GitHTTP) admits(r *http.Request) bool {
	if g.opts.Username == "" {
		return true
	}
	username, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(username+"\x00"+password), []byte(g.opts.Username+"\x00"+g.opts.Password)) == 1
}

func (g *GitHTTP) count(add func(*GitRequests)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	add(&g.counts)
}
