package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/docs/reference"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/view"
)

// shown is a daemon that shows what a test says.
type shown struct {
	view        *view.View
	objects     []health.Object
	unreadable  error // why objects cannot be read
	ready, dead error
	wakes       chan struct{}
}

func (s *shown) View() *view.View         { return s.view }
func (s *shown) Changed() <-chan struct{} { return nil }
func (s *shown) Objects(context.Context, v1alpha1.Target) ([]health.Object, error) {
	return s.objects, s.unreadable
}
func (s *shown) Wake() {
	if s.wakes != nil {
		s.wakes <- struct{}{}
	}
}
func (s *shown) Ready() error { return s.ready }
func (s *shown) Alive() error { return s.dead }
func (s *shown) Metrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "syncer_queue_depth", Help: "h"}, func() float64 { return 3 }))
	return registry
}

var (
	noon    = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	hashA   = strings.Repeat("a1", 20)
	hashB   = strings.Repeat("b2", 20)
	digestX = "sha256:" + strings.Repeat("ab12", 16)
	digestY = "sha256:" + strings.Repeat("cd34", 16)
)

// fullView has a value in every field of the first target, and two targets more.
func fullView() *view.View {
	at, since := noon.Add(-time.Hour), metav1.NewTime(noon.Add(-time.Minute))
	id := manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "ingest"}
	finding := drift.Finding{
		Pipeline: "ingest", Environment: "prod", Kind: drift.Modified, Severity: drift.Warning, Object: id, Path: "spec.schedule",
		Desired: "*/15 * * * *", Live: map[string]any{"any": "value"}, Manager: "kubectl-edit", Operation: "Update", Subresource: "scale",
		User: "alice", Time: &at, FirstSeen: &at, AgeSeconds: 3600, File: "pipelines/ingest/base/cronjob.yaml", Line: 3, Message: "kubectl-edit changed it",
	}
	deployment := drift.Deployment{
		Number: 2, Commit: hashA, Author: "Ada <ada@example.com>", Subject: "Release", Time: at, Outcome: "Applied",
		Images: []drift.Image{{Reference: "registry.example.com/a:v1", Tag: "v1", Digest: digestX}}, RollbackOf: 1, HealthyAt: &at, AllowedBy: "Bob",
	}
	full := view.Target{
		Target: drift.Target{
			Pipeline: "ingest", Environment: "prod", State: drift.Waiting, Message: "it waits", Error: "an error", Commit: hashA, Author: "Ada", Subject: "Release",
			DeployedAt: &at, Behind: 2, Images: []drift.Image{{Reference: "registry.example.com/a:v1", Tag: "v1", Digest: digestX}},
			Unpinned:    []drift.Unpinned{{Object: id, Path: "spec.task", Reference: "registry.example.com/task:v1", Message: "looks like an image"}},
			Deployments: []drift.Deployment{deployment},
		},
		Owner: "data team", Folder: "pipelines/ingest", LeftGit: true, Findings: []drift.Finding{finding}, Total: 70,
		Past: []drift.Past{{Finding: finding, EndedAt: noon, Ending: drift.Corrected}},
		Held: []v1alpha1.HeldChange{{
			ObjectReference: v1alpha1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "data-prod", Name: "run"},
			Action:          "Replace", Reason: "Running", Message: "it runs", Since: since, Hash: "h",
		}},
		Conditions: []metav1.Condition{{Type: "Ready", Status: "True", ObservedGeneration: 2, LastTransitionTime: since, Reason: "Applied", Message: "m"}},
		Pins: []v1alpha1.PinnedImage{{
			Reference: "registry.example.com/a:v1", Refresh: "1", Semver: ">=1", Tag: "v1", Digest: digestX, ResolvedAt: since, Commit: hashA,
			PromotedFrom: "dev", Seen: digestY, LastDeployment: 2, UnusedSince: &since, Moves: 3,
		}},
		Objects: []manifest.ID{id},
	}
	return &view.View{
		At: noon, Configuration: "data-platform",
		Source: view.Source{URL: "https://git.example.com/data/pipelines.git", Follows: "main", Commit: hashB, FetchedAt: &at, Error: "an error"},
		Environments: []view.Environment{
			{Name: "dev", Drift: v1alpha1.Correct},
			{Name: "prod", Drift: v1alpha1.Report, PromoteFrom: "dev", Suspended: true},
		},
		Commits: []view.Commit{
			{Hash: hashB, Author: "Bob <bob@example.com>", Subject: "Newer", Time: noon},
			{Hash: hashA, Author: "Ada <ada@example.com>", Subject: "Release", Time: noon.Add(-48 * time.Hour)},
		},
		Targets: []view.Target{bare("ingest", "dev"), full, bare("report", "dev")},
		Events: []view.Event{
			{Time: noon, Kind: view.EventDrifted, Pipeline: "ingest", Environment: "prod", Commit: hashA, Severity: drift.Warning, Message: "m"},
			{Time: noon.Add(-48 * time.Hour), Kind: view.EventDeployed, Pipeline: "ingest", Environment: "dev", Commit: hashA, Severity: drift.Info, Message: "m"},
		},
		Replica: view.Replica{Identity: "syncer-0", Version: "v1.2.3", Leads: []string{"all"}},
	}
}

