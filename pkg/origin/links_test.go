package origin

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// An overlay that is a symbolic link has its base beside the folder that the link leads to.
func TestOriginsOfLinkedOverlay(t *testing.T) {
	t.Parallel()
	files := load(t, `
-- envs/prod/v1/kustomization.yaml --
resources: [../base, own.yaml]
-- envs/prod/v1/own.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: own}, data: {from: envs/prod/v1}}
-- envs/prod/base/kustomization.yaml --
resources: [cm.yaml]
-- envs/prod/base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: envs/prod/base}}
-- overlays/base/kustomization.yaml --
resources: [cm.yaml]
-- overlays/base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: overlays/base}}
`)
	files["overlays/dev"] = &fstest.MapFile{Data: []byte("../envs/prod/v1"), Mode: fs.ModeSymlink | 0o777}
	index := New(files, "overlays/dev")
	for name, want := range map[string]string{"base": "envs/prod/base/cm.yaml", "own": "envs/prod/v1/own.yaml"} {
		id := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Name: name}
		at, _ := index.Of(id, manifest.Path{{Name: "data"}, {Name: "from"}}, nil)
		if at != (Place{want, 1}) {
			t.Errorf("%s: data.from is at %v, want %s:1", name, at, want)
		}
	}
}
