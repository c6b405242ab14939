package setup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// commit is a repository with one commit.
type commit struct {
	files fstest.MapFS
	err   error
}

func (c commit) Fetch(context.Context) (source.Snapshot, error) {
	return source.Snapshot{Commit: "c0ffee00c0ffee00", Files: c.files}, c.err
}

// repository has one pipeline in dev, and one that does not render.
func repository(registry string) commit {
	return commit{files: fstest.MapFS{
		"pipelines/etl/overlays/dev/kustomization.yaml":    {Data: []byte("resources: [objects.yaml]\nnamespace: data-dev\n")},
		"pipelines/etl/overlays/dev/objects.yaml":          {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: etl}\nspec: {containers: [{name: c, image: " + registry + "/etl:1}]}\n")},
		"pipelines/broken/overlays/dev/kustomization.yaml": {Data: []byte("resources: [missing.yaml]\n")},
	}}
}

func configOf(t *testing.T, name, environments string) *v1alpha1.Config {
	t.Helper()
	decoded, err := v1alpha1.DecodeConfig("syncer.yaml", fmt.Appendf(nil, `apiVersion: syncer.dev/v1alpha1
kind: Config
name: %s
namespace: teams
source: {url: https://git.example.com/data/pipelines.git}
server: {listen: ":8080"}
environments: %s
`, name, environments))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func plannerOf(config *v1alpha1.Config) *target.Planner {
	return &target.Planner{Config: config, Clusters: target.NewClusters(cluster.Options{Namespace: config.Namespace}), Renderings: &target.Renderings{}}
}

// checksOf runs the checks, and returns a line for each, such as "FAIL crd dev: ...".
func checksOf(t *testing.T, config *v1alpha1.Config, repository Source) string {
	t.Helper()
	registry, err := image.NewRegistry(nil, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	c := Checker{Planner: plannerOf(config), Source: repository, Registry: registry, Now: time.Now}
	checks, err := c.Check(t.Context(), nil, func(check Check) {
		lines = append(lines, strings.Join(slices.Concat([]string{string(check.Status), check.Check}, check.Environments), " ")+": "+check.Message)
	})
	if err != nil || len(checks.Checks) != len(lines) {
		t.Fatalf("%d checks, %d of them told, %v", len(checks.Checks), len(lines), err)
	}
	return strings.Join(lines, "\n") + "\n"
}

// mention fails for each line that a text does not have. A line may go on.
func mention(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line) {
			t.Errorf("there is no %q among\n%s", line, text)
		}
	}
}

func TestCheckGoesOnAfterAFailure(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n", server.URL)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configOf(t, "teams", fmt.Sprintf("[{name: dev, cluster: {kubeconfig: %q}}, {name: lost, cluster: {kubeconfig: /does/not/exist}}, {name: prod, cluster: {kubeconfig: %[1]q}}]", kubeconfig))
	host := strings.TrimPrefix(server.URL, "http://")
	mention(t, checksOf(t, config, repository(host)),
		"OK configuration: 3 environments for https://git.example.com/data/pipelines.git, owner teams",
		"OK git: commit c0ffee00, fetched in", "FAIL pipelines dev: broken does not render:", "OK pipelines: 1 target render",
		"FAIL cluster lost:", "FAIL cluster dev prod: asking the API server at "+server.URL+" for its version: it answers 404 Not Found",
		"FAIL registry dev: asking "+host)
	mention(t, checksOf(t, config, commit{err: errAsked}), "FAIL git: the API server does not answer", "FAIL cluster lost:")
	mention(t, checksOf(t, config, commit{files: fstest.MapFS{}}), "FAIL pipelines: commit c0ffee00: the repository has no overlay")
	c := Checker{Planner: plannerOf(config)}
	if _, err := c.Check(t.Context(), []string{"test"}, nil); err == nil || !strings.HasPrefix(err.Error(), `there is no environment "test"`) {
		t.Error(err)
	}
}

