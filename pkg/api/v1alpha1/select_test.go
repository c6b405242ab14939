package v1alpha1

import "testing"

func TestLocalPathsAreTold(t *testing.T) {
	for url, local := range map[string]bool{
		"/srv/git/pipelines.git":          true,
		"../pipelines":                    true,
		".":                               true,
		"./odd:name":                      true,
		"https://git.example.com/a.git":   false,
		"ssh://git@git.example.com/a.git": false,
		"git@git.example.com:data/a.git":  false,
		"file:///srv/git/pipelines.git":   false, // absolute by itself
	} {
		if got := IsLocalPath(url); got != local {
			t.Errorf("IsLocalPath(%q) = %v", url, got)
		}
	}
}

func TestCredentialsLeaveAnAddress(t *testing.T) {
	for url, want := range map[string]string{
		"https://user:secret@git.example.com/a.git": "https://git.example.com/a.git",
		"https://token@git.example.com/a.git":       "https://git.example.com/a.git",
		"ssh://git:secret@git.example.com/a.git":    "ssh://git@git.example.com/a.git",
		"git@git.example.com:data/a.git":            "git@git.example.com:data/a.git",
		"/srv/git/pipelines.git":                    "/srv/git/pipelines.git",
	} {
		if got := (Source{URL: url}).PublicURL(); got != want {
			t.Errorf("PublicURL of %q = %q, want %q", url, got, want)
		}
	}
}
