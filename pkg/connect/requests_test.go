package connect

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestVerbOf(t *testing.T) {
	cases := []struct{ method, target, content, want string }{
		{"GET", "/api/v1/namespaces/etl/configmaps/a", "", "get"},
		{"GET", "/api/v1/namespaces/etl/configmaps", "", "list"},
		{"GET", "/api/v1/configmaps?limit=500", "", "list"},
		{"GET", "/api/v1/namespaces", "", "list"},
		{"GET", "/api/v1/namespaces/etl", "", "get"},
		{"GET", "/apis/batch/v1/namespaces/etl/jobs", "", "list"},
		{"GET", "/apis/batch/v1/namespaces/etl/jobs/a/status", "", "get"},
		{"GET", "/apis/syncer.dev/v1alpha1/namespaces/a/pipelinesyncs?watch=true", "", "watch"},
		{"GET", "/apis", "", "get"},
		{"GET", "/api/v1", "", "get"},
		{"GET", "/version", "", "get"},
		{"PATCH", "/api/v1/namespaces/etl/configmaps/a?fieldManager=syncer", "application/apply-patch+yaml", "apply"},
		{"PATCH", "/api/v1/namespaces/etl/configmaps/a?dryRun=All", "application/apply-patch+yaml", "dry-run"},
		{"PATCH", "/api/v1/namespaces/etl/configmaps/a", "application/merge-patch+json", "patch"},
		{"POST", "/api/v1/namespaces/etl/events", "", "create"},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "", "update"},
		{"DELETE", "/api/v1/namespaces/etl/configmaps/a", "", "delete"},
	}
	for _, c := range cases {
		req := httptest.NewRequest(c.method, c.target, http.NoBody)
		req.Header.Set("Content-Type", c.content)
		if got := verbOf(req); got != c.want {
			t.Errorf("%s %s is %q, want %q", c.method, c.target, got, c.want)
		}
	}
}
