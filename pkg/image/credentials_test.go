package image

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// pullSecret is a docker configuration with one login for each key, whose user has the key's name.
func pullSecret(keys ...string) string {
	entries := make([]string, len(keys))
	for i, key := range keys {
		entries[i] = fmt.Sprintf(`%q: {"username": %q, "password": "secret"}`, key, key)
	}
	return `{"auths": {` + strings.Join(entries, ", ") + `}}`
}

func TestPullSecretsAreMatchedAsTheKubeletDoes(t *testing.T) {
	for _, c := range []struct {
		configs    []string
		repository string
		want       string // the user; "": nobody
	}{
		{nil, "registry.example.com/web", ""},
		{[]string{pullSecret("registry.example.com")}, "registry.example.com/web", "registry.example.com"},
		{[]string{pullSecret("https://registry.example.com")}, "registry.example.com/web", "https://registry.example.com"},
		{[]string{pullSecret("https://registry.example.com/v1/")}, "registry.example.com/web", "https://registry.example.com/v1/"},
		{[]string{pullSecret("registry.example.com")}, "registry.example.com:5000/web", ""},
		{[]string{pullSecret("registry.example.com:5000")}, "registry.example.com:5000/web", "registry.example.com:5000"},
		{[]string{pullSecret("registry.example.com")}, "registry.example.com.evil.com/web", ""},
		{[]string{pullSecret("*.example.com")}, "registry.example.com/web", "*.example.com"},
		{[]string{pullSecret("*.example.com")}, "a.registry.example.com/web", ""},
		{[]string{pullSecret("*")}, "registry.example.com/web", ""},
		{[]string{pullSecret("registry.example.com", "registry.example.com/team")}, "registry.example.com/team/web", "registry.example.com/team"},
		{[]string{pullSecret("registry.example.com", "registry.example.com/team")}, "registry.example.com/team2/web", "registry.example.com"},
		{[]string{pullSecret("registry.example.com/team/web")}, "registry.example.com/team/web", "registry.example.com/team/web"},
		{[]string{pullSecret("https://index.docker.io/v1/")}, "busybox", "https://index.docker.io/v1/"},
		{[]string{pullSecret("docker.io")}, "team/web", "docker.io"},
		{[]string{pullSecret("index.docker.io")}, "team/web", "index.docker.io"},
		{[]string{pullSecret("index.docker.io")}, "registry.example.com/web", ""},
		{[]string{"{", pullSecret("other.example.com"), pullSecret("registry.example.com")}, "registry.example.com/web", "registry.example.com"},
		{[]string{pullSecret("registry.example.com"), pullSecret("registry.example.com/web")}, "registry.example.com/web", "registry.example.com"},
		{[]string{`{"auths": {"registry.example.com": {}}}`, pullSecret("registry.example.com")}, "registry.example.com/web", "registry.example.com"},
		{[]string{`{"auths": {"registry.example.com/web": {}, "registry.example.com": {"username": "u", "password": "p"}}}`}, "registry.example.com/web", "u"},
		// A pull secret starts no program of syncer's machine.
		{[]string{`{"credsStore": "desktop", "credHelpers": {"registry.example.com": "desktop"}}`}, "registry.example.com/web", ""},
	} {
		repository, err := name.NewRepository(c.repository)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := Credentials{Configs: c.configs}.Resolve(repository)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if auth != authn.Anonymous {
			login, err := auth.Authorization()
			if err != nil {
				t.Fatal(err)
			}
			got = login.Username
		}
		if got != c.want {
			t.Errorf("%s with %v: %q, want %q", c.repository, c.configs, got, c.want)
		}
	}
}

func TestCredentialsAreToldApartWithoutTheirSecrets(t *testing.T) {
	one, two := Credentials{Configs: []string{pullSecret("a.example.com")}}, Credentials{Configs: []string{pullSecret("b.example.com")}}
	ids := map[string]bool{}
	for _, c := range []Credentials{{}, one, two, {Configs: append(one.Configs, two.Configs...)}, {Configs: append(two.Configs, one.Configs...)}} {
		ids[c.ID()] = true
		if strings.Contains(c.ID(), "secret") {
			t.Error(c.ID())
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d of 5 are told apart", len(ids))
	}
	if one.ID() != (Credentials{Configs: []string{pullSecret("a.example.com")}}).ID() {
		t.Error("equal credentials have two names")
	}
}

// The credentials of one target serve that target alone.
func TestPullSecretsGoBeforeSyncersOwnCredentials(t *testing.T) {
	const canary = "pass-canary-78"
	h, host, want := serve(t)
	h.before = basic("team", canary)
	own := quick(t, Host{Name: host, CredentialsFile: dockerConfig(t, host, "syncer", "own")})
	login, err := os.ReadFile(dockerConfig(t, host, "team", canary))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := own.With(Credentials{Configs: []string{string(login)}}).Digest(t.Context(), host+"/team/web:1"); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := own.Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrDenied) {
		t.Errorf("another target got in as well: %v", err)
	}
	wrong := strings.Replace(string(login), base64.StdEncoding.EncodeToString([]byte("team:"+canary)), base64.StdEncoding.EncodeToString([]byte("other:"+canary)), 1)
	if _, err := own.With(Credentials{Configs: []string{wrong}}).Digest(t.Context(), host+"/team/web:1"); !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	h.before = basic("syncer", "own")
	if got, err := own.With(Credentials{}).Digest(t.Context(), host+"/team/web:1"); err != nil || got != want {
		t.Errorf("without pull secrets syncer's own are not used: %s, %v", got, err)
	}
}
