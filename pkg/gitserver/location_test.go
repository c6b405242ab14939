package gitserver

import (
	"path/filepath"
	"testing"
)

func TestParseLocation(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]struct {
		kind  Kind
		shown string
		user  string
		path  string
	}{
		"https://example.com/team/repo.git":       {OverHTTP, "https://example.com/team/repo.git", "", "/team/repo.git"},
		"HTTPS://example.com/repo/":               {OverHTTP, "https://example.com/repo", "", "/repo"},
		"https://bob:pw@example.com:8443/a%20b":   {OverHTTP, "https://example.com:8443/a%20b", "bob", "/a b"},
		"https://tok3n@example.com/repo":          {OverHTTP, "https://example.com/repo", "tok3n", "/repo"},
		"http://[::1]:80/repo":                    {OverHTTP, "http://[::1]:80/repo", "", "/repo"},
		"ssh://git@example.com/team/repo.git":     {OverSSH, "ssh://example.com/team/repo.git", "git", "/team/repo.git"},
		"ssh://example.com:2222/~bob/repo.git":    {OverSSH, "ssh://example.com:2222/~bob/repo.git", "", "~bob/repo.git"},
		"git@example.com:team/repo.git":           {OverSSH, "ssh://example.com/team/repo.git", "git", "team/repo.git"},
		"example.com:repo":                        {OverSSH, "ssh://example.com/repo", "", "repo"},
		"git@[::1]:repo":                          {OverSSH, "ssh://[::1]/repo", "git", "repo"},
		"file:///srv/repo":                        {OnDisk, "/srv/repo", "", "/srv/repo"},
		"file://localhost/srv/repo":               {OnDisk, "/srv/repo", "", "/srv/repo"},
		"/srv/git/x":                              {OnDisk, "/srv/git/x", "", "/srv/git/x"},
		"./with:colon":                            {OnDisk, here + "/with:colon", "", here + "/with:colon"},
		"relative/path":                           {OnDisk, here + "/relative/path", "", here + "/relative/path"},
		"C/not:a-host":                            {OnDisk, here + "/C/not:a-host", "", here + "/C/not:a-host"},
		"https://example.com/a:b/repo@v1":         {OverHTTP, "https://example.com/a:b/repo@v1", "", "/a:b/repo@v1"},
		"git+ssh://git@example.com/team/repo.git": {OverSSH, "ssh://example.com/team/repo.git", "git", "/team/repo.git"},
	} {
		t.Run(raw, func(t *testing.T) {
			l, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if l.Kind != want.kind || l.String() != want.shown || l.User != want.user || l.Path != want.path {
				t.Errorf("kind %d, %s, user %q, path %q; want %+v", l.Kind, l, l.User, l.Path, want)
			}
		})
	}
}
