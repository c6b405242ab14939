package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

var morning = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

// getPage asks for a page as a browser does.
func getPage(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	out := httptest.NewRecorder()
	handler.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return out
}

func TestX(t *testing.T) {
	d := publish(fixture(morning))
	d.objects = fixtureObjects
	for _, p := range []string{"/", "/pipelines/orders-daily?health=prod", "/commits", "/commits/" + commitHash(team[0].subject), "/events", "/nope"} {
		out := getPage(t, New(d), "GET", p)
		t.Log(p, out.Code, out.Body.Len())
		if out.Code == 500 {
			t.Error(out.Body.String())
		}
	}
}

func BenchmarkMatrix(b *testing.B) {
	handler := New(publish(large(morning, 100)))
	for b.Loop() {
		out := httptest.NewRecorder()
		handler.ServeHTTP(out, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil))
		if out.Code != http.StatusOK {
			b.Fatal(out.Body)
		}
	}
}
