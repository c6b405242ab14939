package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
)

// history is a repository in memory: the files of each commit, by its hash.
type history map[string]fstest.MapFS

func (h history) Since(context.Context, string, string) ([]source.Commit, error) { return nil, nil }

// Objects gives each commit alone. The commits whose names begin with signed have the signature of planKey.
func (h history) Objects(_ context.Context, commit string, _ source.Reach) (source.Objects, error) {
	raw := "tree 1\nauthor Ann <ann@example.com> 1700000000 +0000\ncommitter Ann <ann@example.com> 1700000000 +0000\n"
	if body := "\n" + commit + "\n"; strings.HasPrefix(commit, "signed") {
		raw = signedObject(raw, body, planKey())
	} else {
		raw += body
	}
	return source.Objects{Commits: []source.Object{{Hash: commit, Raw: []byte(raw)}}}, nil
}

func (h history) At(_ context.Context, commit string) (source.Snapshot, error) {
	if h[commit] == nil {
		return source.Snapshot{}, fmt.Errorf("commit %s was not fetched", commit)
	}
	return h.snapshot(commit), nil
}

func (h history) snapshot(commit string) source.Snapshot {
	return source.Snapshot{Commit: commit, Files: h[commit]}
}

// planning is a Planner on the API server of a bench, for the environments dev, prod and away. The API server of away does not
// answer.
type planning struct {
	*bench.Bench
	*Planner
	history history
}

