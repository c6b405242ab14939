package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestMain(m *testing.M) { os.Exit(bench.Run(m, lab.ControlPlaneOptions{})) }

// project is a repository of pipelines with its configuration, on a bench. Its target is orders@prod.
type project struct {
	*bench.Bench
	r        *reconcile.Reconciler
	history  *history
	registry *registry
	panicked int
	observed []reconcile.Observation
}

// newProject opens a configuration with one environment, prod, that has some more settings.
func newProject(t *testing.T, settings string) *project {
	t.Helper()
	p := &project{Bench: bench.New(t), history: &history{}, registry: &registry{digests: map[string]string{}}}
	text := fmt.Sprintf("apiVersion: syncer.dev/v1alpha1\nkind: Config\nname: %[1]s\nnamespace: %[1]s\nsource: {url: /repo, branch: main}\nenvironments:\n- name: prod\n  cluster: {kubeconfig: %s}\n%s", p.Records, p.Plane.Kubeconfig, settings)
	config, err := v1alpha1.DecodeConfig("syncer.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	guard := target.Guard{Log: log, Count: func(v1alpha1.Target) { p.panicked++ }}
	clusters := target.NewClusters(cluster.Options{Namespace: config.Namespace, UserAgent: p.Agent})
	dates := target.Dates{Now: time.Now}
	p.r = &reconcile.Reconciler{
		Config: config, Dates: dates, Guard: guard, Log: log,
		Planner: &target.Planner{Config: config, Source: p.history, Clusters: clusters, Renderings: &target.Renderings{}, Guard: guard.Call, Log: log},
		Pins: &pin.Resolver{
			Config: config, Clusters: clusters, Checks: pin.NewChecks(config, time.Now), Dates: dates, Log: log,
			Source: func(image.Credentials) image.Source { return p.registry },
		},
		Rating:  reconcile.Rating{AuditLog: func(*v1alpha1.Environment) *audit.Log { return audit.NewLog("") }, Log: log},
		Observe: func(_ *target.Desired, seen reconcile.Observation) { p.observed = append(p.observed, seen) },
	}
	return p
}

// files are the files of a commit, by path.
type files map[string]string

// orders are the files of the pipeline orders with some objects.
func orders(docs ...string) files { return pipeline("orders", docs...) }

func pipeline(name string, docs ...string) files {
	folder := "pipelines/" + name + "/overlays/prod/"
	return files{folder + "kustomization.yaml": "resources: [all.yaml]\n", folder + "all.yaml": strings.Join(docs, "---\n")}
}

// and returns the files together with others.
func (f files) and(others files) files {
	out := maps.Clone(f)
	maps.Copy(out, others)
	return out
}

// settings is the pipeline.yaml of a pipeline.
func settings(name, text string) files {
	return files{"pipelines/" + name + "/pipeline.yaml": "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n" + text}
}

// commit commits files, with $NS for the namespace of the bench, and plans the commit.
func (p *project) commit(f files, message string) *target.Commit {
	p.T.Helper()
	return p.plan(p.history.add(f, p.Namespace, message))
}

// plan plans a snapshot as a poll does.
func (p *project) plan(snap source.Snapshot) *target.Commit {
	p.T.Helper()
	commit, err := p.r.Planner.Plan(p.Ctx, snap, v1alpha1.Selection{})
	if err != nil {
		p.T.Fatal(err)
	}
	return commit
}

// again plans the newest commit again.
func (p *project) again() *target.Commit {
	p.T.Helper()
	return p.plan(p.history.snaps[len(p.history.snaps)-1])
}

// try reconciles the target of the bench in a pass of its own over a commit.
func (p *project) try(commit *target.Commit, change ...func(*reconcile.Pass)) (reconcile.Result, error) {
	p.T.Helper()
	pass := reconcile.NewPass(commit, p.r.Pins.NewLookups())
	for _, f := range change {
		f(pass)
	}
	return p.reconcile(pass, p.Target)
}

// reconcile reconciles a target in a pass.
func (p *project) reconcile(pass *reconcile.Pass, of v1alpha1.Target) (reconcile.Result, error) {
	p.T.Helper()
	d := pass.Commit.Find(of)
	if d == nil {
		p.T.Fatalf("the commit has no target %s", of)
	}
	result, err := p.r.Reconcile(p.Ctx, reconcile.Request{Desired: d, Pass: pass})
	pass.Note(result)
	return result, err
}

// want reconciles the target of the bench, and checks what came of it.
func (p *project) want(verdict reconcile.Verdict, message string, commit *target.Commit, change ...func(*reconcile.Pass)) reconcile.Result {
	p.T.Helper()
	result, err := p.try(commit, change...)
	if (err != nil) != (verdict == reconcile.Failed) {
		p.T.Fatalf("%s: %v", result.Result, err)
	}
	if result.Result != verdict || !strings.Contains(result.Message+result.Error, message) {
		p.T.Errorf("%s: %s%s\nwant %s: %s", result.Result, result.Message, result.Error, verdict, message)
	}
	return result
}

// condition is a condition of the record, as "STATUS REASON: MESSAGE".
func (p *project) condition(name string) string {
	p.T.Helper()
	record := p.Record()
	if record == nil {
		return "there is no record"
	}
	c := meta.FindStatusCondition(record.Status.Conditions, name)
	if c == nil {
		return "there is no condition"
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// wantCondition checks the begin of a condition.
func (p *project) wantCondition(name, want string) {
	p.T.Helper()
	if got := p.condition(name); !strings.HasPrefix(got, want) {
		p.T.Errorf("%s is %q, want %q", name, got, want)
	}
}

// history is the history of a repository in memory.
type history struct {
	snaps []source.Snapshot
}

func (h *history) add(f files, namespace, message string) source.Snapshot {
	tree := fstest.MapFS{}
	for name, content := range f {
		tree[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(content, "$NS", namespace)), Mode: 0o644}
	}
	subject, _, _ := strings.Cut(message, "\n")
	snap := source.Snapshot{Commit: fmt.Sprintf("%08d", len(h.snaps)+1), Author: "Ada <ada@example.com>", Subject: subject, Message: message, Files: fs.FS(tree)}
	h.snaps = append(h.snaps, snap)
	return snap
}

func (h *history) index(commit string) int {
	return slices.IndexFunc(h.snaps, func(s source.Snapshot) bool { return s.Commit == commit })
}

// Since implements target.Repository.
func (h *history) Since(_ context.Context, from, to string) (out []source.Commit, err error) {
	for i := h.index(to); i > h.index(from); i-- {
		s := h.snaps[i]
		out = append(out, source.Commit{Hash: s.Commit, Author: s.Author, Subject: s.Subject, Message: s.Message})
	}
	return out, nil
}

// At implements target.Repository.
func (h *history) At(_ context.Context, revision string) (source.Snapshot, error) {
	if i := h.index(revision); i >= 0 {
		return h.snaps[i], nil
	}
	return source.Snapshot{}, fmt.Errorf("there is no commit %s", revision)
}

// Objects implements target.Repository: the commits have no signatures.
func (h *history) Objects(context.Context, string, source.Reach) (source.Objects, error) {
	return source.Objects{}, errors.New("the commits of this history are no objects")
}

// registry has the digests of references.
type registry struct {
	mu      sync.Mutex
	digests map[string]string
}

func (r *registry) push(reference, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.digests[reference] = "sha256:" + strings.Repeat(digest, 64)
}

func (r *registry) Digest(_ context.Context, reference string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, digest, ok := strings.Cut(reference, "@"); ok {
		return digest, nil
	}
	if digest := r.digests[reference]; digest != "" {
		return digest, nil
	}
	return "", fmt.Errorf("resolving %s: %w", reference, image.ErrNotFound)
}

func (r *registry) Confirm(context.Context, string, string) error        { return nil }
func (r *registry) Tags(context.Context, string) ([]string, error)       { return nil, nil }
func (r *registry) Verify(context.Context, string, string, string) error { return nil }
