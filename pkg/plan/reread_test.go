package plan_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/connect"
)

// An object that is written while it is tried is read again. A refused read is not taken for a refused change, which may pass
// where the set changes a quota.
func TestObjectThatIsWrittenWhileItIsTriedIsReadAgain(t *testing.T) {
	b := bench.New(t)
	quota := "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: $NS}\nspec: {hard: {count/secrets: \"LIMIT\"}}\n"
	pass.Sync(b, b.Set(bench.Settings("it", "1"), strings.Replace(quota, "LIMIT", "10", 1)))
	refuse := false
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/configmaps/it") {
			return inner.RoundTrip(req)
		}
		if req.Method == http.MethodPatch {
			b.Edit(bench.ConfigMaps, "it", `{"data":{"more":"hand"}}`)
		}
		if req.Method == http.MethodGet && refuse {
			body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no one may read it"}`
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
		}
		return inner.RoundTrip(req)
	})
	set := b.Set(bench.Settings("it", "2"), strings.Replace(quota, "LIMIT", "11", 1))
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Update ConfigMap/it, Update ResourceQuota/q" {
		t.Errorf("the plan: %s", got)
	}
	b.Edit(bench.ConfigMaps, "it", `{"data":{"more":"another"}}`)
	refuse = true
	_, err := pass.TryPlan(b, set)
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/it: reading: ", "no one may read it")
}
