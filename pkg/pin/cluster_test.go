package pin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// discovery is what an API server says of the kinds that the tests need, by path.
var discovery = map[string]string{
	"/api":    `{"kind": "APIVersions", "versions": ["v1"]}`,
	"/api/v1": `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [{"name": "pods", "kind": "Pod", "namespaced": true}, {"name": "secrets", "kind": "Secret", "namespaced": true}, {"name": "serviceaccounts", "kind": "ServiceAccount", "namespaced": true}]}`,
	"/apis": `{"kind": "APIGroupList", "groups": [{"name": "syncer.dev", "versions": [{"groupVersion": "syncer.dev/v1alpha1", "version": "v1alpha1"}],
		"preferredVersion": {"groupVersion": "syncer.dev/v1alpha1", "version": "v1alpha1"}}]}`,
	"/apis/syncer.dev/v1alpha1": `{"kind": "APIResourceList", "groupVersion": "syncer.dev/v1alpha1", "resources": [{"name": "pipelinesyncs", "kind": "PipelineSync", "namespaced": true}]}`,
}

// apiServer answers questions for objects by their path; other objects are not there.
type apiServer struct {
	t *testing.T

	mu      sync.Mutex
	objects map[string]any // by path
	broken  string         // paths with this text give an internal error
}

// clusters starts an API server that has all environments.
func (s *apiServer) clusters() *target.Clusters {
	s.t.Helper()
	server := httptest.NewServer(s)
	s.t.Cleanup(server.Close)
	file := filepath.Join(s.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("KUBECONFIG", file)
	judge, err := health.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return target.NewClusters(cluster.Options{Namespace: "syncer-system", Judge: judge})
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", now.Format(http.TimeFormat))
	obj, ok := s.objects[r.URL.Path]
	answer := func(code int, reason string) {
		w.WriteHeader(code)
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": %d, "reason": %q, "message": %q, "details": {"name": %q}}`, code, reason, reason, name)
	}
	switch {
	case discovery[r.URL.Path] != "":
		fmt.Fprint(w, discovery[r.URL.Path])
	case s.broken != "" && strings.Contains(r.URL.Path, s.broken):
		answer(http.StatusForbidden, "Forbidden")
	case ok:
		if err := json.NewEncoder(w).Encode(obj); err != nil {
			s.t.Error(err)
		}
	case strings.HasSuffix(r.URL.Path, "s"): // a list
		fmt.Fprint(w, `{"kind": "List", "apiVersion": "v1", "items": []}`)
	default:
		answer(http.StatusNotFound, "NotFound")
	}
}

// addRecord has the API server return a record.
func (s *apiServer) addRecord(record *v1alpha1.PipelineSync) {
	of := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}
	record.APIVersion, record.Kind = v1alpha1.APIVersion, "PipelineSync"
	record.Namespace, record.Name = "syncer-system", of.RecordName()
	s.objects["/apis/syncer.dev/v1alpha1/namespaces/syncer-system/pipelinesyncs/"+record.Name] = record
}

// pod is a Pod of a target that syncer applied with an image.
func pod(of v1alpha1.Target, image, phase string) *unstructured.Unstructured {
	key, value := v1alpha1.MemberLabel("syncer-system", of)
	ready := "False"
	if phase == "Running" {
		ready = "True"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{
			"namespace": "shop", "name": "web", "uid": "u", "labels": map[string]any{key: value},
			"managedFields": []any{map[string]any{"manager": manifest.FieldManager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": map[string]any{
				"f:spec": map[string]any{"f:containers": map[string]any{`k:{"name":"web"}`: map[string]any{".": map[string]any{}, "f:name": map[string]any{}, "f:image": map[string]any{}}}},
			}}},
		},
		"spec":   map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}},
		"status": map[string]any{"phase": phase, "conditions": []any{map[string]any{"type": "Ready", "status": ready}}},
	}}
}

// addPod has the API server return a Pod.
func (s *apiServer) addPod(pod *unstructured.Unstructured) {
	s.objects["/api/v1/namespaces/shop/pods"] = map[string]any{"kind": "PodList", "apiVersion": "v1", "items": []any{pod.Object}}
	s.objects["/api/v1/pods"] = s.objects["/api/v1/namespaces/shop/pods"]
	s.objects["/api/v1/namespaces/shop/pods/web"] = pod.Object
}
