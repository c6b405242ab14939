package image

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestPing(t *testing.T) {
	const canary = "pass-canary-77"
	answers := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
	}
	// token gives a token to whoever has the password.
	token := func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:team/web:pull":
			if !basic("svc", canary)(w, r) {
				fmt.Fprint(w, `{"token": "granted"}`)
			}
		case r.Header.Get("Authorization") == "Bearer granted":
			return false
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
	for name, c := range map[string]struct {
		before   func(http.ResponseWriter, *http.Request) bool
		password string
		want     error
	}{
		"a registry that is open to all": {nil, "", nil},
		"a password":                     {basic("svc", canary), canary, nil},
		"a wrong password":               {basic("svc", "right"), canary, ErrDenied},
		"no password":                    {basic("svc", canary), "", ErrDenied},
		"a token":                        {token, canary, nil},
		"no token for a wrong password":  {token, "wrong", ErrDenied},
		"something that is no registry":  {answers(http.StatusNotFound), "", ErrUnavailable},
		"a registry that is broken":      {answers(http.StatusInternalServerError), "", ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			h, host, _ := serve(t)
			h.before = c.before
			at := Host{Name: host}
			if c.password != "" {
				at.CredentialsFile = dockerConfig(t, host, "svc", c.password)
			}
			err := quick(t, at).Ping(t.Context(), host+"/team/web")
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) || err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if heads, gets := h.manifests(); heads+gets != 0 {
				t.Errorf("an image was asked for: %d HEAD, %d GET", heads, gets)
			}
		})
	}
}
