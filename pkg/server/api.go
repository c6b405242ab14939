package server

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/docs/reference"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/view"
)

// Headers of the API's answers.
const (
	// VersionHeader names the build that answers.
	VersionHeader = "Syncer-Version"
	// FindingsHeader counts the findings of all targets in a drift report, those included that the records did not keep.
	FindingsHeader = "Syncer-Findings"
)

// NothingHere is the detail of the problem that answers where the API has no such path.
const NothingHere = "there is nothing here; /api/v1/openapi.yaml says what there is"

// api answers below /api/v1. Every answer is of one view.
type api struct{ daemon Daemon }

// question is a request for something of a view, after its parameters were checked.
type question struct {
	*http.Request
	view      *view.View
	selection v1alpha1.Selection
	since     time.Duration // 0: all
	limit     int           // 0: all
	header    http.Header   // of the answer
}

// route is one path of the API. Its answer is printed as JSON.
type route struct {
	path       string
	parameters []string
	answer     func(*api, *question) (any, error)
	early      bool // it can be answered before anything was read
}

// routes are the whole API; docs/reference/openapi.yaml describes them.
var routes = []route{
	{path: "/api/v1/status", parameters: []string{"pipeline", "environment"}, answer: (*api).status},
	{path: "/api/v1/drift", parameters: []string{"pipeline", "environment", "since"}, answer: (*api).drift},
	{path: "/api/v1/images", parameters: []string{"pipeline", "environment"}, answer: (*api).images},
	{path: "/api/v1/history/{pipeline}/{environment}", parameters: []string{"limit"}, answer: (*api).history},
	{path: "/api/v1/targets", parameters: []string{"pipeline", "environment"}, answer: (*api).targets},
	{path: "/api/v1/targets/{pipeline}/{environment}", answer: (*api).target},
	{path: "/api/v1/commits", parameters: []string{"since", "limit"}, answer: (*api).commits},
	{path: "/api/v1/commits/{hash}", answer: (*api).commit},
	{path: "/api/v1/events", parameters: []string{"pipeline", "environment", "since", "limit"}, answer: (*api).events},
	{path: "/api/v1/daemon", answer: (*api).about, early: true},
}

// failure is an error with its status.
type failure struct {
	status int
	detail string
}

func (f *failure) Error() string { return f.detail }

func fail(status int, format string, args ...any) error {
	return &failure{status, fmt.Sprintf(format, args...)}
}

func newAPI(daemon Daemon) http.Handler {
	a, mux := &api{daemon}, http.NewServeMux()
	for _, r := range routes {
		mux.Handle("GET "+r.path, a.serve(r))
	}
	mux.HandleFunc("GET /api/v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(reference.OpenAPI) // the client may be gone
	})
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, "the API only shows things; deploy by a commit")
			return
		}
		refuse(w, r, http.StatusNotFound, NothingHere)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, daemon.View().Replica.Version)
		mux.ServeHTTP(w, r)
	})
}

func (a *api) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		q := &question{Request: request, view: a.daemon.View(), header: w.Header()}
		answer, err := any(nil), q.read(r.parameters)
		if err == nil && !r.early {
			err = a.blind(q)
		}
		if err == nil {
			err = q.check()
		}
		if err == nil {
			answer, err = r.answer(a, q)
		}
		if failed, ok := errors.AsType[*failure](err); ok {
			refuse(w, request, failed.status, failed.detail)
			return
		}
		if err != nil {
			refuse(w, request, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, answer)
	})
}

// read takes the parameters of a route, and refuses any other: a misspelt filter would show too much.
func (q *question) read(known []string) error {
	values, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return fail(http.StatusBadRequest, "the query cannot be read")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			return fail(http.StatusBadRequest, "unknown parameter %q; there are %s", name, cmp.Or(strings.Join(known, ", "), "none here"))
		}
		if name != "pipeline" && name != "environment" && len(values[name]) > 1 {
			return fail(http.StatusBadRequest, "%s is given more than once", name)
		}
	}
	if text := values.Get("since"); values.Has("since") {
		if q.since, err = time.ParseDuration(text); err != nil || q.since <= 0 {
			return fail(http.StatusBadRequest, "since: %q is not a duration (write 30m, 24h)", text)
		}
	}
	if text := values.Get("limit"); values.Has("limit") {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 {
			return fail(http.StatusBadRequest, "limit: %q is not a number of at least 1", text)
		}
	}
	q.selection = v1alpha1.Selection{Pipelines: values["pipeline"], Environments: values["environment"]}
	return nil
}