func newPlanning(t *testing.T) *planning {
	t.Helper()
	b := bench.New(t)
	config, err := v1alpha1.DecodeConfig("syncer.yaml", fmt.Appendf(nil, `apiVersion: syncer.dev/v1alpha1
kind: Config
name: data
namespace: %s
source: {url: /repo, branch: main}
environments:
- {name: dev, cluster: {kubeconfig: %[2]q}, prune: {maxPercent: 100}}
- {name: prod, cluster: {kubeconfig: %[2]q}, prune: {maxPercent: 100}}
- {name: away, cluster: {kubeconfig: /there/is/none}}
`, b.Records, b.Plane.Kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	judge, err := health.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &planning{Bench: b, history: history{}}
	p.Planner = &Planner{
		Config: config, Source: p.history, Clusters: NewClusters(cluster.Options{Namespace: b.Records, Judge: judge}),
		Renderings: &Renderings{}, Guard: Guard{}.Call, Log: slog.New(slog.DiscardHandler),
	}
	return p
}

// commit adds a commit whose pipelines each have an overlay for dev and prod with one ConfigMap.
func (p *planning) commit(hash string, pipelines map[string]string) source.Snapshot {
	files := fstest.MapFS{}
	for name, value := range pipelines {
		for _, environment := range []string{"dev", "prod"} {
			at := "pipelines/" + name + "/overlays/" + environment + "/"
			files[at+"kustomization.yaml"] = &fstest.MapFile{Data: []byte("namespace: " + p.Namespace + "\nresources: [object.yaml]\n")}
			files[at+"object.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%s}\ndata: {key: %q}\n", name, environment, value)}
		}
	}
	p.history[hash] = files
	return p.history.snapshot(hash)
}

// record writes a record as a syncer of a configuration does.
func (p *planning) record(owner, pipeline, environment string, status v1alpha1.PipelineSyncStatus) {
	p.T.Helper()
	of := v1alpha1.Target{Pipeline: pipeline, Environment: environment}
	spec := v1alpha1.PipelineSyncSpec{Owner: owner, Pipeline: pipeline, Environment: environment, Source: v1alpha1.RecordSource{URL: "/repo", Commit: "c1"}}
	if _, err := p.Bench.Cluster.Records().Create(p.Ctx, of, spec); err != nil {
		p.T.Fatal(err)
	}
	if _, err := p.Bench.Cluster.Records().SaveStatus(p.Ctx, of, status, ""); err != nil {
		p.T.Fatal(err)
	}
}

// namesOf lists targets, those with an error with a mark.
func namesOf(targets []*Desired) string {
	var out []string
	for _, d := range targets {
		name := d.Target.String()
		if d.Err != nil {
			name += "!"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestPlanJoinsACommitWithTheRecords(t *testing.T) {
	p := newPlanning(t)
	applied := v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c1"}
	removed := metav1.Now()
	p.record("data", "etl", "prod", applied)
	p.record("data", "left", "prod", applied)
	p.record("data", "left", "dev", v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c1", RemovedAt: &removed})
	p.record("data", "half", "dev", applied)
	p.record("other", "taken", "dev", applied)
	p.record("other", "theirs", "dev", applied)
	snap := p.commit("c2", map[string]string{"etl": "1", "taken": "1", "half": "1"})
	for _, file := range []string{"kustomization.yaml", "object.yaml"} {
		delete(p.history["c2"], "pipelines/half/overlays/dev/"+file)
	}

	commit, err := p.Plan(p.Ctx, snap, v1alpha1.Selection{Environments: []string{"dev", "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	// left@prod leaves git, half@dev lost its overlay, taken@dev has the record of another configuration.
	if got, want := namesOf(commit.Targets), "etl@dev etl@prod half@dev! half@prod left@prod taken@dev! taken@prod"; got != want {
		t.Errorf("the targets are %s, want %s", got, want)
	}
	if got := namesOf(commit.Retired); got != "left@dev" {
		t.Errorf("retired are %s", got)
	}
	of := func(pipeline, environment string) *Desired {
		return commit.Find(v1alpha1.Target{Pipeline: pipeline, Environment: environment})
	}
	if d := of("etl", "prod"); d.Record == nil || len(d.Rendered.Set.IDs()) != 1 || d.Overlay != "pipelines/etl/overlays/prod" {
		t.Errorf("a target that is deployed: %+v", d)
	}
	if d := of("etl", "dev"); d.Record != nil || len(d.Rendered.Set.IDs()) != 1 {
		t.Errorf("a target that was never deployed: %+v", d)
	}
	if d := of("left", "prod"); d.Overlay != "" || d.Record == nil {
		t.Errorf("a target that leaves git: %+v", d)
	}
	var missing *MissingOverlayError
	if d := of("half", "dev"); !errors.As(d.Err, &missing) {
		t.Errorf("a target whose overlay is gone: %v", d.Err)
	}
	if d := of("taken", "dev"); !strings.Contains(d.Err.Error(), `belongs to the configuration "other", not to "data"`) {
		t.Errorf("a target with a record of another configuration: %v", d.Err)
	}
	if of("theirs", "dev") != nil {
		t.Error("a record of another configuration makes a target")
	}
}

func TestPlanOfASelection(t *testing.T) {
	p := newPlanning(t)
	snap := p.commit("c1", map[string]string{"etl": "1", "report": "1"})
	p.record("data", "left", "dev", v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c0"})

	commit, err := p.Plan(p.Ctx, snap, v1alpha1.Selection{Pipelines: []string{"etl"}, Environments: []string{"dev"}})
	if err != nil {
		t.Fatal(err)
	}
	if namesOf(commit.Targets) != "etl@dev" || namesOf(commit.All()) != "etl@dev report@dev left@dev" {
		t.Errorf("selected are %s of %s", namesOf(commit.Targets), namesOf(commit.All()))
	}
	moved := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: p.Namespace, Name: "report-dev"}
	for _, n := range commit.Neighbours {
		if by, _ := n.NamedBy(moved); by.String() != "report@dev" {
			t.Errorf("an object that moved to report, which was not selected, is named by %q", by)
		}
	}
	for _, d := range commit.Others {
		if d.Rendered.From != nil {
			t.Errorf("%s is rendered, although nothing needs it", d.Target)
		}
	}
	if _, err := p.Plan(p.Ctx, snap, v1alpha1.Selection{Pipelines: []string{"left"}, Environments: []string{"dev"}}); err != nil {
		t.Errorf("a pipeline that left git: %v", err)
	}

	for name, c := range map[string]struct {
		selection v1alpha1.Selection
		want      string
	}{
		"a pipeline that nobody knows":      {v1alpha1.Selection{Pipelines: []string{"elt"}, Environments: []string{"dev"}}, `there is no pipeline "elt" in the repository; it has etl, report`},
		"an environment that nobody knows":  {v1alpha1.Selection{Environments: []string{"test"}}, "test"},
		"a pipeline that left from another": {v1alpha1.Selection{Pipelines: []string{"left"}, Environments: []string{"prod"}}, `there is no pipeline "left"`},
	} {
		if _, err := p.Plan(p.Ctx, snap, c.selection); !strings.Contains(errorText(err), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := source.Snapshot{Commit: "c9", Files: fstest.MapFS{}}
	if _, err := p.Plan(p.Ctx, empty, v1alpha1.Selection{}); !strings.Contains(errorText(err), "the repository has no overlay") {
		t.Errorf("an empty repository: %v", err)
	}
}

// An environment that cannot be read is named, and the others are planned.
func TestPlanWhileAClusterIsAway(t *testing.T) {
	p := newPlanning(t)
	snap := p.commit("c1", map[string]string{"etl": "1"})
	commit, err := p.Plan(p.Ctx, snap, v1alpha1.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if namesOf(commit.Targets) != "etl@dev etl@prod" || len(commit.Unread) != 1 || commit.Unread[0] != "away" || !strings.Contains(commit.Incomplete[0].Error(), "environment away: ") {
		t.Errorf("%s; unread %v, %v", namesOf(commit.Targets), commit.Unread, commit.Incomplete)
	}
}

func TestTargetsThatHaveARecord(t *testing.T) {
	p := newPlanning(t)
	removed := metav1.Now()
	p.record("data", "report", "dev", v1alpha1.PipelineSyncStatus{})
	p.record("data", "etl", "dev", v1alpha1.PipelineSyncStatus{})
	p.record("data", "etl", "prod", v1alpha1.PipelineSyncStatus{})
	p.record("data", "gone", "dev", v1alpha1.PipelineSyncStatus{RemovedAt: &removed})
	p.record("other", "theirs", "dev", v1alpha1.PipelineSyncStatus{})
	both := []string{"dev", "prod"}

	targets, incomplete, err := p.Recorded(p.Ctx, v1alpha1.Selection{Environments: both})
	if err != nil || incomplete != nil || namesOf(targets) != "etl@dev etl@prod report@dev" {
		t.Errorf("%s, %v, %v", namesOf(targets), incomplete, err)
	}
	targets, incomplete, err = p.Recorded(p.Ctx, v1alpha1.Selection{Pipelines: []string{"etl"}})
	if err != nil || !strings.Contains(errorText(incomplete), "environment away: ") || namesOf(targets) != "etl@dev etl@prod" {
		t.Errorf("while a cluster is away: %s, %v, %v", namesOf(targets), incomplete, err)
	}
	if _, _, err := p.Recorded(p.Ctx, v1alpha1.Selection{Pipelines: []string{"gone"}, Environments: both}); !strings.Contains(errorText(err), `no pipeline "gone" has been deployed to dev, prod by the configuration "data"`) {
		t.Errorf("a pipeline without a record: %v", err)
	}
	if _, _, err := p.Recorded(p.Ctx, v1alpha1.Selection{Pipelines: []string{"a/../b"}, Environments: both}); !strings.Contains(errorText(err), `no pipeline "a/../b" has been deployed`) {
		t.Errorf("a name that no record can have: %v", err)
	}
	if _, _, err := p.Recorded(p.Ctx, v1alpha1.Selection{Environments: []string{"test"}}); err == nil {
		t.Error("an unknown environment gives no error")
	}
}

// The commit that was applied last is the newest one where that has the same content, and else the one that the record names.
func TestLastApplied(t *testing.T) {
	p := newPlanning(t)
	p.commit("c1", map[string]string{"orders": "1"})
	p.commit("c2", map[string]string{"orders": "1", "another": "1"})
	p.commit("c3", map[string]string{"orders": "2"})
	p.commit("c4", map[string]string{"another": "1"})
	p.Deploy(p.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: orders-prod, namespace: $NS}\ndata: {key: \"1\"}\n"))
	environment := &p.Config.Environments[1]
	server, err := p.Clusters.Of(environment)
	if err != nil {
		t.Fatal(err)
	}
	at := func(commit, applied string) *Desired {
		d := &Desired{Target: p.Target, Environment: environment, Cluster: server, Record: p.Record(), Snapshot: p.history.snapshot(commit)}
		d.Record.Status.LastAppliedCommit = applied
		return d
	}
	for name, c := range map[string]struct {
		newest, applied string
		want, err       string
	}{
		"the newest commit has the same content": {newest: "c2", applied: "c1", want: "c2"},
		"the newest commit has another content":  {newest: "c3", applied: "c1", want: "c1"},
		"the newest commit does not have it":     {newest: "c4", applied: "c1", want: "c1"},
		"nothing was applied completely":         {newest: "c3", err: "no commit has been applied completely yet"},
		"the commit was not fetched":             {newest: "c3", applied: "c0", err: "reading the commit last applied: commit c0 was not fetched"},
		"the commit does not have it":            {newest: "c3", applied: "c4", err: "commit c4 has no overlay for it"},
	} {
		t.Run(name, func(t *testing.T) {
			last, set, err := p.LastApplied(p.Ctx, at(c.newest, c.applied))
			if c.err != "" {
				bench.WantError(t, err, c.err)
				return
			}
			if err != nil || last.Snapshot.Commit != c.want || len(set) != 1 || set[0].GetLabels()[v1alpha1.LabelMember] == "" {
				t.Errorf("%+v, %v, %v", last, set, err)
			}
		})
	}
}

func TestEnvironmentsOfOneClusterShareAConnection(t *testing.T) {
	p := newPlanning(t)
	dev, err := p.Clusters.Of(&p.Config.Environments[0])
	if err != nil {
		t.Fatal(err)
	}
	if prod, err := p.Clusters.Of(&p.Config.Environments[1]); err != nil || prod != dev {
		t.Errorf("dev and prod have two connections: %v", err)
	}
	if _, err := p.Clusters.Of(&p.Config.Environments[2]); err == nil {
		t.Error("a kubeconfig that does not exist gives no error")
	}
	if pod, err := p.Clusters.OfPod(); pod != nil || err != nil {
		t.Errorf("outside of a pod: %v, %v", pod, err)
	}
	withLog := p.Config.Environments[0]
	withLog.Cluster.AuditLog = "audit.log"
	if ClusterKey(&withLog) != ClusterKey(&p.Config.Environments[0]) {
		t.Error("an audit log makes another cluster")
	}
}
