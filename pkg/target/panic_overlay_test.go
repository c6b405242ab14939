package target

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
)

// An overlay whose files panic fails the targets that it is for.
func TestAPanicOfFilesFailsAnOverlay(t *testing.T) {
	files := panickingFiles{within: "broken", MapFS: fstest.MapFS{
		"well/kustomization.yaml": {Data: []byte("resources: [a.yaml]\n")},
		"well/a.yaml":             {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	}}
	targets := func() []*Desired {
		return []*Desired{{Target: v1alpha1.Target{Pipeline: "broken", Environment: "dev"}, Overlay: "broken"}, {Target: v1alpha1.Target{Pipeline: "well", Environment: "dev"}, Overlay: "well"}}
	}
	var r Renderings
	for pass := range 2 {
		all := targets()
		r.Render(t.Context(), all, files)
		if panics.In(all[0].Err) == nil {
			t.Errorf("pass %d: the overlay that panicked: %v", pass, all[0].Err)
		}
		if all[1].Err != nil || len(all[1].Rendered.Set.IDs()) != 1 {
			t.Errorf("pass %d: its neighbour: %v", pass, all[1].Err)
		}
	}
}

// panickingFiles panic where a path is read.
type panickingFiles struct {
	fstest.MapFS
	within string
}

func (f panickingFiles) check(name string) {
	if name == f.within || strings.HasPrefix(name, f.within+"/") || f.within == "." {
		panic("the file system is broken")
	}
}

func (f panickingFiles) Open(name string) (fs.File, error) {
	f.check(name)
	return f.MapFS.Open(name)
}

func (f panickingFiles) Stat(name string) (fs.FileInfo, error) {
	f.check(name)
	return f.MapFS.Stat(name)
}

func (f panickingFiles) ReadFile(name string) ([]byte, error) {
	f.check(name)
	return f.MapFS.ReadFile(name)
}

func (f panickingFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	f.check(name)
	return f.MapFS.ReadDir(name)
}
