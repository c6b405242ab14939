package connect

import (
	"net/http"
	"strings"
)

// counted reports each request to an API server: its verb and the status of its answer, 0 where none came.
type counted struct {
	next http.RoundTripper
	tell func(verb string, code int)
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	code := 0
	if err == nil {
		code = resp.StatusCode
	}
	c.tell(verbOf(req), code)
	return resp, err
}

// verbOf names a request as RBAC does, with apply for a server-side apply and dry-run for one that writes nothing.
func verbOf(req *http.Request) string {
	query := req.URL.Query()
	switch {
	case query.Has("dryRun"):
		return "dry-run"
	case query.Get("watch") == "true":
		return "watch"
	}
	switch req.Method {
	case http.MethodGet:
		if namesObject(req.URL.Path) {
			return "get"
		}
		return "list"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		if strings.HasPrefix(req.Header.Get("Content-Type"), "application/apply-patch") {
			return "apply"
		}
		return "patch"
	}
	return strings.ToLower(req.Method)
}

// namesObject reports whether a path is that of one object and not that of a list. Any other path counts as one:
// /api/v1/namespaces/NS/RESOURCE/NAME, without the namespaces part for an object without a namespace, and the same below
// /apis/GROUP/VERSION.
func namesObject(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return true
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	return len(parts) > 1
}