// bare is a target of which nothing is known yet.
func bare(name, environment string) view.Target {
	return view.Target{
		Target:   drift.Target{Pipeline: name, Environment: environment, State: drift.Unknown, Images: []drift.Image{}, Unpinned: []drift.Unpinned{}, Deployments: []drift.Deployment{}, Behind: -1},
		Findings: []drift.Finding{}, Past: []drift.Past{}, Held: []v1alpha1.HeldChange{}, Conditions: []metav1.Condition{},
		Pins: []v1alpha1.PinnedImage{}, Objects: []manifest.ID{},
	}
}

func fullDaemon() *shown {
	return &shown{view: fullView(), objects: []health.Object{{
		Object: manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "ingest"}, Health: "Healthy", Message: "m", Touched: true,
	}}}
}

func ask(t *testing.T, handler http.Handler, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for _, do := range change {
		do(request)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func header(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

// described is docs/reference/openapi.yaml with every object closed: what it does not name may not be there.
func described(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(reference.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[*openapi3.Schema]bool{}
	var closeAll func(*openapi3.SchemaRef)
	closeAll = func(ref *openapi3.SchemaRef) {
		if ref == nil || ref.Value == nil || seen[ref.Value] {
			return
		}
		s := ref.Value
		seen[s] = true
		if len(s.Properties) > 0 {
			no := false
			s.AdditionalProperties.Has = &no
		}
		closeAll(s.Items)
		closeAll(s.AdditionalProperties.Schema)
		for _, property := range s.Properties {
			closeAll(property)
		}
		for _, part := range s.AllOf {
			closeAll(part)
		}
	}
	for _, item := range doc.Paths.Map() {
		for _, response := range item.Get.Responses.Map() {
			for _, media := range response.Value.Content {
				closeAll(media.Schema)
			}
		}
	}
	return doc
}

// schemaOf is what the description says of the answer to a path, by its status.
func schemaOf(t *testing.T, doc *openapi3.T, path string, answer *httptest.ResponseRecorder) *openapi3.Schema {
	t.Helper()
	responses := doc.Paths.Value(path).Get.Responses
	response := responses.Status(answer.Code)
	if response == nil {
		response = responses.Default()
	}
	media := response.Value.Content.Get(answer.Header().Get("Content-Type"))
	if media == nil {
		t.Fatalf("%s: an answer %d of type %q is not described", path, answer.Code, answer.Header().Get("Content-Type"))
	}
	for name := range response.Value.Headers {
		if answer.Header().Get(name) == "" {
			t.Errorf("%s: the header %s is described and not there", path, name)
		}
	}
	return media.Schema.Value
}

// keysOf lists the keys that a schema has and that a document has, by their paths, as far as the document goes.
func keysOf(s *openapi3.Schema, doc any, at string, missing map[string]bool) {
	for _, part := range s.AllOf {
		keysOf(part.Value, doc, at, missing)
	}
	switch doc := doc.(type) {
	case map[string]any:
		for key, property := range s.Properties {
			value, there := doc[key]
			if name := at + "." + key; there && value != nil {
				missing[name] = false
				keysOf(property.Value, value, name, missing)
			} else if !missing[name] {
				_, seen := missing[name]
				missing[name] = !seen
			}
		}
		if s.AdditionalProperties.Schema != nil {
			for _, value := range doc {
				keysOf(s.AdditionalProperties.Schema.Value, value, at+"[]", missing)
			}
		}
	case []any:
		for _, item := range doc {
			keysOf(s.Items.Value, item, at+"[]", missing)
		}
	}
}

// Every route is described and every description is served; answers hold what is described, all of it, and nothing else.
func TestDescription(t *testing.T) {
	doc := described(t)
	paths := []string{"/api/v1/openapi.yaml"}
	for _, r := range routes {
		paths = append(paths, r.path)
		if doc.Paths.Value(r.path) == nil {
			t.Fatalf("%s is served and not described", r.path)
		}
		var names []string
		for _, p := range doc.Paths.Value(r.path).Get.Parameters {
			if p.Value.In == "query" {
				names = append(names, p.Value.Name)
			}
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(r.parameters)), slices.Sorted(slices.Values(names))); diff != "" {
			t.Errorf("%s: the parameters (-served +described):\n%s", r.path, diff)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(paths)), slices.Sorted(maps.Keys(doc.Paths.Map()))); diff != "" {
		t.Fatalf("the paths (-served +described):\n%s", diff)
	}
	daemon := fullDaemon()
	wholly(t, reflect.ValueOf(daemon.view.Targets[1]), "the target")
	handler := New(daemon)
	fill := strings.NewReplacer("{pipeline}", "ingest", "{environment}", "prod", "{hash}", hashA[:8])
	for _, path := range paths {
		answer := ask(t, handler, fill.Replace(path))
		if answer.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
			continue
		}
		schema := schemaOf(t, doc, path, answer)
		if path == "/api/v1/openapi.yaml" {
			if !bytes.Equal(answer.Body.Bytes(), reference.OpenAPI) {
				t.Error("it serves another description")
			}
			continue
		}
		document := decoded(t, answer)
		if err := schema.VisitJSON(document); err != nil {
			t.Errorf("%s: %v\n%s", path, err, answer.Body)
		}
		missing := map[string]bool{}
		keysOf(schema, document, path, missing)
		for name, gone := range missing {
			if gone {
				t.Errorf("%s is described and never there", name)
			}
		}
		unheardOf(t, path, schema, document)
	}
	for _, path := range []string{"/api/v1/status?pipelines=a", "/api/v1/history/none/prod", "/api/v1/commits/ffff"} {
		answer := ask(t, handler, path)
		route := strings.NewReplacer("none/prod", "{pipeline}/{environment}", "ffff", "{hash}", "?pipelines=a", "").Replace(path)
		if err := schemaOf(t, doc, route, answer).VisitJSON(decoded(t, answer)); err != nil || answer.Code < 400 {
			t.Errorf("%s: %d %v", path, answer.Code, err)
		}
	}
}

// unheardOf holds that the closed schema refuses a key that it does not name.
func unheardOf(t *testing.T, path string, schema *openapi3.Schema, document any) {
	t.Helper()
	top := document.(map[string]any)
	top["unheardOf"] = true
	if schema.VisitJSON(top) == nil {
		t.Errorf("%s: a key that is not described is accepted", path)
	}
	delete(top, "unheardOf")
}

func decoded(t *testing.T, answer *httptest.ResponseRecorder) any {
	t.Helper()
	var document any
	if err := json.Unmarshal(answer.Body.Bytes(), &document); err != nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	return document
}

// wholly fails where a field has no value: a key that is left out when empty would go untested.
func wholly(t *testing.T, value reflect.Value, at string) {
	t.Helper()
	if value.IsZero() {
		t.Errorf("%s has no value; fill it in this test", at)
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[time.Time]() || value.Type() == reflect.TypeFor[metav1.Time]() {
			return
		}
		for i := range value.NumField() {
			if field := value.Type().Field(i); field.IsExported() {
				wholly(t, value.Field(i), at+"."+field.Name)
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			wholly(t, value.Index(i), fmt.Sprintf("%s[%d]", at, i))
		}
	case reflect.Pointer:
		wholly(t, value.Elem(), at)
	}
}

func TestParameters(t *testing.T) {
	handler := New(fullDaemon())
	for target, want := range map[string]string{
		"/api/v1/status?pipeline=ingest&environment=prod":  "ingest@prod",
		"/api/v1/status?pipeline=ingest&pipeline=report":   "ingest@dev ingest@prod report@dev",
		"/api/v1/status?environment=dev":                   "ingest@dev report@dev",
		"/api/v1/targets?environment=dev&environment=prod": "ingest@dev ingest@prod report@dev",
		"/api/v1/targets?pipeline=report":                  "report@dev",
		"/api/v1/drift?pipeline=report":                    "report@dev",
		"/api/v1/events?since=24h":                         "ingest@prod",
		"/api/v1/events?limit=1":                           "ingest@prod",
		"/api/v1/events?environment=dev":                   "ingest@dev",
		"/api/v1/events?limit=5":                           "ingest@prod ingest@dev",
	} {
		var list struct{ Targets, Events []v1alpha1.Target }
		answer := ask(t, handler, target)
		if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil || answer.Code != http.StatusOK {
			t.Errorf("%s: %d %v %s", target, answer.Code, err, answer.Body)
		}
		var got []string
		for _, at := range append(list.Targets, list.Events...) {
			got = append(got, at.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	for target, want := range map[string]string{
		"/api/v1/commits":           hashB + hashA,
		"/api/v1/commits?since=24h": hashB,
		"/api/v1/commits?limit=1":   hashB,
	} {
		var list struct{ Commits []view.Commit }
		if err := json.Unmarshal(ask(t, handler, target).Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range list.Commits {
			got += c.Hash
		}
		if got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	handler := New(fullDaemon())
	for target, want := range map[string]string{
		"/api/v1/status?pipelines=a":                     `400 unknown parameter "pipelines"; there are pipeline, environment`,
		"/api/v1/status?since=1h":                        `400 unknown parameter "since"`,
		"/api/v1/daemon?x=1":                             `400 unknown parameter "x"; there are none here`,
		"/api/v1/drift?since=yesterday":                  `400 since: "yesterday" is not a duration (write 30m, 24h)`,
		"/api/v1/drift?since=-1h":                        `400 since:`,
		"/api/v1/drift?since=":                           `400 since:`,
		"/api/v1/events?limit=0":                         `400 limit: "0" is not a number of at least 1`,
		"/api/v1/events?limit=1&limit=2":                 `400 limit is given more than once`,
		"/api/v1/events?limit=x":                         `400 limit:`,
		"/api/v1/events?%zz":                             `400 the query cannot be read`,
		"/api/v1/status?environment=pord":                `404 there is no environment "pord" in the configuration; it has dev, prod`,
		"/api/v1/status?pipeline=ingset":                 `404 no pipeline "ingset" has been deployed to dev, prod by the configuration "data-platform"`,
		"/api/v1/drift?pipeline=report&environment=prod": `404 no pipeline "report" has been deployed to prod`,
		"/api/v1/history/report/prod":                    `404 report@prod was never deployed by the configuration "data-platform"`,
		"/api/v1/history/report/pord":                    `404 there is no environment "pord"`,
		"/api/v1/targets/ingest/staging":                 `404 there is no environment "staging"`,
		"/api/v1/commits/a1":                             `404 "a1" is no commit that is known here`,
		"/api/v1/":                                       `404 there is nothing here; /api/v1/openapi.yaml says what there is`,
		"/api/v2/status":                                 `404 there is nothing here`,
	} {
		answer := ask(t, handler, target)
		var p problem
		if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || answer.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %v %s", target, err, answer.Body)
		}
		if got := fmt.Sprint(p.Status, " ", p.Detail); !strings.HasPrefix(got, want) || p.Status != answer.Code || p.Title != http.StatusText(p.Status) {
			t.Errorf("%s: %s", target, got)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		answer := ask(t, handler, "/api/v1/status", func(r *http.Request) { r.Method = method })
		if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, answer.Code)
		}
	}
}

// Before the records were read, an empty list would say that nothing was ever deployed.
func TestNothingIsKnownYet(t *testing.T) {
	daemon := fullDaemon()
	daemon.view.Targets, daemon.ready = nil, errors.New("the records are being read")
	handler := New(daemon)
	answer := ask(t, handler, "/api/v1/status")
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "the daemon knows of nothing yet: the records are being read") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	for _, path := range []string{"/api/v1/daemon", "/api/v1/openapi.yaml"} {
		if answer := ask(t, handler, path); answer.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
	daemon.ready = nil
	if answer := ask(t, handler, "/api/v1/status"); answer.Code != http.StatusOK {
		t.Errorf("nothing was deployed: %d %s", answer.Code, answer.Body)
	}
	// What cannot be read any more is shown as it was read last.
	daemon.view, daemon.ready = fullView(), errors.New("the repository has not been read yet")
	if answer := ask(t, handler, "/api/v1/status"); answer.Code != http.StatusOK {
		t.Errorf("there is something to be shown: %d %s", answer.Code, answer.Body)
	}
}

// A misspelt pipeline is told from one whose environment cannot be read.
func TestAnEnvironmentThatCannotBeRead(t *testing.T) {
	daemon := fullDaemon()
	daemon.view.Environments[1].Error = "no route to host"
	if answer := ask(t, New(daemon), "/api/v1/status?pipeline=other"); answer.Code != http.StatusOK {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestObjectsThatCannotBeRead(t *testing.T) {
	daemon := fullDaemon()
	daemon.unreadable = errors.New("no route to host")
	answer := ask(t, New(daemon), "/api/v1/targets/ingest/prod")
	var got struct {
		Objects      []health.Object
		ObjectsError string
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if answer.Code != http.StatusOK || got.ObjectsError != "no route to host" || len(got.Objects) != 1 || got.Objects[0].Health != "Unknown" || got.Objects[0].Object.Name != "ingest" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if err := schemaOf(t, described(t), "/api/v1/targets/{pipeline}/{environment}", answer).VisitJSON(decoded(t, answer)); err != nil {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	daemon := fullDaemon()
	handler := New(daemon)
	asJSON := header("Accept", "application/json")
	check := func(path string, status int, text, document string) {
		t.Helper()
		if answer := ask(t, handler, path); answer.Code != status || answer.Body.String() != text {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
		var got bytes.Buffer
		answer := ask(t, handler, path, asJSON)
		if err := json.Compact(&got, answer.Body.Bytes()); err != nil || answer.Code != status || got.String() != document {
			t.Errorf("%s: %d %v %s", path, answer.Code, err, &got)
		}
	}
	check("/healthz", 200, "alive\n", `{"alive":true,"reason":""}`)
	check("/readyz", 200, "ready\n", `{"ready":true,"reason":""}`)
	daemon.ready, daemon.dead = errors.New("no commit was read yet"), errors.New("the loop has not turned for 5m")
	check("/healthz", 503, "not alive: the loop has not turned for 5m\n", `{"alive":false,"reason":"the loop has not turned for 5m"}`)
	check("/readyz", 503, "not ready: no commit was read yet\n", `{"ready":false,"reason":"no commit was read yet"}`)
}

func TestMetrics(t *testing.T) {
	answer := ask(t, New(fullDaemon()), "/metrics")
	for _, want := range []string{"\nsyncer_queue_depth 3\n", "\nsyncer_build_info{goversion=\"go", `version="v1.2.3"} 1`, "\ngo_goroutines ", "\nprocess_open_fds "} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("there is no %q in\n%s", want, answer.Body)
		}
	}
}

// Everything carries them, errors as well.
func TestSecurityHeaders(t *testing.T) {
	handler := New(fullDaemon())
	for _, path := range []string{"/api/v1/status", "/api/v1/none", "/healthz", "/metrics", "/none"} {
		h := ask(t, handler, path).Header()
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if h.Get(key) != want {
				t.Errorf("%s: %s: %q", path, key, h.Get(key))
			}
		}
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: %s", path, h.Get("Content-Security-Policy"))
		}
	}
}
