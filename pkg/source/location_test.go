package source

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]struct {
		kind  kind
		shown string
		user  string
		path  string
	}{
		"https://example.com/team/repo.git":       {overHTTP, "https://example.com/team/repo.git", "", "/team/repo.git"},
		"HTTPS://example.com/repo/":               {overHTTP, "https://example.com/repo", "", "/repo"},
		"https://bob:pw@example.com:8443/a%20b":   {overHTTP, "https://example.com:8443/a%20b", "bob", "/a b"},
		"https://tok3n@example.com/repo":          {overHTTP, "https://example.com/repo", "tok3n", "/repo"},
		"http://[::1]:80/repo":                    {overHTTP, "http://[::1]:80/repo", "", "/repo"},
		"ssh://git@example.com/team/repo.git":     {overSSH, "ssh://example.com/team/repo.git", "git", "/team/repo.git"},
		"ssh://example.com:2222/~bob/repo.git":    {overSSH, "ssh://example.com:2222/~bob/repo.git", "", "~bob/repo.git"},
		"git@example.com:team/repo.git":           {overSSH, "ssh://example.com/team/repo.git", "git", "team/repo.git"},
		"example.com:repo":                        {overSSH, "ssh://example.com/repo", "", "repo"},
		"git@[::1]:repo":                          {overSSH, "ssh://[::1]/repo", "git", "repo"},
		"file:///srv/repo":                        {onDisk, "/srv/repo", "", "/srv/repo"},
		"file://localhost/srv/repo":               {onDisk, "/srv/repo", "", "/srv/repo"},
		"/srv/git/x":                              {onDisk, "/srv/git/x", "", "/srv/git/x"},
		"./with:colon":                            {onDisk, here + "/with:colon", "", here + "/with:colon"},
		"relative/path":                           {onDisk, here + "/relative/path", "", here + "/relative/path"},
		"C/not:a-host":                            {onDisk, here + "/C/not:a-host", "", here + "/C/not:a-host"},
		"https://example.com/a:b/repo@v1":         {overHTTP, "https://example.com/a:b/repo@v1", "", "/a:b/repo@v1"},
		"git+ssh://git@example.com/team/repo.git": {overSSH, "ssh://example.com/team/repo.git", "git", "/team/repo.git"},
	} {
		t.Run(raw, func(t *testing.T) {
			l, err := parseLocation(raw)
			if err != nil {
				t.Fatal(err)
			}
			if l.kind != want.kind || l.String() != want.shown || l.user != want.user || l.path != want.path {
				t.Errorf("kind %d, %s, user %q, path %q; want %+v", l.kind, l, l.user, l.path, want)
			}
		})
	}
}

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
		l, err := parseLocation(raw)
		if err != nil {
			t.Fatal(err)
		}
		name := l.folder()
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share the folder %s", raw, other, name)
		}
		seen[name] = raw
		if len(name) > 100 || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			t.Errorf("%s has the folder %s", raw, name)
		}
	}
}
