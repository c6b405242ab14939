package cluster_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestProbeSaysTheVersionAndTheClock(t *testing.T) {
	b := bench.New(t)
	answer, err := cluster.Probe(b.Ctx, b.Cluster, func() time.Time { return time.Now().Add(-time.Hour) })
	if err != nil || !strings.HasPrefix(answer.Version, "v1.") || answer.Host != b.Cluster.Config().Host {
		t.Errorf("got %+v, %v", answer, err)
	}
	if off := answer.Ahead - time.Hour; off.Abs() > time.Minute || answer.Within < time.Second/2 {
		t.Errorf("the clock of the server is ahead by %s within %s", answer.Ahead, answer.Within)
	}
	if date, known := b.Cluster.Date(); !known || time.Since(date).Abs() > time.Minute || cluster.Since(b.Cluster, date.Add(-time.Hour)) < time.Hour {
		t.Errorf("its date is %s, known %t", date, known)
	}
}

func TestProbeOfWhatIsNoAPIServer(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a page":      {http.StatusOK, "<html>", "the answer is not that of an API server"},
		"no version":  {http.StatusOK, "{}", "the answer is not that of an API server"},
		"not allowed": {http.StatusForbidden, "{}", "for its version: it answers 403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer other.Close()
			server, err := cluster.With(&rest.Config{Host: other.URL}, connect.DefaultLimits, cluster.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = cluster.Probe(t.Context(), server, time.Now)
			bench.WantError(t, err, other.URL, c.want)
			other.Close()
			_, err = cluster.Probe(t.Context(), server, time.Now)
			bench.WantError(t, err, "asking the API server at "+other.URL+": ", "connection refused")
		})
	}
}

// A definition of the cluster may have more than that of this build, and no less.
func TestDefinitionIsCompared(t *testing.T) {
	b := bench.New(t)
	definition := func(name, properties string) *unstructured.Unstructured {
		return b.Object(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + name + `.$NS.example.com}
spec:
  group: $NS.example.com
  scope: Namespaced
  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {` + properties + `}}}}]
`)
	}
	live, err := manifest.Set{definition("gadgets", "a: {type: string}, b: {type: string}")}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	b.Create(bench.CRDs, string(live))
	kubeconfig, err := b.Plane.AddUser("blind-" + b.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	_, blind := b.Connect(kubeconfig)
	for name, c := range map[string]struct {
		server *cluster.Cluster
		want   *unstructured.Unstructured
		state  cluster.DefinitionState
	}{
		"the same":       {b.Cluster, definition("gadgets", "a: {type: string}, b: {type: string}"), cluster.DefinitionSame},
		"more there":     {b.Cluster, definition("gadgets", "a: {type: string}"), cluster.DefinitionSame},
		"less there":     {b.Cluster, definition("gadgets", "a: {type: string}, c: {type: string}"), cluster.DefinitionOlder},
		"not there":      {b.Cluster, definition("others", "a: {type: string}"), cluster.DefinitionMissing},
		"without rights": {blind, definition("gadgets", "a: {type: string}"), cluster.DefinitionHidden},
	} {
		if got, err := cluster.Definition(b.Ctx, c.server, c.want); err != nil || got != c.state {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	b.ConnectThrough(connect.DefaultLimits, func(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, io.ErrClosedPipe })
	if _, err := cluster.Definition(b.Ctx, b.Cluster, definition("gadgets", "")); err == nil {
		t.Error("a server that does not answer has a definition")
	}
}
