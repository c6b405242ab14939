package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/server"
	"github.com/syncerdev/syncer/pkg/view"
)

// still is a daemon that always shows the same view.
type still struct{ view *view.View }

func (s still) View() *view.View         { return s.view }
func (s still) Changed() <-chan struct{} { return nil }
func (s still) Objects(context.Context, v1alpha1.Target) ([]health.Object, error) {
	return nil, nil
}
func (s still) Wake()                        {}
func (s still) Ready() error                 { return nil }
func (s still) Alive() error                 { return nil }
func (s still) Metrics() prometheus.Gatherer { return prometheus.NewRegistry() }

// aView has ingest in dev and prod, with findings in prod whose values are of several types.
func aView() *view.View {
	target := func(environment string, state drift.State, digest string) view.Target {
		return view.Target{
			Target: drift.Target{
				Pipeline: "ingest", Environment: environment, State: state, Message: "a message", Commit: aCommit, Author: "Ada <ada@example.com>", Subject: "Release",
				DeployedAt: &aTime, Images: []drift.Image{{Reference: "registry.example.com/a:v1", Digest: digest}}, Unpinned: []drift.Unpinned{},
				Deployments: []drift.Deployment{{
					Number: 1, Commit: aCommit, Author: "Ada <ada@example.com>", Subject: "Release", Time: aTime, Outcome: "Applied",
					Images: []drift.Image{{Reference: "registry.example.com/a:v1", Digest: digest}},
				}},
			},
			Findings: []drift.Finding{}, Past: []drift.Past{}, Held: []v1alpha1.HeldChange{}, Conditions: []metav1.Condition{},
			Pins:    []v1alpha1.PinnedImage{{Reference: "registry.example.com/a:v1", Digest: digest, ResolvedAt: metav1.NewTime(aTime), Commit: aCommit}},
			Objects: []manifest.ID{anID},
		}
	}
	dev, prod := target("dev", drift.Ready, aDigest), target("prod", drift.Failed, "sha256:"+strings.Repeat("cd34", 16))
	finding := func(path string, desired, live any) drift.Finding {
		f := fullFinding()
		f.Path, f.Desired, f.Live = path, desired, live
		return f
	}
	prod.Findings = []drift.Finding{
		finding("spec.replicas", float64(3), float64(12345678901)),
		finding("spec.schedule", "0 3 * * *", nil),
		finding("spec.suspend", true, map[string]any{"a": []any{1.5, "x", nil}}),
	}
	prod.Total = len(prod.Findings)
	prod.Past = []drift.Past{{Finding: fullFinding(), EndedAt: aTime, Ending: drift.Corrected}}
	return &view.View{
		At: aTime.Add(time.Hour), Configuration: "data-platform",
		Source:       view.Source{URL: "https://git.example.com/data/pipelines.git", Follows: "main", Commit: aCommit},
		Environments: []view.Environment{{Name: "prod"}, {Name: "dev"}}, // not by the alphabet
		Commits:      []view.Commit{}, Events: []view.Event{},
		Targets: []view.Target{prod, dev},
		Replica: view.Replica{Identity: "syncer-0", Version: buildVersion(), Leads: []string{"all"}},
	}
}

