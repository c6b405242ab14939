package trust_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/trust"
)

// tools runs git with a configuration of its own, and skips the test where a program is missing.
type tools struct {
	t      *testing.T
	folder string
	env    []string
}

func newTools(t *testing.T, programs ...string) *tools {
	t.Helper()
	for _, program := range append(programs, "git") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed, so that what git does cannot be compared", program)
		}
	}
	w := &tools{t: t, folder: t.TempDir()}
	w.env = append(os.Environ(), "HOME="+w.folder, "GIT_CONFIG_NOSYSTEM=1", "TZ=UTC",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	w.run("git", "init", "-q")
	return w
}

func (w *tools) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = w.folder, w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *tools) run(name string, args ...string) string {
	w.t.Helper()
	out, err := w.try(name, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func (w *tools) path(name string) string { return filepath.Join(w.folder, name) }

func (w *tools) read(name string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// head is the content of the commit object.
func (w *tools) head() []byte { return []byte(w.run("git", "cat-file", "commit", "HEAD")) }

// What git signs with an SSH key and verifies is trusted here, and what git refuses is not.
func TestAgreesWithGitOnSSH(t *testing.T) {
	w := newTools(t, "ssh-keygen")
	w.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.path("ann"))
	w.run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", w.path("bob"))
	w.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.path("ca"))
	w.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.path("cert"))
	w.run("ssh-keygen", "-q", "-s", w.path("ca"), "-I", "cert", "-n", "ann@example.com", "-V", "-1h:+1h", w.path("cert.pub"))
	w.run("git", "config", "gpg.format", "ssh")
	w.run("git", "config", "gpg.ssh.allowedSignersFile", w.path("allowed"))
	pub := func(name string) string { return strings.TrimSpace(string(w.read(name + ".pub"))) }
	day := func(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format("20060102") }
	for _, c := range []struct{ name, key, allowed string }{
		{"an ed25519 key", "ann", "ann@example.com " + pub("ann")},
		{"an RSA key", "bob", "bob@example.com " + pub("bob")},
		{"another key", "bob", "ann@example.com " + pub("ann")},
		{"namespaces with git", "ann", `ann@example.com namespaces="git,file" ` + pub("ann")},
		{"namespaces without git", "ann", `ann@example.com namespaces="file" ` + pub("ann")},
		{"a key valid since yesterday", "ann", `ann@example.com valid-after="` + day(-1) + `" ` + pub("ann")},
		{"a key valid from tomorrow", "ann", `ann@example.com valid-after="` + day(1) + `" ` + pub("ann")},
		{"a key valid until tomorrow", "ann", `ann@example.com valid-before="` + day(1) + `" ` + pub("ann")},
		{"a key valid until yesterday", "ann", `ann@example.com valid-before="` + day(-1) + `" ` + pub("ann")},
		{"quoted principals", "ann", `"ann@example.com,a*" ` + pub("ann") + " a comment"},
		{"a certificate of an authority", "cert-cert.pub", "*@example.com cert-authority " + pub("ca")},
		{"a certificate for another domain", "cert-cert.pub", "*@example.org cert-authority " + pub("ca")},
		{"a certificate, and the authority not marked", "cert-cert.pub", "*@example.com " + pub("ca")},
		{"a certificate, and its key allowed alone", "cert-cert.pub", "ann@example.com " + pub("cert")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(w.path("allowed"), []byte(c.allowed+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.run("git", "-c", "user.signingkey="+w.path(c.key), "commit", "-q", "-S", "--allow-empty", "-m", c.name+"\n\nwith a body\n")
			said, err := w.try("git", "verify-commit", "HEAD")
			v := parsed(t, trust.Keys{AllowedSigners: w.read("allowed")}).Judge(trust.ReadCommit(w.head()), time.Now())
			if v.Trusted() != (err == nil) {
				t.Errorf("git: %v (%s), here: %+v", err, said, v)
			}
		})
	}
}

func TestAgreesWithGitOnPGP(t *testing.T) {
	w := newTools(t, "gpg")
	home := w.path("gnupg")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "GNUPGHOME="+home)
	t.Cleanup(func() { _, _ = w.try("gpgconf", "--kill", "gpg-agent") })
	if said, err := w.try("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Ann <ann@example.com>", "default", "default", "1d"); err != nil {
		t.Skipf("gpg cannot make a key here: %v\n%s", err, said)
	}
	w.run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Bob <bob@example.com>", "rsa2048", "default", "1d")
	export := func(who string) []byte { return []byte(w.run("gpg", "--armor", "--export", who)) }
	for _, c := range []struct {
		who, keyring string
		want         trust.Reason
	}{
		{"ann@example.com", "ann@example.com", trust.Trusted},
		{"bob@example.com", "bob@example.com", trust.Trusted},
		{"bob@example.com", "ann@example.com", trust.UnknownKey},
	} {
		w.run("git", "-c", "user.signingkey="+c.who, "commit", "-q", "-S", "--allow-empty", "-m", "work")
		w.run("git", "verify-commit", "HEAD") // gpg has both keys
		v := parsed(t, trust.Keys{Keyring: export(c.keyring)}).Judge(trust.ReadCommit(w.head()), time.Now())
		if v.Reason != c.want {
			t.Errorf("by %s with the key of %s: %+v, want %q", c.who, c.keyring, v, c.want)
		}
	}
}
