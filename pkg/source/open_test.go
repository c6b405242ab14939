package source

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		says string
	}{
		{"nothing", Options{}, "source url is empty"},
		{"an unknown scheme", Options{URL: "git://example.com/x"}, `scheme "git" is not supported`},
		{"no host", Options{URL: "https:///x"}, "has no host"},
		{"a file address with a host", Options{URL: "file://srv/x"}, "file:///path"},
		{"a query", Options{URL: "https://s3cret@example.com/x?token=s3cret"}, "query"},
		{"a broken url", Options{URL: "https://bob:s3cret%zz@example.com/x"}, "%XX"},
		{"a broken port", Options{URL: "https://bob:s3cret/more@example.com/x"}, "%XX"},
		{"a password over ssh", Options{URL: "ssh://git:s3cret@example.com/x"}, "sshKeyFile"},
		{"two things to follow", Options{URL: "/x", Branch: "a", Semver: "1.x"}, "branch and semver are set"},
		{"a range that is none", Options{URL: "/x", Semver: "newest"}, `semver range "newest"`},
		{"an abbreviated commit", Options{URL: "/x", Commit: "abc123"}, "not a full hash"},
		{"fast-forward of a tag", Options{URL: "/x", Tag: "v1", RequireFastForward: true}, "for branches, and tag is set"},
		{"two secrets", Options{URL: "https://bob@h/x", Auth: Auth{PasswordFile: "a", TokenFile: "b"}}, "keep one"},
		{"a password for nobody", Options{URL: "https://s3cret.example.com/x", Auth: Auth{PasswordFile: "a"}}, "needs a username"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.opts)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			if strings.Contains(err.Error(), "s3cret") && !strings.Contains(c.opts.URL, "s3cret.") {
				t.Errorf("the error gives away a secret: %v", err)
			}
		})
	}
}

func TestCacheFolders(t *testing.T) {
	seen := map[string]string{}
	for _, raw := range []string{
		"https://example.com/a/b", "https://example.com/a-b", "http://example.com/a/b", "https://example.com:444/a/b", "ssh://example.com/a/b",
		"https://example.com/" + strings.Repeat("long/", 100), "https://example.com/../../etc", "https://example.com/ä/ö",
	} {
		l, err := gitserver.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		name := cacheFolder(l)
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share the folder %s", raw, other, name)
		}
		seen[name] = raw
		if len(name) > 100 || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			t.Errorf("%s has the folder %s", raw, name)
		}
	}
}