// syncer runs a command as a user does, in a folder without a configuration.
func syncer(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func printed(t *testing.T, print func(io.Writer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A daemon's answer is printed byte for byte like the result that a command reads itself.
func TestRemotePrintsTheSame(t *testing.T) {
	v := aView()
	daemon := httptest.NewServer(server.New(still{v}))
	defer daemon.Close()
	all, dev := v1alpha1.Selection{}, v1alpha1.Selection{Environments: []string{"dev"}, Pipelines: []string{"ingest"}}
	report := v.Report(all)
	reported := func(output string) func(io.Writer) error {
		return func(w io.Writer) error { return printReport(w, report, output, markdownLimit, false) }
	}
	inText := report
	inText.Past = nil
	history, _ := v.History("ingest", "prod")
	for _, c := range []struct {
		args string
		code int
		want func(io.Writer) error
	}{
		{"status", 0, func(w io.Writer) error { return printStatus(w, v.Status(all)) }},
		{"status -o json", 0, func(w io.Writer) error { return printJSON(w, v.Status(all)) }},
		{"status ingest --env dev", 0, func(w io.Writer) error { return printStatus(w, v.Status(dev)) }},
		{"images", 0, func(w io.Writer) error { return printImages(w, v.Images(all), []string{"prod", "dev"}) }},
		{"images -o json", 0, func(w io.Writer) error { return printJSON(w, v.Images(all)) }},
		{"history ingest --env prod", 0, func(w io.Writer) error { return printHistory(w, history) }},
		{"history ingest --env prod -o json", 0, func(w io.Writer) error { return printJSON(w, history) }},
		{"drift", 1, func(w io.Writer) error { return printReport(w, inText, "text", 0, false) }},
		{"drift --fail-on critical", 0, func(w io.Writer) error { return printReport(w, inText, "text", 0, false) }},
		{"drift --env dev", 0, func(w io.Writer) error {
			quiet := v.Report(dev)
			quiet.Past = nil
			return printReport(w, quiet, "text", 0, false)
		}},
		{"drift --since 240h", 1, func(w io.Writer) error { return printReport(w, report.Within(240*time.Hour), "text", 0, false) }},
		{"drift -o json", 1, reported("json")},
		{"drift -o yaml", 1, reported("yaml")},
		{"drift -o markdown", 1, reported("markdown")},
		{"drift -o html", 1, reported("html")},
		{"drift -o junit", 1, reported("junit")},
		{"drift -o sarif", 1, reported("sarif")},
	} {
		code, stdout, stderr := syncer(t, append(strings.Fields(c.args), "--server", daemon.URL)...)
		if diff := gocmp.Diff(printed(t, c.want), stdout); code != c.code || stderr != "" || diff != "" {
			t.Errorf("%s: exit status %d, %s\n%s", c.args, code, stderr, diff)
		}
	}
}

func TestRemoteErrors(t *testing.T) {
	answering := func(status int, header map[string]string, body string) string {
		daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for key, value := range header {
				w.Header().Set(key, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(daemon.Close)
		return daemon.URL
	}
	asProblem := func(status int, detail string) string {
		return answering(status, map[string]string{"Content-Type": "application/problem+json", "Syncer-Version": "v0.0.1"}, fmt.Sprintf(`{"status":%d,"detail":%q}`, status, detail))
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	v := aView()
	daemon := httptest.NewServer(server.New(still{v}))
	defer daemon.Close()
	for name, c := range map[string]struct{ args, token, want string }{
		"nobody is there":         {"status --server " + gone.URL, "", "syncer: error: asking the daemon at " + gone.URL + ": dial tcp"},
		"no token":                {"status --server " + asProblem(401, "d"), "", "it wants to know who asks; give a token with --token-file or in SYNCER_TOKEN, such as `kubectl create token"},
		"a wrong token":           {"status --server " + asProblem(401, "d"), "token-canary", "it does not know the token, which may have ended; give a new one"},
		"not allowed":             {"status --server " + asProblem(403, "bob may not list things"), "token-canary", "bob may not list things; give it a role that allows this"},
		"too early":               {"status --server " + asProblem(503, "it has just started"), "", ": it has just started\n"},
		"an older daemon":         {"status --server " + asProblem(404, server.NothingHere), "", "it does not know this question; it is syncer v0.0.1, and this is " + buildVersion()},
		"an older parameter":      {"status --server " + asProblem(400, `unknown parameter "x"`), "", `unknown parameter "x"; it is syncer v0.0.1`},
		"a login page":            {"status --server " + answering(200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<html>"), "", "it answers with 200 OK and an HTML page; it is no syncer, or there is something in front of it, such as a login page"},
		"a redirect":              {"status --server " + answering(302, map[string]string{"Location": "https://login.example.com/"}, ""), "token-canary", "it answers with 302 Found; there is something else in front of it"},
		"something else":          {"status --server " + answering(200, map[string]string{"Content-Type": "text/plain"}, "hello"), "", `it answers with 200 OK and "text/plain"`},
		"another JSON":            {"status --server " + answering(200, map[string]string{"Content-Type": "application/json", "Syncer-Version": "v9"}, `{"targets":"many"}`), "", "reading the answer of the daemon at"},
		"another JSON's version":  {"status --server " + answering(200, map[string]string{"Content-Type": "application/json", "Syncer-Version": "v9"}, `{"targets":"many"}`), "", "; it is syncer v9, and this is"},
		"half an answer":          {"status --server " + answering(200, map[string]string{"Content-Type": "application/json"}, `{"targets":`), "", "unexpected EOF"},
		"an unknown environment":  {"status --env pord --server " + daemon.URL, "", `there is no environment "pord" in the configuration; it has prod, dev`},
		"an unknown pipeline":     {"drift ingset --server " + daemon.URL, "", `no pipeline "ingset" has been deployed to prod, dev by the configuration "data-platform"`},
		"never deployed":          {"history other --env dev --server " + daemon.URL, "", `other@dev was never deployed by the configuration "data-platform"`},
		"a name with a slash":     {"history a/b --env dev --server " + daemon.URL, "", `a/b@dev was never deployed`},
		"a comparison":            {"drift --compare dev,prod --server " + daemon.URL, "", "--compare, --explain and --full need the clusters"},
		"what was left out":       {"drift --explain --server " + daemon.URL, "", "--compare, --explain and --full need the clusters"},
		"no URL":                  {"status --server localhost:8080", "", "--server localhost:8080: it is no address of a daemon; write https://syncer.example.com or http://localhost:8080"},
		"an address":              {"status --server 127.0.0.1:8080", "", "--server 127.0.0.1:8080: it is no address of a daemon; write"},
		"an empty URL":            {"status --server=", "", "--server names no daemon; write https://syncer.example.com, or leave it out"},
		"a password alone":        {"status --server u:token-canary@127.0.0.1:x", "", "--server (masked): it is no address of a daemon"},
		"a password in the URL":   {"status --server http://u:token-canary@localhost:8080", "", "--server (masked): it is no address of a daemon"},
		"a token for nobody":      {"status --token-file x", "", "--token-file and --server-ca are for --server"},
		"a token file not there":  {"status --token-file none --server " + daemon.URL, "", "reading the token: open none"},
		"no certificates to read": {"status --server-ca none --server " + daemon.URL, "", "reading the certificates to trust: open none"},
	} {
		t.Setenv("SYNCER_TOKEN", c.token)
		code, stdout, stderr := syncer(t, strings.Fields(c.args)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "token-canary") {
			t.Errorf("%s: exit status %d\n%s%s", name, code, stdout, stderr)
		}
	}
}

// An environment that the daemon cannot read makes the command fail, as one that the command cannot read does.
func TestRemoteTellsWhatCannotBeRead(t *testing.T) {
	v := aView()
	v.Environments[0].Error = "no route to host"
	v.Targets[0].Error = "it cannot be compared"
	daemon := httptest.NewServer(server.New(still{v}))
	defer daemon.Close()
	for args, want := range map[string]string{
		"status": "environment prod: no route to host", "images": "environment prod: no route to host",
		"drift": "environment prod: no route to host\nsyncer: error: ingest@prod: it cannot be compared",
	} {
		code, stdout, stderr := syncer(t, args, "--server", daemon.URL)
		if code != 2 || stderr != "syncer: error: "+want+"\n" || !strings.Contains(stdout, "ingest") {
			t.Errorf("%s: exit status %d\n%s%s", args, code, stdout, stderr)
		}
		if code, _, stderr := syncer(t, args, "--env", "dev", "--server", daemon.URL); code != 0 || stderr != "" {
			t.Errorf("%s of the other environment: exit status %d\n%s", args, code, stderr)
		}
	}
}

// More findings than a record keeps are not passed over in silence.
func TestRemoteSaysThatThereIsMore(t *testing.T) {
	v := aView()
	v.Targets[0].Total = 70
	daemon := httptest.NewServer(server.New(still{v}))
	defer daemon.Close()
	if code, _, stderr := syncer(t, "drift", "--server", daemon.URL); code != 1 || !strings.Contains(stderr, "missing=67") {
		t.Errorf("exit status %d\n%s", code, stderr)
	}
}

func TestRemoteToken(t *testing.T) {
	inner := server.New(still{aView()})
	daemon := httptest.NewTLSServer(http.StripPrefix("/syncer", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"d"}`)
			return
		}
		inner.ServeHTTP(w, r)
	})))
	defer daemon.Close()
	dir := t.TempDir()
	ca, tokenFile, wrong := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token"), filepath.Join(dir, "wrong")
	for file, content := range map[string][]byte{
		ca:        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: daemon.Certificate().Raw}),
		tokenFile: []byte("right\n"), wrong: []byte("wrong\n"),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := daemon.URL + "/syncer/"
	for name, c := range map[string]struct {
		variable string
		args     []string
		code     int
		want     string
	}{
		"by the variable":                 {"right", []string{"--server-ca", ca}, 0, ""},
		"by a file":                       {"", []string{"--server-ca", ca, "--token-file", tokenFile}, 0, ""},
		"the file goes first":             {"right", []string{"--server-ca", ca, "--token-file", wrong}, 2, "does not know the token"},
		"by none":                         {"", []string{"--server-ca", ca}, 2, "--token-file"},
		"a certificate that is not known": {"right", nil, 2, "certificate"},
		"no certificate in the file":      {"right", []string{"--server-ca", tokenFile}, 2, "holds none in PEM"},
	} {
		t.Setenv("SYNCER_TOKEN", c.variable)
		code, _, stderr := syncer(t, append([]string{"status", "--server", at}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit status %d\n%s", name, code, stderr)
		}
	}
}
