package render

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"
)

// A kind whose list is merged by name under ownSchema, and replaced as a whole without it.
const (
	dags     = "-- DIR/dag.yaml --\napiVersion: airflow.example.com/v1\nkind: Dag\nmetadata: {name: d}\nspec: {tasks: [{name: a, image: 'a:1'}, {name: b, image: 'b:1'}]}\n"
	dagPatch = "-- DIR/patch.yaml --\napiVersion: airflow.example.com/v1\nkind: Dag\nmetadata: {name: d}\nspec: {tasks: [{name: b, image: 'b:2'}]}\n"
	dagFiles = dags + dagPatch

	ownSchema = `{"definitions": {"v1.Dag": {"x-kubernetes-group-version-kind": [{"group": "airflow.example.com", "kind": "Dag", "version": "v1"}],
"type": "object", "properties": {"spec": {"type": "object", "properties": {"tasks": {"type": "array",
"x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge",
"items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}}}}}}}}}`
)

func plainOverlay(dir string) string {
	return "-- " + dir + "/kustomization.yaml --\nresources: [dag.yaml]\npatches: [{path: patch.yaml}]\n" + strings.ReplaceAll(dagFiles, "DIR", dir)
}

func schemaOverlay(dir string) string {
	return "-- " + dir + "/kustomization.yaml --\nresources: [dag.yaml]\npatches: [{path: patch.yaml}]\nopenapi: {path: s.json}\n" +
		strings.ReplaceAll(dagFiles, "DIR", dir) + "-- " + dir + "/s.json --\n" + ownSchema + "\n"
}

// schemaInABase has its `openapi` field in a base, where kustomize takes it over as well.
func schemaInABase(dir string) string {
	return "-- " + dir + "/kustomization.yaml --\nresources: [base]\nnamePrefix: x-\n" + schemaOverlay(dir+"/base")
}

func mustMerge(t *testing.T, files fs.FS, overlay string, merged bool) {
	t.Helper()
	set, err := Build(files, overlay)
	if err != nil {
		t.Error(err)
		return
	}
	spec, _ := set[0].Object["spec"].(map[string]any)
	tasks, _ := spec["tasks"].([]any)
	if want := map[bool]int{true: 2, false: 1}[merged]; len(tasks) != want {
		t.Errorf("%s: %d tasks, want %d", overlay, len(tasks), want)
	}
}

func TestOwnSchemaDoesNotLeak(t *testing.T) {
	files := tree(t, plainOverlay("plain")+schemaOverlay("own")+schemaInABase("inbase")+
		"-- version/kustomization.yaml --\nresources: [../plain]\nopenapi: {version: v9.9.9}\n")
	mustMerge(t, files, "plain", false)
	mustMerge(t, files, "own", true)
	mustMerge(t, files, "plain", false)
	mustMerge(t, files, "inbase", true)
	mustMerge(t, files, "plain", false)
	if _, err := Build(files, "version"); err == nil || !strings.Contains(err.Error(), "not built in") {
		t.Errorf("an unknown version of the schema gave %v", err)
	}
	mustMerge(t, files, "plain", false)
}

var coldStart = flag.Bool("coldstart", false, "run TestColdStart's builds in this process")

// Two first builds at once race in kustomize, so the first builds of fresh processes are made by many goroutines.
func TestColdStart(t *testing.T) {
	if *coldStart {
		buildAllAtOnce(t)
		return
	}
	for i := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestColdStart$", "-coldstart")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("start %d: %v\n%s", i, err, out)
		}
	}
}

func TestConcurrentBuilds(t *testing.T) { buildAllAtOnce(t) }

func buildAllAtOnce(t *testing.T) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/components.txtar")
	if err != nil {
		t.Fatal(err)
	}
	web, dag := repo(t, archive), tree(t, plainOverlay("plain")+schemaOverlay("own")+schemaInABase("inbase"))
	broken := tree(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: a.yaml}]\n-- o/a.yaml --\n"+configMap+"-- o/s.json --\n[]\n")
	// Many objects of kinds that are not built in: kustomize looks them up while another build parses the schema.
	many := "-- many/kustomization.yaml --\nresources: [all.yaml]\nnamespace: x\n-- many/all.yaml --\n"
	for i := range 100 {
		many += fmt.Sprintf("---\napiVersion: example.com/v1\nkind: Kind%d\nmetadata: {name: x}\n", i)
	}
	custom := tree(t, many)
	var want string
	for _, file := range archive.Files {
		if file.Name == "want.yaml" {
			want = string(file.Data)
		}
	}
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range 24 {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			switch i { // builds with a schema of their own are slow: they parse the built-in one again
			default:
				set, err := Build(web, "overlay")
				if got, _ := set.YAML(); err != nil || string(got) != want {
					t.Errorf("%v, %d bytes, want %d", err, len(got), len(want))
				}
			case 1, 2, 5, 6, 10, 11, 13, 15, 17:
				if set, err := Build(custom, "many"); err != nil || len(set) != 100 {
					t.Errorf("%d objects, %v", len(set), err)
				}
			case 0, 4, 8, 12, 16, 20:
				mustMerge(t, dag, "plain", false)
			case 3:
				mustMerge(t, dag, "own", true)
			case 9:
				mustMerge(t, dag, "inbase", true)
			case 14:
				if _, err := Build(broken, "o"); err == nil {
					t.Error("a schema that is none was taken")
				}
			}
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

func ExampleBuild() {
	archive := txtar.Parse([]byte("-- overlays/prod/kustomization.yaml --\nnamespace: prod\nresources: [job.yaml]\n" +
		"-- overlays/prod/job.yaml --\napiVersion: batch/v1\nkind: Job\nmetadata: {name: load}\n"))
	files, err := txtar.FS(archive)
	if err != nil {
		panic(err)
	}
	set, err := Build(files, "overlays/prod")
	if err != nil {
		panic(err)
	}
	fmt.Println(set[0].GetKind(), set[0].GetNamespace(), set[0].GetName())
	// Output: Job prod load
}
