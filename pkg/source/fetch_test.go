package source_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/source"
)

// holds checks the content of a file of a snapshot.
func holds(t testing.TB, snap source.Snapshot, name, want string) {
	t.Helper()
	got, err := fs.ReadFile(snap.Files, name)
	if err != nil {
		t.Errorf("%s at %.8s: %v", name, snap.Commit, err)
		return
	}
	if string(got) != want {
		t.Errorf("%s at %.8s: %q, want %q", name, snap.Commit, got, want)
	}
}

// fails checks that a fetch fails with a sentinel and says certain things.
func fails(t testing.TB, r *source.Repository, want error, says ...string) {
	t.Helper()
	_, err := r.Fetch(t.Context())
	isError(t, err, want, says...)
}

func isError(t testing.TB, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestFetchOverHTTP(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	first := origin.commit("app/base.yaml", "one")
	server, address := origin.serve()
	r := open(t, source.Options{URL: address, Branch: "main", CacheDir: t.TempDir()})

	snap := fetch(t, r)
	t.Run("the first fetch brings the newest commit", func(t *testing.T) {
		want := source.Snapshot{Commit: first, Author: "Ada <ada@example.com>", Subject: "change app/base.yaml", Message: "change app/base.yaml"}
		got := snap
		got.Files, got.Time = nil, time.Time{}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if when := origin.git("log", "-1", "--format=%ct"); strconv.FormatInt(snap.Time.Unix(), 10) != when {
			t.Errorf("time %s, want %s", snap.Time, when)
		}
		holds(t, snap, "app/base.yaml", "one")
	})

	t.Run("a ref that did not move costs one listing and gives the same snapshot", func(t *testing.T) {
		lists, packs := server.lists.Load(), server.packs.Load()
		if again := fetch(t, r); again != snap {
			t.Errorf("another snapshot: %+v", again)
		}
		if n := server.lists.Load() - lists; n != 1 {
			t.Errorf("%d listings, want 1", n)
		}
		if n := server.packs.Load() - packs; n != 0 {
			t.Errorf("%d fetches of objects, want none", n)
		}
	})

	t.Run("a new commit costs what it changes", func(t *testing.T) {
		ballast := make([]byte, 1<<20)
		rand.Read(ballast)
		origin.commit("ballast", hex.EncodeToString(ballast))
		fetch(t, r)
		second := origin.commit("app/base.yaml", "two")
		before := server.sent.Load()
		next := fetch(t, r)
		if next.Commit != second || next.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", next.Commit, next.Rewound, second)
		}
		holds(t, next, "app/base.yaml", "two")
		holds(t, snap, "app/base.yaml", "one")
		if sent := server.sent.Load() - before; sent > 10_000 {
			t.Errorf("the server sent %d bytes for a small change", sent)
		}
	})

	t.Run("messages are shown as git log shows them", func(t *testing.T) {
		origin.git("commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", "\ntwo\nlines\n\nand a body\n\nReviewed-by: Bob\n\n")
		got := fetch(t, r)
		if got.Subject != origin.git("log", "-1", "--format=%s") {
			t.Errorf("subject %q", got.Subject)
		}
		if strings.TrimSpace(got.Message) != origin.git("log", "-1", "--format=%B") {
			t.Errorf("message %q", got.Message)
		}
	})
}

