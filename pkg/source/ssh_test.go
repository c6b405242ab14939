package source_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/syncerdev/syncer/pkg/source"
)

func TestSSH(t *testing.T) {
	// No t.Parallel: HOME and SSH_AUTH_SOCK change.
	origin := newRepo(t)
	first := origin.commit("a", "1")
	server := serveSSH(t, filepath.Dir(origin.dir))
	address := server.url("repo")
	auth := source.Auth{SSHKeyFile: server.key, KnownHostsFile: server.hosts}
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("SSH_KNOWN_HOSTS", "")

	t.Run("a key and a known host let in", func(t *testing.T) {
		r := open(t, source.Options{URL: address, Auth: auth, CacheDir: t.TempDir()})
		snap := fetch(t, r)
		if snap.Commit != first {
			t.Errorf("at %s, want %s", snap.Commit, first)
		}
		holds(t, snap, "a", "1")
		conns := server.conns.Load()
		if again := fetch(t, r); again != snap || server.conns.Load() != conns+1 {
			t.Errorf("another snapshot, or %d connections", server.conns.Load()-conns)
		}
		next := origin.grow(60)
		got := fetch(t, r)
		if got.Commit != next {
			t.Errorf("at %s, want %s", got.Commit, next)
		}
		holds(t, got, "count", "59")
		if old, err := r.At(t.Context(), first); err != nil || old.Commit != first {
			t.Errorf("an old commit: %v", err)
		}
	})
	t.Run("the known_hosts of the user is the default", func(t *testing.T) {
		home := t.TempDir()
		t.Setenv("HOME", home)
		mkdir(t, filepath.Join(home, ".ssh"))
		hosts, err := os.ReadFile(server.hosts)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(home, ".ssh", "known_hosts"), string(hosts))
		fetch(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: server.key}}))
	})
	t.Run("a host that is not known is refused", func(t *testing.T) {
		file := secretFile(t, "")
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: server.key, KnownHostsFile: file}}),
			source.ErrHostKey, file, "does not know", ssh.FingerprintSHA256(server.host), "ssh-keyscan")
	})
	t.Run("a host with another key is refused", func(t *testing.T) {
		other := writeKey(t, filepath.Join(t.TempDir(), "other"))
		file := secretFile(t, knownhosts.Line([]string{server.addr}, other))
		conns := server.conns.Load()
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: server.key, KnownHostsFile: file}}),
			source.ErrHostKey, "another key", "in between")
		if n := server.conns.Load() - conns; n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
	t.Run("no known_hosts file at all is refused", func(t *testing.T) {
		t.Setenv("HOME", t.TempDir())
		if _, err := os.Stat("/etc/ssh/ssh_known_hosts"); err == nil {
			t.Fatal("this machine has /etc/ssh/ssh_known_hosts, which this case has to be without")
		}
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: server.key}}), source.ErrHostKey, "knownHostsFile")
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: server.key, KnownHostsFile: "/no/such/file"}}),
			source.ErrHostKey, "/no/such/file")
	})
	t.Run("a key that the server does not accept", func(t *testing.T) {
		key := filepath.Join(t.TempDir(), "id")
		writeKey(t, key)
		conns := server.conns.Load()
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: key, KnownHostsFile: server.hosts}}),
			source.ErrAuth, key, "user "+me())
		if n := server.conns.Load() - conns; n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
	t.Run("the user is git unless said otherwise", func(t *testing.T) {
		anonymous := strings.Replace(address, me()+"@", "", 1)
		fails(t, open(t, source.Options{URL: anonymous, Auth: auth}), source.ErrAuth, "user git ")
		named := auth
		named.Username = me()
		fetch(t, open(t, source.Options{URL: anonymous, Auth: named}))
	})
	t.Run("no key and no agent", func(t *testing.T) {
		fails(t, open(t, source.Options{URL: address, Auth: source.Auth{KnownHostsFile: server.hosts}}), source.ErrAuth, "sshKeyFile")
	})
	t.Run("a key with a passphrase", func(t *testing.T) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("word"))
		if err != nil {
			t.Fatal(err)
		}
		file := secretFile(t, string(pem.EncodeToMemory(block)))
		_, err = open(t, source.Options{URL: address, Auth: source.Auth{SSHKeyFile: file, KnownHostsFile: server.hosts}}).Fetch(t.Context())
		if err == nil || !strings.Contains(err.Error(), "passphrase") || !strings.Contains(err.Error(), file) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a repository that is not there", func(t *testing.T) {
		fails(t, open(t, source.Options{URL: server.url("nothing"), Auth: auth}), source.ErrRepositoryNotFound, "nothing")
	})
	t.Run("a path is one word on the server", func(t *testing.T) {
		hack := "; touch " + filepath.Join(filepath.Dir(origin.dir), "hacked") + "; "
		for _, name := range []string{"x" + hack, "x'" + hack + "'"} {
			fails(t, open(t, source.Options{URL: server.url("") + "/" + name, Auth: auth}), source.ErrRepositoryNotFound)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(origin.dir), "hacked")); err == nil {
			t.Error("the server ran a command from the url")
		}
	})
	t.Run("an empty repository", func(t *testing.T) {
		empty := newRepo(t)
		address := strings.Replace(address, origin.dir, empty.dir, 1)
		fails(t, open(t, source.Options{URL: address, Auth: auth}), source.ErrEmptyRepository)
	})
	t.Run("a server that is gone", func(t *testing.T) {
		r := open(t, source.Options{URL: address, Auth: auth})
		snap := fetch(t, r)
		server.listen.Close()
		fails(t, r, source.ErrUnreachable, "connection refused")
		holds(t, snap, "count", "59")
	})
}
