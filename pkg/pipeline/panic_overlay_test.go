package pipeline

import (
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/panics"
)

// An overlay whose files panic fails the targets that it is for.
func TestAPanicOfFilesFailsAnOverlay(t *testing.T) {
	files := brokenFiles{within: "broken", MapFS: fstest.MapFS{
		"well/kustomization.yaml": {Data: []byte("resources: [a.yaml]\n")},
		"well/a.yaml":             {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	}}
	works := func() []*Desired {
		return []*Desired{{Target: falling, Overlay: "broken"}, {Target: well, Overlay: "well"}}
	}
	var r Renderings
	for pass := range 2 {
		all := works()
		r.Render(all, files)
		if panics.In(all[0].Err) == nil {
			t.Errorf("pass %d: the overlay that panicked: %v", pass, all[0].Err)
		}
		if all[1].Err != nil || len(all[1].Rendered.Set) != 1 {
			t.Errorf("pass %d: its neighbour: %v", pass, all[1].Err)
		}
	}
}