func TestWhatIsFollowed(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	first := origin.commit("v", "1")
	origin.git("tag", "v1.0.0")
	second := origin.commit("v", "2")
	origin.git("tag", "-a", "-m", "release", "v1.2.0")
	origin.git("tag", "-a", "-m", "of a tag", "nested", "v1.2.0")
	origin.git("tag", "2.0.0-rc.1")
	origin.git("tag", "v9") // no version: a tag that moves
	origin.git("tag", "20240101")
	third := origin.commit("v", "3")
	origin.git("branch", "next")
	origin.git("tag", "blob", origin.git("rev-parse", "HEAD:v"))
	server, address := origin.serve()

	for _, c := range []struct {
		name string
		opts source.Options
		want string
	}{
		{"nothing named is the branch of HEAD", source.Options{}, third},
		{"a branch", source.Options{Branch: "next"}, third},
		{"a branch by its full name", source.Options{Branch: "refs/heads/next"}, third},
		{"a plain tag", source.Options{Tag: "v1.0.0"}, first},
		{"an annotated tag stands for its commit", source.Options{Tag: "v1.2.0"}, second},
		{"a tag of a tag", source.Options{Tag: "nested"}, second},
		{"a range takes the highest version", source.Options{Semver: ">=1.0"}, second},
		{"a range can exclude the highest", source.Options{Semver: "~1.0"}, first},
		{"pre-releases count when the range has one", source.Options{Semver: ">=1.0.0-0"}, second},
		{"a commit older than the branch, which the server does not hand out by hash", source.Options{Commit: first}, first},
		{"a commit at the end of a branch", source.Options{Commit: third}, third},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opts.URL = address
			r := open(t, c.opts)
			if got := fetch(t, r); got.Commit != c.want {
				t.Errorf("at %s, want %s", got.Commit, c.want)
			}
		})
	}

	t.Run("a commit that is there is asked for once", func(t *testing.T) {
		r := open(t, source.Options{URL: address, Commit: first})
		snap := fetch(t, r)
		before := server.lists.Load()
		if again := fetch(t, r); again != snap || server.lists.Load() != before {
			t.Errorf("%d more requests", server.lists.Load()-before)
		}
	})

	for _, c := range []struct {
		name string
		opts source.Options
		want error
		says []string
	}{
		{"a branch that is not there", source.Options{Branch: "mian"}, source.ErrBranchNotFound, []string{`"mian"`, "main, next"}},
		{"a tag that is not there", source.Options{Tag: "v3"}, source.ErrTagNotFound, []string{`"v3"`, "20240101, blob", "and 2 more"}},
		{"a range without a tag", source.Options{Semver: ">=3"}, source.ErrNoVersion, []string{`">=3"`, "v1.0.0"}},
		{"a commit that is not there", source.Options{Commit: strings.Repeat("ab", 20)}, source.ErrCommitNotFound, []string{"abab"}},
		{"a tag of a file", source.Options{Tag: "blob"}, source.ErrCommitNotFound, []string{"is a blob"}},
	} {
		t.Run(c.name+" is its own error", func(t *testing.T) {
			c.opts.URL = address
			fails(t, open(t, c.opts), c.want, append(c.says, "fetching "+address)...)
		})
	}

	t.Run("a tag that moved is followed, and is no rewind", func(t *testing.T) {
		r := open(t, source.Options{URL: address, Semver: "~1.2"})
		snap := fetch(t, r)
		origin.git("tag", "-f", "-a", "-m", "same commit", "v1.2.0", second)
		if again := fetch(t, r); again != snap {
			t.Errorf("another snapshot for the same commit")
		}
		origin.git("tag", "-f", "-a", "-m", "moved", "v1.2.0", first)
		if got := fetch(t, r); got.Commit != first || got.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", got.Commit, got.Rewound, first)
		}
		origin.git("tag", "-a", "-m", "newer", "v1.2.1", third)
		if got := fetch(t, r); got.Commit != third {
			t.Errorf("at %s, want %s", got.Commit, third)
		}
	})

	t.Run("a branch that vanishes is an error and the last snapshot stays", func(t *testing.T) {
		r := open(t, source.Options{URL: address, Branch: "next"})
		snap := fetch(t, r)
		origin.git("branch", "-D", "next")
		fails(t, r, source.ErrBranchNotFound, `"next"`)
		holds(t, snap, "v", "3")
	})

	t.Run("a server that hands out commits by hash is not cloned whole", func(t *testing.T) {
		deep := newRepo(t)
		old := deep.commit("v", "1")
		deep.grow(60)
		deep.git("config", "uploadpack.allowReachableSHA1InWant", "true")
		_, address := deep.serve()
		cache := t.TempDir()
		r := open(t, source.Options{URL: address, Commit: old, CacheDir: cache})
		if got := fetch(t, r); got.Commit != old {
			t.Errorf("at %s, want %s", got.Commit, old)
		}
		if n := history(t, cache); n != "1" {
			t.Errorf("the cache has %s commits, want the one", n)
		}
	})
}

