package renderers

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/syncerdev/syncer/pkg/render"
)

func newPool(t *testing.T, options Options) *Pool {
	t.Helper()
	p := NewPool(options)
	t.Cleanup(p.Close)
	return p
}

func TestAPoolBuilds(t *testing.T) {
	files := repository(map[string]string{
		kustomization:             "resources: [../base, a.yaml]\n",
		"base/kustomization.yaml": "resources: [b.yaml]\n",
		"base/b.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
		"o/a.yaml":                "apiVersion: example.com/v1\nkind: Report\nmetadata: {name: a}\nspec: {since: 2024-01-02}\n",
	})
	p := newPool(t, Options{})
	for range 3 {
		same(t, "o", p.Build(t.Context(), files, "o"), Limits{}.Here(files, "o"), files)
	}
	files["base/b.yaml"].Data = []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
	same(t, "o", p.Build(t.Context(), files, "o"), Limits{}.Here(files, "o"), files)
}

func TestErrorsArriveAsTheyAre(t *testing.T) {
	files := repository(map[string]string{
		"empty/kustomization.yaml":   "resources: []\n",
		"pointer/kustomization.yaml": "resources: [a.yaml]\n",
		"pointer/a.yaml":             "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 1\n",
		"lacks/kustomization.yaml":   "resources: [a.yaml]\n",
		"loop/kustomization.yaml":    "resources: [../loop]\n",
		"wrong/kustomization.yaml":   "resources: [\n",
	})
	p := newPool(t, Options{})
	for overlay, want := range map[string]error{"none": render.ErrNoOverlay, "empty": render.ErrEmpty, "pointer": render.ErrPointer, "lacks": nil, "loop": nil, "wrong": nil, "../up": nil} {
		got := p.Build(t.Context(), files, overlay)
		if want != nil && !errors.Is(got.Err, want) {
			t.Errorf("%s: %v is no %v", overlay, got.Err, want)
		}
		same(t, overlay, got, Limits{}.Here(files, overlay), files)
	}
}

// same compares a build of the pool with one in process.
func same(t *testing.T, overlay string, got, want Built, files fs.FS) {
	t.Helper()
	if text(got.Err) != text(want.Err) {
		t.Errorf("%s: %v\nin process: %v", overlay, got.Err, want.Err)
		return
	}
	if !bytes.Equal(got.Packed.Bytes(), want.Packed.Bytes()) {
		t.Errorf("%s: another set than in process", overlay)
	}
	if fmt.Sprint(got.Warnings) != fmt.Sprint(want.Warnings) {
		t.Errorf("%s: %q, in process %q", overlay, got.Warnings, want.Warnings)
	}
	if fmt.Sprint(got.Reads) != fmt.Sprint(want.Reads) {
		t.Errorf("%s: other reads than in process:\n%v\n%v", overlay, got.Reads, want.Reads)
	}
	if got.Reads.Unchanged(files) != want.Reads.Unchanged(files) {
		t.Errorf("%s: the read set holds: %v, in process %v", overlay, got.Reads.Unchanged(files), want.Reads.Unchanged(files))
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestThePoolBuildsWhatABuildInProcessDoes(t *testing.T) {
	p := newPool(t, Options{})
	count := 0
	var g sync.WaitGroup
	for name, files := range repositories(t) {
		for _, overlay := range overlays(t, files) {
			count++
			g.Go(func() {
				want := Limits{}.Here(files, overlay)
				same(t, name+": "+overlay, p.Build(t.Context(), files, overlay), want, files)
			})
		}
	}
	g.Wait()
	if count < 100 {
		t.Errorf("%d overlays were compared", count)
	}
}

// repositories are the examples and the archives of tests.
func repositories(t *testing.T) map[string]fs.FS {
	t.Helper()
	all := map[string]fs.FS{"examples": os.DirFS("../../examples"), "config": os.DirFS("../../config")}
	for _, pattern := range []string{"../render/testdata/*.txtar", "../../cmd/syncer/testdata/*/*.txtar", "../*/testdata/*.txtar"} {
		archives, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, archive := range archives {
			parsed, err := txtar.ParseFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			if all[archive], err = txtar.FS(parsed); err != nil {
				delete(all, archive)
			}
		}
	}
	return all
}

func overlays(t *testing.T, files fs.FS) (found []string) {
	t.Helper()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "kustomization.yaml" {
			found = append(found, path.Dir(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
