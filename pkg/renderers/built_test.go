package renderers

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

const kustomization = "o/kustomization.yaml"

func repository(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func TestABuildHasASetItsReadsAndWarnings(t *testing.T) {
	files := repository(map[string]string{
		kustomization: "resources: [a.yaml]\n",
		"o/a.yaml":    "apiVersion: example.com/v1\nkind: Report\nmetadata: {name: a}\nspec: {since: 2024-01-02}\n",
	})
	built := Limits{}.Here(files, "o")
	if built.Err != nil || len(built.Set) != 1 || !built.Reads.Unchanged(files) {
		t.Fatalf("%d objects, %v", len(built.Set), built.Err)
	}
	if len(built.Warnings) != 1 || !strings.Contains(built.Warnings[0], "o/a.yaml:4") {
		t.Errorf("warnings: %q", built.Warnings)
	}
}

func TestAFailedBuildHasItsReads(t *testing.T) {
	files := repository(map[string]string{"other/a.yaml": ""})
	built := Limits{}.Here(files, "o")
	if !errors.Is(built.Err, render.ErrNoOverlay) || !built.Reads.Unchanged(files) {
		t.Errorf("%v", built.Err)
	}
}

// faulty panics at a read, as a fault of syncer would.
type faulty struct{ fs.FS }

func (faulty) Open(string) (fs.File, error) { panic("broken") }

func TestAPanicFailsItsBuild(t *testing.T) {
	built := Limits{}.Here(faulty{}, "o")
	if panics.In(built.Err) == nil || built.Reads.Unchanged(repository(nil)) {
		t.Errorf("%v", built.Err)
	}
}