// history counts the commits that the only cache in a folder holds, with the
// real git, which also checks the cache.
func history(t testing.TB, parent string) string {
	t.Helper()
	r := &repo{t: t, dir: cacheFolder(t, parent)}
	r.git("fsck", "--connectivity-only")
	return r.git("rev-list", "--count", "--all")
}

func cacheFolder(t testing.TB, parent string) string {
	t.Helper()
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	var found string
	for _, e := range entries {
		if e.IsDir() {
			if found != "" {
				t.Fatalf("more than one cache in %s: %s and %s", parent, found, e.Name())
			}
			found = filepath.Join(parent, e.Name())
		}
	}
	if found == "" {
		t.Fatalf("no cache in %s", parent)
	}
	return found
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "1")
	server, address := origin.serve()
	password, token := "s3cret-pass", "t0ken-value"
	server.guard(func(w http.ResponseWriter, r *http.Request) bool {
		user, pass, basic := r.BasicAuth()
		if basic && user == "bob" && (pass == password || pass == token) || r.Header.Get("Authorization") == "Bearer "+token {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("you sent " + r.Header.Get("Authorization") + pass)) // a server that tells tales
		return false
	})
	withUser := func(userinfo string) string { return strings.Replace(address, "://", "://"+userinfo+"@", 1) }

	for _, c := range []struct {
		name string
		opts source.Options
	}{
		{"user name and password file", source.Options{URL: address, Auth: source.Auth{Username: "bob", PasswordFile: secretFile(t, password)}}},
		{"a token alone is a bearer token", source.Options{URL: address, Auth: source.Auth{TokenFile: secretFile(t, token)}}},
		{"a token with a user name is a password", source.Options{URL: address, Auth: source.Auth{Username: "bob", TokenFile: secretFile(t, token)}}},
		{"credentials in the url", source.Options{URL: withUser("bob:" + password)}},
		{"a user in the url and the password in a file", source.Options{URL: withUser("bob"), Auth: source.Auth{PasswordFile: secretFile(t, password)}}},
	} {
		t.Run(c.name, func(t *testing.T) { fetch(t, open(t, c.opts)) })
	}

	for _, c := range []struct {
		name string
		opts source.Options
		says string
	}{
		{"no credentials", source.Options{URL: address}, "set passwordFile or tokenFile"},
		{"a wrong password", source.Options{URL: address, Auth: source.Auth{Username: "bob", PasswordFile: secretFile(t, "wr0ng")}}, "the password in /"},
		{"a wrong token", source.Options{URL: address, Auth: source.Auth{TokenFile: secretFile(t, "wr0ng")}}, "the token in /"},
		{"a wrong password in the url", source.Options{URL: withUser("tok3n-as-user:wr0ng")}, "credentials in the url"},
	} {
		t.Run(c.name+" is refused at once and without naming a secret", func(t *testing.T) {
			before := server.lists.Load()
			_, err := open(t, c.opts).Fetch(t.Context())
			isError(t, err, source.ErrAuth, c.says, "fetching "+address)
			for _, secret := range []string{"wr0ng", "tok3n", password, token, "Authorization"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error gives away %q: %v", secret, err)
				}
			}
			if n := server.lists.Load() - before; n != 1 {
				t.Errorf("%d requests, want 1: retries do not mend a password", n)
			}
		})
	}

	t.Run("a file that is missing or empty is named", func(t *testing.T) {
		for _, file := range []string{"/does/not/exist", secretFile(t, " ")} {
			_, err := open(t, source.Options{URL: address, Auth: source.Auth{TokenFile: file}}).Fetch(t.Context())
			if err == nil || !strings.Contains(err.Error(), file) || errors.Is(err, source.ErrUnreachable) {
				t.Errorf("error %v does not just name %s", err, file)
			}
		}
	})

	t.Run("a rotated secret is picked up, and the last snapshot survives the time between", func(t *testing.T) {
		file := secretFile(t, password)
		r := open(t, source.Options{URL: address, Auth: source.Auth{Username: "bob", PasswordFile: file}})
		snap := fetch(t, r)
		write(t, file, "old")
		fails(t, r, source.ErrAuth)
		holds(t, snap, "a", "1")
		write(t, file, token)
		if again := fetch(t, r); again != snap {
			t.Errorf("another snapshot")
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	commit := origin.commit("a", "1")
	server := newHTTPServer(t, filepath.Dir(origin.dir))
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	address := server.URL + "/repo/.git"
	ca := secretFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))

	t.Run("a CA of one's own is trusted when named", func(t *testing.T) {
		if got := fetch(t, open(t, source.Options{URL: address, Auth: source.Auth{CAFile: ca}})); got.Commit != commit {
			t.Errorf("at %s, want %s", got.Commit, commit)
		}
	})
	t.Run("without it the certificate is not trusted", func(t *testing.T) {
		fails(t, open(t, source.Options{URL: address}), source.ErrTLS, "caFile", "fetching "+address)
	})
	t.Run("a file without a certificate is named", func(t *testing.T) {
		_, err := open(t, source.Options{URL: address, Auth: source.Auth{CAFile: secretFile(t, "nothing")}}).Fetch(t.Context())
		if err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a CA that is rotated is picked up", func(t *testing.T) {
		file := secretFile(t, "nothing")
		r := open(t, source.Options{URL: address, Auth: source.Auth{CAFile: file}})
		if _, err := r.Fetch(t.Context()); err == nil {
			t.Error("fetched without a CA")
		}
		pem, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, string(pem))
		fetch(t, r)
	})
}

