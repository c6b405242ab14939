package audit

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func post(log *Log, body io.Reader, change func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, "/audit", body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer secret")
	if change != nil {
		change(request)
	}
	answer := httptest.NewRecorder()
	Handler(log, func() (string, error) { return "secret", nil }).ServeHTTP(answer, request)
	return answer
}

func header(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

func TestHandler(t *testing.T) {
	good := string(batch(line("patch", "alice", "kubectl-edit", "a", "", noon)))
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		want   int
	}{
		"a batch":                  {good, nil, http.StatusOK},
		"with a charset":           {good, header("Content-Type", "application/json; charset=utf-8"), http.StatusOK},
		"a scheme in small":        {good, header("Authorization", "bearer secret"), http.StatusOK},
		"an empty batch":           {string(batch()), nil, http.StatusOK},
		"the largest batch":        {good + strings.Repeat(" ", largestBatch-len(good)), nil, http.StatusOK},
		"too large":                {good + strings.Repeat(" ", largestBatch-len(good)+1), nil, http.StatusRequestEntityTooLarge},
		"a look":                   {good, func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		"no token":                 {good, func(r *http.Request) { r.Header.Del("Authorization") }, http.StatusUnauthorized},
		"another token":            {good, header("Authorization", "Bearer secrets"), http.StatusUnauthorized},
		"an empty token":           {good, header("Authorization", "Bearer "), http.StatusUnauthorized},
		"another scheme":           {good, header("Authorization", "Basic secret"), http.StatusUnauthorized},
		"protobuf":                 {good, header("Content-Type", "application/vnd.kubernetes.protobuf"), http.StatusUnsupportedMediaType},
		"no media type":            {good, func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		"no body":                  {"", nil, http.StatusBadRequest},
		"no JSON":                  {"{", nil, http.StatusBadRequest},
		"another kind":             {`{"kind":"Pod","apiVersion":"v1"}`, nil, http.StatusBadRequest},
		"another version":          {strings.Replace(good, "audit.k8s.io/v1", "audit.k8s.io/v1beta1", 1), nil, http.StatusBadRequest},
		"items that are no events": {string(batch(strings.TrimSpace(line("patch", "eve", "m", "b", "", noon)), "7")), nil, http.StatusBadRequest},
	} {
		log := NewLog("")
		answer := post(log, strings.NewReader(c.body), c.change)
		if answer.Code != c.want {
			t.Errorf("%s: status %d: %s", name, answer.Code, answer.Body)
		}
		_, knows := log.Author(object("a"), Client{"kubectl-edit", "Update", ""}, noon, "syncer")
		if taken := c.want == http.StatusOK && c.body != string(batch()); knows != taken || !taken && log.count != 0 {
			t.Errorf("%s: taken: %t, and %d writes", name, knows, log.count)
		}
	}
}

func TestHandlerWithoutToken(t *testing.T) {
	for name, token := range map[string]func() (string, error){
		"not to be read": func() (string, error) { return "secret", errors.New("gone") },
		"empty":          func() (string, error) { return "", nil },
	} {
		request := httptest.NewRequest(http.MethodPost, "/audit", bytes.NewReader(batch()))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer ")
		answer := httptest.NewRecorder()
		Handler(NewLog(""), token).ServeHTTP(answer, request)
		if answer.Code != http.StatusServiceUnavailable || strings.Contains(answer.Body.String(), "gone") {
			t.Errorf("%s: status %d: %s", name, answer.Code, answer.Body)
		}
	}
}

func FuzzHandler(f *testing.F) {
	f.Add(batch(line("patch", "u", "m", "a", "", noon)), "application/json", "Bearer secret")
	f.Add([]byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{},null,{"objectRef":{},"responseStatus":{}}]}`), "application/json", "Bearer secret")
	f.Add([]byte(`[[[`), "text/plain; =", "Bearer")
	f.Fuzz(func(t *testing.T, body []byte, media, authorization string) {
		answer := post(NewLog(""), bytes.NewReader(body), func(r *http.Request) {
			r.Header["Content-Type"], r.Header["Authorization"] = []string{media}, []string{authorization}
		})
		if answer.Code != http.StatusOK && answer.Code/100 != 4 {
			t.Errorf("status %d", answer.Code)
		}
	})
}