// check refuses unknown names, in the words of the commands: an empty answer about a misspelt name would be good news.
func (q *question) check() error {
	var names []string
	blind := false // something cannot be read
	for _, e := range q.view.Environments {
		names = append(names, e.Name)
		blind = blind || e.Error != ""
	}
	for _, name := range q.selection.Environments {
		if !slices.Contains(names, name) {
			return fail(http.StatusNotFound, "there is no environment %q in the configuration; it has %s", name, strings.Join(names, ", "))
		}
	}
	if len(q.selection.Environments) > 0 {
		names = q.selection.Environments
	}
	for _, name := range q.selection.Pipelines {
		there := slices.ContainsFunc(q.view.Targets, func(t view.Target) bool {
			return t.Pipeline == name && slices.Contains(names, t.Environment)
		})
		if !there && !blind {
			return fail(http.StatusNotFound, "no pipeline %q has been deployed to %s by the configuration %q", name, strings.Join(names, ", "), q.view.Configuration)
		}
	}
	return nil
}

// blind says that no view was read yet: an empty list would mean that nothing was ever deployed.
func (a *api) blind(q *question) error {
	if len(q.view.Targets) > 0 {
		return nil
	}
	if err := a.daemon.Ready(); err != nil {
		q.header.Set("Retry-After", "1")
		return fail(http.StatusServiceUnavailable, "the daemon knows of nothing yet: %s", err)
	}
	return nil
}

// target finds the one that the path names.
func (q *question) target() (*view.Target, error) {
	name := v1alpha1.Target{Pipeline: q.PathValue("pipeline"), Environment: q.PathValue("environment")}
	q.selection.Environments = []string{name.Environment}
	if err := q.check(); err != nil {
		return nil, err
	}
	t := q.view.Target(name.Pipeline, name.Environment)
	if t == nil {
		return nil, fail(http.StatusNotFound, "%s was never deployed by the configuration %q", name, q.view.Configuration)
	}
	return t, nil
}

// from is the time before which a question is not interested.
func (q *question) from() time.Time {
	if q.since == 0 {
		return time.Time{}
	}
	return q.view.At.Add(-q.since)
}

// first is the beginning of a list, as long as a question wants it.
func first[T any](q *question, list []T) []T {
	if q.limit > 0 && q.limit < len(list) {
		return list[:q.limit]
	}
	return list
}

func (a *api) status(q *question) (any, error) { return q.view.Status(q.selection), nil }

func (a *api) images(q *question) (any, error) { return q.view.Images(q.selection), nil }

func (a *api) drift(q *question) (any, error) {
	report := q.view.Report(q.selection)
	total := 0
	for _, t := range report.Targets {
		total += q.view.Target(t.Pipeline, t.Environment).Total
	}
	q.header.Set(FindingsHeader, strconv.Itoa(total))
	if q.since > 0 {
		report = report.Within(q.since)
	}
	return report, nil
}

func (a *api) history(q *question) (any, error) {
	t, err := q.target()
	if err != nil {
		return nil, err
	}
	history, _ := q.view.History(t.Pipeline, t.Environment)
	history.Deployments = first(q, history.Deployments)
	return history, nil
}

// targetSummary is a line of the list of targets; the target itself has the rest.
type targetSummary struct {
	Pipeline    string         `json:"pipeline"`
	Environment string         `json:"environment"`
	Owner       string         `json:"owner"`
	State       drift.State    `json:"state"`
	Message     string         `json:"message"`
	Error       string         `json:"error"`
	Commit      string         `json:"commit"`
	Author      string         `json:"author"`
	Subject     string         `json:"subject"`
	DeployedAt  *time.Time     `json:"deployedAt"`
	Behind      int            `json:"behind"`
	Images      []drift.Image  `json:"images"`
	Findings    findingSummary `json:"findings"`
	Held        int            `json:"held"`
}

// findingSummary counts findings. Total has those as well that the record does not keep.
type findingSummary struct {
	Critical int `json:"critical"`
	Warning  int `json:"warning"`
	Info     int `json:"info"`
	Total    int `json:"total"`
}