func TestRemoteTroubles(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "1")

	t.Run("an empty repository", func(t *testing.T) {
		_, address := newRepo(t).serve()
		fails(t, open(t, source.Options{URL: address}), source.ErrEmptyRepository, "push one")
		fails(t, open(t, source.Options{URL: address, Branch: "main"}), source.ErrEmptyRepository)
	})
	t.Run("a HEAD that names no branch", func(t *testing.T) {
		lost := newRepo(t)
		lost.commit("a", "1")
		lost.git("symbolic-ref", "HEAD", "refs/heads/gone")
		_, address := lost.serve()
		fails(t, open(t, source.Options{URL: address}), source.ErrBranchNotFound, "set branch", "main")
	})
	t.Run("a repository that is not there", func(t *testing.T) {
		server, _ := origin.serve()
		fails(t, open(t, source.Options{URL: server.URL + "/nothing.git"}), source.ErrRepositoryNotFound, "fetching "+server.URL+"/nothing.git")
	})
	t.Run("a web server that is no git server", func(t *testing.T) {
		server, address := origin.serve()
		server.guard(func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte("<!DOCTYPE html><html>hello</html>"))
			return false
		})
		fails(t, open(t, source.Options{URL: address}), source.ErrRepositoryNotFound, "check the address")
	})
	t.Run("a remote that is down, after a good fetch", func(t *testing.T) {
		t.Parallel()
		server, address := origin.serve()
		r := open(t, source.Options{URL: address})
		snap := fetch(t, r)
		server.Close()
		fails(t, r, source.ErrUnreachable, "connection refused")
		holds(t, snap, "a", "1")
		if at, err := r.At(t.Context(), snap.Commit); err != nil || at != snap {
			t.Errorf("the commit is no longer at hand: %v", err)
		}
	})
	t.Run("a server in trouble is asked again", func(t *testing.T) {
		t.Parallel()
		server, address := origin.serve()
		var asked atomic.Int32
		server.guard(func(w http.ResponseWriter, _ *http.Request) bool {
			switch asked.Add(1) {
			case 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 2:
				w.WriteHeader(http.StatusTooManyRequests)
			default:
				return true
			}
			return false
		})
		fetch(t, open(t, source.Options{URL: address}))
	})
	t.Run("and not for ever", func(t *testing.T) {
		t.Parallel()
		server, address := origin.serve()
		server.guard(refuse(http.StatusBadGateway))
		fails(t, open(t, source.Options{URL: address}), source.ErrUnreachable, "502 Bad Gateway")
		if n := server.lists.Load(); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})
	t.Run("a refusal is not asked again", func(t *testing.T) {
		for code, want := range map[int]error{
			http.StatusForbidden: source.ErrAuth, http.StatusNotFound: source.ErrRepositoryNotFound, http.StatusTeapot: source.ErrUnreachable,
		} {
			server, address := origin.serve()
			server.guard(refuse(code))
			fails(t, open(t, source.Options{URL: address}), want)
			if n := server.lists.Load(); n != 1 {
				t.Errorf("%d requests after %d, want 1", n, code)
			}
		}
	})
	t.Run("a connection that breaks amid the objects is an error at first and mended by a retry", func(t *testing.T) {
		t.Parallel()
		server, address := origin.serve()
		var asked atomic.Int32
		server.guard(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/info/refs") || asked.Add(1) > 1 {
				return true
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return false
			}
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\nContent-Length: 9999\r\n\r\n0000" +
				"0008NAK\n0024\x01PACK\x00\x00\x00\x02\x00\x00\x00\x03"))
			conn.Close()
			return false
		})
		holds(t, fetch(t, open(t, source.Options{URL: address})), "a", "1")
		if asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
	t.Run("a redirect to another host is followed only where it is configured, without the password", func(t *testing.T) {
		server, address := origin.serve()
		var leaked atomic.Bool
		server.guard(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != "" {
				leaked.Store(true)
			}
			return true
		})
		moved := serveHTTP(t, t.TempDir())
		target, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		host := strings.Replace(target.Host, "127.0.0.1", "localhost", 1)
		moved.guard(func(w http.ResponseWriter, r *http.Request) bool {
			to := *r.URL
			to.Scheme, to.Host = "http", host
			http.Redirect(w, r, to.String(), http.StatusMovedPermanently)
			return false
		})
		opts := source.Options{URL: moved.URL + "/repo/.git", Auth: source.Auth{TokenFile: secretFile(t, "tok3n")}}
		fails(t, open(t, opts), source.ErrRedirect, host, "source.redirectHosts")
		if n := server.lists.Load(); n != 0 {
			t.Errorf("%d requests to a host that is not configured", n)
		}
		opts.Auth.RedirectHosts = []string{host}
		holds(t, fetch(t, open(t, opts)), "a", "1")
		if leaked.Load() {
			t.Error("the token went to another host")
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	// A server that accepts and says nothing.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := mute.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	t.Cleanup(func() {
		mute.Close()
		<-done
		for len(accepted) > 0 {
			(<-accepted).Close()
		}
	})
	key := filepath.Join(t.TempDir(), "id")
	writeKey(t, key)
	hosts := secretFile(t, "")

	for _, c := range []struct {
		name string
		opts source.Options
	}{
		{"http", source.Options{URL: "http://" + mute.Addr().String() + "/x.git"}},
		{"https", source.Options{URL: "https://" + mute.Addr().String() + "/x.git"}},
		{"ssh", source.Options{URL: "ssh://" + mute.Addr().String() + "/x.git", Auth: source.Auth{SSHKeyFile: key, KnownHostsFile: hosts}}},
	} {
		t.Run("a fetch over "+c.name+" ends when the caller gives up", func(t *testing.T) {
			r := open(t, c.opts)
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := r.Fetch(ctx)
				result <- err
			}()
			conn := <-accepted
			defer conn.Close()
			start := time.Now()
			// Another caller waits for its turn, and may give up as well.
			waiting, giveUp := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer giveUp()
			if _, err := r.Fetch(waiting); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting: %v", err)
			}
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(start); took > 20*time.Second { // a listing that nobody ends takes longer
				t.Errorf("took %s", took)
			}
		})
	}

	t.Run("a fetch that waits for objects ends when the caller gives up", func(t *testing.T) {
		origin := newRepo(t)
		origin.commit("a", "1")
		server, address := origin.serve()
		waiting := make(chan struct{}, 1)
		server.guard(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/info/refs") {
				return true
			}
			waiting <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body) // the server notices a hang-up only when it has read all
			<-r.Context().Done()
			return false
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-waiting
			cancel()
		}()
		if _, err := open(t, source.Options{URL: address}).Fetch(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})

	t.Run("a server that stays silent does not hold up a caller without a deadline", func(t *testing.T) {
		r := open(t, source.Options{URL: "http://" + mute.Addr().String() + "/x.git"})
		source.LimitListing(r, 50*time.Millisecond)
		fails(t, r, source.ErrUnreachable, "no answer within 50ms")
	})

	t.Run("a closed repository says so", func(t *testing.T) {
		r := open(t, source.Options{URL: "http://" + mute.Addr().String() + "/x.git"})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		fails(t, r, os.ErrClosed)
	})
}
