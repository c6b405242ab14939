package setup

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestLogins(t *testing.T) {
	of := func(environment string, refs ...image.Reference) *target.Desired {
		return &target.Desired{Target: v1alpha1.Target{Environment: environment}, Rendered: target.Rendered{Refs: refs}}
	}
	ref := func(value string) image.Reference { return image.Reference{Value: value} }
	secret := of("prod", ref("b.example.com/web:1"))
	targets := []*target.Desired{
		of("dev", ref("b.example.com/web:1"), ref("a.example.com/job:2"), ref("b.example.com/web:2")),
		of("dev", ref("b.example.com/other:1")),
		of("staging", ref("b.example.com/web:1")),
		of("dev", image.Reference{Value: "c.example.com/${NAME}", Form: image.Template}),
		secret,
	}
	var got []string
	for _, l := range logins(targets, func(d *target.Desired) image.Credentials {
		if d == secret {
			return image.Credentials{Configs: []string{"{}"}}
		}
		return image.Credentials{}
	}) {
		got = append(got, l.repository+" "+strings.Join(l.environments, ","))
	}
	if want := []string{"a.example.com/job dev", "b.example.com/web dev,staging", "b.example.com/web prod"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPing(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	registry, err := image.NewRegistry(nil, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Checker{Registry: registry, Now: func() time.Time { return time.Time{} }}
	for _, answer := range []struct {
		status int
		want   CheckStatus
		text   string
	}{
		{http.StatusOK, CheckOK, host + " lets the credentials in, in 0s"},
		{http.StatusUnauthorized, CheckFail, "set `credentialsFile` under `registries`, or give the pods an imagePullSecret"},
		{http.StatusNotFound, CheckFail, "check the address, the network, and `registries` of the configuration"},
	} {
		status = answer.status
		got := c.ping(t.Context(), &login{host: host, repository: host + "/web", environments: []string{"dev"}})
		if got.Status != answer.want || answer.text != got.Fix && answer.text != got.Message || !slices.Equal(got.Environments, []string{"dev"}) {
			t.Errorf("%d: %+v", answer.status, got)
		}
	}
}