func startPlane(t *testing.T) *lab.ControlPlane {
	t.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	plane, err := lab.StartControlPlane(t.Context(), lab.ControlPlaneOptions{Bin: filepath.Join(bin, "controlplane"), Dir: t.TempDir(), Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

// recordOf writes a record.
func recordOf(t *testing.T, planner *target.Planner, pipeline string) {
	t.Helper()
	cluster, err := planner.Clusters.Of(&planner.Config.Environments[0])
	if err != nil {
		t.Fatal(err)
	}
	spec := v1alpha1.PipelineSyncSpec{Owner: planner.Config.Name, Pipeline: pipeline, Environment: "dev"}
	if _, err := cluster.Records().Create(t.Context(), v1alpha1.Target{Pipeline: pipeline, Environment: "dev"}, spec); err != nil {
		t.Fatal(err)
	}
}

// One API server is installed, checked and left, in this order.
func TestInstallCheckUninstall(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	plane := startPlane(t)
	t.Setenv("KUBECONFIG", plane.Kubeconfig) // as in a configuration of a pod, `cluster` is left out
	registry := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer registry.Close()
	files := repository(strings.TrimPrefix(registry.URL, "http://"))
	config := configOf(t, "teams", "[{name: dev}, {name: prod}]")
	planner := plannerOf(config)

	mention(t, checksOf(t, config, files), "FAIL crd dev prod: the cluster has no CRD pipelinesyncs.syncer.dev", "FAIL namespace dev prod: namespace teams of the records is not there",
		"OK inventory-key dev prod:", "OK records dev prod:", "OK rights dev: the account may deploy 1 target", "OK server:", "OK registry dev:")

	changes, err := Install(t.Context(), config, planner.Clusters, nil)
	if err != nil || !hasChange(changes, manifest.Create, "Namespace/teams") || hasChange(changes, manifest.Create, "Deployment/teams/syncer") {
		t.Errorf("%+v, %v", changes, err)
	}
	options := DaemonOptions{File: "syncer.yaml", Environment: "prod", Image: "registry.example.com/syncer:v1", Replicas: 1, Data: []byte(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: teams
namespace: teams
source: {url: https://git.example.com/data/pipelines.git}
environments: [{name: dev}, {name: prod}]
`)}
	changes, note, err := InstallDaemon(t.Context(), options)
	if err != nil || !hasChange(changes, manifest.None, "Namespace/teams") || !hasChange(changes, manifest.Create, "Deployment/teams/syncer") || note == "" {
		t.Errorf("%+v, %q, %v", changes, note, err)
	}
	options.Environment = "test"
	if _, _, err := InstallDaemon(t.Context(), options); err == nil || !strings.HasPrefix(err.Error(), `there is no environment "test"`) {
		t.Error(err)
	}
	if text := checksOf(t, config, files); strings.Count(text, "FAIL") != 1 { // the pipeline that does not render
		t.Error(text)
	}
	nobody, err := plane.AddUser("nobody")
	if err != nil {
		t.Fatal(err)
	}
	mention(t, checksOf(t, configOf(t, "teams", fmt.Sprintf("[{name: dev, cluster: {kubeconfig: %q}}]", nobody)), files),
		"WARN crd dev: whether the CRD pipelinesyncs.syncer.dev is that of this build cannot be seen", "WARN namespace dev: whether namespace teams is there cannot be seen",
		"FAIL records dev: may not", "FAIL rights dev: may not get, list, watch, create, patch and delete pods in namespace data-dev", "FAIL server:")

	recordOf(t, planner, "etl")
	testUninstall(t, planner)
}

func testUninstall(t *testing.T, planner *target.Planner) {
	uninstall := func(options UninstallOptions) removals {
		t.Helper()
		var lines removals
		options.Notify = lines.note
		if err := Uninstall(t.Context(), planner, options); err != nil {
			t.Error(err)
		}
		return lines
	}
	want := func(lines removals, want ...string) {
		t.Helper()
		for _, line := range want {
			if !lines.has(line) {
				t.Errorf("there is no %q among\n%s", line, strings.Join(lines, "\n"))
			}
		}
	}
	const crd = "CustomResourceDefinition/pipelinesyncs.syncer.dev"
	want(uninstall(UninstallOptions{DryRun: true, Records: true, DeleteDeployed: true}),
		"delete Deployment/teams/syncer", "delete ConfigMap/teams/syncer-config", "delete ClusterRoleBinding/syncer-deploy-teams",
		"delete PipelineSync/teams/etl.dev", "delete "+crd, "delete Namespace/teams")

	// Another configuration in the namespace needs the rights of the daemon, and the daemon is that of the first.
	other := plannerOf(configOf(t, "other", "[{name: dev}]"))
	recordOf(t, other, "web")
	want(uninstall(UninstallOptions{DryRun: true, Records: true}),
		"delete Deployment/teams/syncer", `keep Role/teams/syncer-records (the configuration "other" uses it)`,
		"keep ClusterRole/syncer-deploy (ClusterRoleBinding/syncer-deploy-teams uses it)", "keep "+crd+" (PipelineSync/teams/web.dev would go with it)",
		"keep Namespace/teams (it holds PipelineSync/teams/web.dev)")
	var lines removals
	if err := Uninstall(t.Context(), other, UninstallOptions{Notify: lines.note}); err != nil {
		t.Error(err)
	}
	want(lines, `keep Deployment/teams/syncer (it carries out the configuration "teams")`,
		"keep PipelineSync/teams/web.dev (1 record of this configuration, with pins and history for the next install; --records deletes them, and then the CRD and the namespace if nobody else needs them)")
	lines = nil
	if err := Uninstall(t.Context(), other, UninstallOptions{Records: true, Notify: lines.note}); err != nil {
		t.Error(err)
	}
	want(lines, "delete PipelineSync/teams/web.dev", "keep "+crd+" (PipelineSync/teams/etl.dev would go with it)")

	// What cannot be deleted ends the command after the daemon, and before its rights.
	var asked []string
	refuse := func(_ context.Context, d *target.Desired) ([]manifest.ID, error) {
		asked = append(asked, d.Target.String())
		return []manifest.ID{{APIVersion: "v1", Kind: "Pod", Namespace: "data-dev", Name: "etl"}}, errors.New("1 object waits")
	}
	lines = nil
	err := Uninstall(t.Context(), planner, UninstallOptions{Records: true, DeleteDeployed: true, Delete: refuse, Notify: lines.note})
	if err == nil || err.Error() != "environment dev, prod: etl@dev: 1 object waits" || !slices.Equal(asked, []string{"etl@dev"}) {
		t.Errorf("%v, asked for %q", err, asked)
	}
	want(lines, "delete Deployment/teams/syncer", "delete Pod/data-dev/etl (deployed by etl@dev)")
	if lines.has("delete Role/teams/syncer-records") {
		t.Error("the rights were deleted before the objects")
	}

	want(uninstall(UninstallOptions{Records: true}), "delete PipelineSync/teams/etl.dev", "delete "+crd, "delete Namespace/teams")
}

func hasChange(changes []manifest.Change, action manifest.Action, object string) bool {
	return slices.ContainsFunc(changes, func(c manifest.Change) bool { return c.Action == action && c.ID.String() == object })
}