func (a *api) targets(q *question) (any, error) {
	list := []targetSummary{}
	for i := range q.view.Targets {
		t := &q.view.Targets[i]
		if !q.covers(t.Pipeline, t.Environment) {
			continue
		}
		list = append(list, targetSummary{
			Pipeline: t.Pipeline, Environment: t.Environment, Owner: t.Owner, State: t.State, Message: t.Message, Error: t.Error,
			Commit: t.Commit, Author: t.Author, Subject: t.Subject, DeployedAt: t.DeployedAt, Behind: t.Behind, Images: t.Images,
			Findings: findingSummary{t.Drift(drift.Critical), t.Drift(drift.Warning), t.Drift(drift.Info), t.Total}, Held: len(t.Held),
		})
	}
	return map[string]any{"targets": list}, nil
}

func (q *question) covers(name, environment string) bool {
	return (len(q.selection.Pipelines) == 0 || slices.Contains(q.selection.Pipelines, name)) &&
		(len(q.selection.Environments) == 0 || slices.Contains(q.selection.Environments, environment))
}

// targetDetail is a target with its live objects.
type targetDetail struct {
	drift.Target
	Owner      string                 `json:"owner"`
	Folder     string                 `json:"folder"`
	Findings   []drift.Finding        `json:"findings"`
	Total      int                    `json:"total"`
	Past       []drift.Past           `json:"past"`
	Held       []v1alpha1.HeldChange  `json:"held"`
	Conditions []metav1.Condition     `json:"conditions"`
	History    []drift.Deployment     `json:"history"`
	Pins       []v1alpha1.PinnedImage `json:"pins"`
	Objects    []health.Object        `json:"objects"`
	// ObjectsError says why the objects could not be read; then their health is Unknown.
	ObjectsError string `json:"objectsError"`
}

const healthUnknown = "Unknown"

func (a *api) target(q *question) (any, error) {
	t, err := q.target()
	if err != nil {
		return nil, err
	}
	detail := targetDetail{
		Target: t.Target, Owner: t.Owner, Folder: t.Folder, Findings: t.Findings, Total: t.Total, Past: t.Past, Held: t.Held,
		Conditions: t.Conditions, History: t.Deployments, Pins: t.Pins, Objects: []health.Object{},
	}
	objects, err := a.daemon.Objects(q.Context(), v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment})
	if err != nil {
		detail.ObjectsError, objects = err.Error(), unknownObjects(t.Objects)
	}
	detail.Objects = append(detail.Objects, objects...)
	return detail, nil
}

func unknownObjects(ids []manifest.ID) []health.Object {
	out := make([]health.Object, len(ids))
	for i, id := range ids {
		out[i] = health.Object{Object: id, Health: healthUnknown}
	}
	return out
}

func (a *api) commits(q *question) (any, error) {
	list := []view.Commit{}
	for _, c := range q.view.Commits {
		if !c.Time.Before(q.from()) {
			list = append(list, c)
		}
	}
	return map[string]any{"commits": first(q, list)}, nil
}

// commitDetail is a commit and its outcome in every target.
type commitDetail struct {
	*view.Commit
	Arrivals []view.Arrival `json:"arrivals"`
}

func (a *api) commit(q *question) (any, error) {
	hash := q.PathValue("hash")
	commit := q.view.Commit(hash)
	if commit == nil {
		return nil, fail(http.StatusNotFound, "%q is no commit that is known here, or the beginning of several; give four digits at least", hash)
	}
	return commitDetail{commit, q.view.Arrivals(commit.Hash)}, nil
}

func (a *api) events(q *question) (any, error) {
	list := []view.Event{}
	for _, e := range q.view.Events {
		if q.covers(e.Pipeline, e.Environment) && !e.Time.Before(q.from()) {
			list = append(list, e)
		}
	}
	return map[string]any{"events": first(q, list)}, nil
}

// About names the source and the environments of a daemon.
type About struct {
	At            time.Time          `json:"at"`
	Configuration string             `json:"configuration"`
	Source        view.Source        `json:"source"`
	Environments  []view.Environment `json:"environments"`
	Replica       view.Replica       `json:"replica"`
}

func (a *api) about(q *question) (any, error) {
	v := q.view
	return About{At: v.At, Configuration: v.Configuration, Source: v.Source, Environments: v.Environments, Replica: v.Replica}, nil
}
