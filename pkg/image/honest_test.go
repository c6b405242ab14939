package image

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// lying answers requests for manifests as its function says; false: the registry answers.
type lying struct {
	next http.Handler
	says func(w *overriding, r *http.Request) bool
}

func (l lying) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over := &overriding{ResponseWriter: w}
	if strings.Contains(r.URL.Path, "/manifests/") && l.says(over, r) {
		return
	}
	l.next.ServeHTTP(over, r)
}

// overriding puts another digest into the header of an answer.
type overriding struct {
	http.ResponseWriter
	digest string
}

func (o *overriding) WriteHeader(status int) {
	if o.digest != "" {
		o.Header().Set("Docker-Content-Digest", o.digest)
	}
	o.ResponseWriter.WriteHeader(status)
}

// A digest that does not fit the manifest is refused, however the registry comes to name it.
func TestDigestThatDoesNotFitItsManifest(t *testing.T) {
	other := "sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		says     func(w *overriding, r *http.Request) bool
		resolves bool // Digest believes it, and Confirm does not
	}{
		"the same name for each answer": {func(w *overriding, r *http.Request) bool {
			w.digest = other
			r.URL.Path = strings.Replace(r.URL.Path, other, "1", 1)
			return false
		}, true},
		"a name that leads nowhere": {func(w *overriding, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.digest = other
			}
			return false
		}, true},
		"no HEAD": {func(w *overriding, r *http.Request) bool {
			w.digest = other
			if r.Method == http.MethodHead {
				w.ResponseWriter.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodHead
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, want := serve(t)
			server := httptest.NewServer(lying{h.next, c.says})
			t.Cleanup(server.Close)
			reference := strings.TrimPrefix(server.URL, "http://") + "/team/web:1"
			r := quick(t)
			digest, err := r.Digest(t.Context(), reference)
			if !c.resolves {
				if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "/v2/") {
					t.Errorf("Digest: %s, %v", digest, err)
				}
				return
			}
			if err != nil || digest != other {
				t.Fatalf("Digest: %s, %v", digest, err)
			}
			if err := r.Confirm(t.Context(), reference, digest); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), other) {
				t.Errorf("Confirm: %v", err)
			}
		})
	}
	_, host, want := serve(t)
	if err := quick(t).Confirm(t.Context(), host+"/team/web:1", want); err != nil {
		t.Errorf("a digest that fits: %v", err)
	}
}
