package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/syncerdev/syncer/pkg/view"
)

// ledger keeps what is posted, by environment.
type ledger map[string]string

func (l ledger) take(environment string, batch []byte) error {
	switch {
	case environment == "none":
		return fmt.Errorf("%w: there is no environment %q", view.ErrNoAudit, environment)
	case strings.Contains(string(batch), "broken"):
		return errors.New("it is no EventList")
	}
	l[environment] += string(batch)
	return nil
}

func postAudit(handler http.Handler, path string, body io.Reader, change ...func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer audit-canary")
	for _, do := range change {
		do(request)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func TestAudit(t *testing.T) {
	file := secretFile(t, "audit-canary\n")
	for name, c := range map[string]struct {
		path, body string
		change     func(*http.Request)
		want       int
	}{
		"a batch":              {"/hooks/audit", "{}", nil, 200},
		"of an environment":    {"/hooks/audit/prod", "{}", nil, 200},
		"with a charset":       {"/hooks/audit", "{}", header("Content-Type", "application/json; charset=utf-8"), 200},
		"a scheme in small":    {"/hooks/audit", "{}", header("Authorization", "bearer audit-canary"), 200},
		"the largest batch":    {"/hooks/audit", strings.Repeat(" ", largestBatch), nil, 200},
		"too large":            {"/hooks/audit", strings.Repeat(" ", largestBatch+1), nil, 413},
		"a look":               {"/hooks/audit", "{}", func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"no token":             {"/hooks/audit", "{}", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"another token":        {"/hooks/audit", "{}", header("Authorization", "Bearer audit-canaries"), 401},
		"an empty token":       {"/hooks/audit", "{}", header("Authorization", "Bearer "), 401},
		"another scheme":       {"/hooks/audit", "{}", header("Authorization", "Basic audit-canary"), 401},
		"protobuf":             {"/hooks/audit", "{}", header("Content-Type", "application/vnd.kubernetes.protobuf"), 415},
		"no media type":        {"/hooks/audit", "{}", func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"no events":            {"/hooks/audit", "broken", nil, 400},
		"no such environment":  {"/hooks/audit/none", "{}", nil, 404},
		"something below that": {"/hooks/audit/prod/x", "{}", nil, 404},
	} {
		taken := ledger{}
		handler := public(t, &users{}, func(o *Options) { o.AuditTokenFile, o.Audit = file, taken.take })
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		answer := postAudit(handler, c.path, strings.NewReader(c.body), change)
		environment := strings.TrimPrefix(strings.TrimPrefix(c.path, "/hooks/audit"), "/")
		if answer.Code != c.want || (taken[environment] == c.body) != (c.want == 200) {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
}

func TestAuditWithoutToken(t *testing.T) {
	taken := ledger{}
	handler := public(t, &users{}, func(o *Options) { o.Audit = taken.take })
	if answer := postAudit(handler, "/hooks/audit", strings.NewReader("{}")); answer.Code != 404 || !strings.Contains(answer.Body.String(), "server.auditTokenFile") {
		t.Errorf("no file: %d %s", answer.Code, answer.Body)
	}
	file := secretFile(t, "\n")
	handler = public(t, &users{}, func(o *Options) { o.AuditTokenFile, o.Audit = file, taken.take })
	if answer := postAudit(handler, "/hooks/audit", strings.NewReader("{}"), header("Authorization", "Bearer ")); answer.Code != 503 {
		t.Errorf("an empty file: %d %s", answer.Code, answer.Body)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if answer := postAudit(handler, "/hooks/audit", strings.NewReader("{}")); answer.Code != 503 || strings.Contains(answer.Body.String(), file) {
		t.Errorf("a file that is gone: %d %s", answer.Code, answer.Body)
	}
	if len(taken) > 0 {
		t.Errorf("it took %v", taken)
	}
}

// A body is read only of whoever knows the token, and guesses are limited.
func TestAuditGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := ledger{}
		handler := newAudit(secretFile(t, "audit-canary"), taken.take, slog.New(slog.DiscardHandler))
		for i := range 3 * wrongTokens {
			body := &endless{left: 10 << 20}
			answer := postAudit(handler, "/hooks/audit", body, bearer(fmt.Sprint("guess ", i)))
			if want := map[bool]int{true: 401, false: 429}[i < wrongTokens]; answer.Code != want || body.read > 0 {
				t.Fatalf("guess %d: %d after %d bytes", i, answer.Code, body.read)
			}
		}
		for range 3 * wrongTokens {
			answer := postAudit(handler, "/hooks/audit", strings.NewReader("{}"), func(r *http.Request) { r.RemoteAddr = "198.51.100.9:1" })
			if answer.Code != 200 {
				t.Fatalf("who knows it is limited: %d", answer.Code)
			}
		}
	})
}
