package target

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
)

const oneMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved, namespace: shop}\n"

// repository returns files with texts.
func repository(texts map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range texts {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// neighboursOf plans the pipelines of files in the environment dev of one cluster, and returns what its neighbours say of the
// ConfigMap shop/moved: the target that names it, and why one may name it.
func neighboursOf(t *testing.T, files map[string]string, change func(*Commit)) (named v1alpha1.Target, doubt string) {
	t.Helper()
	config, err := v1alpha1.DecodeConfig("syncer.yaml", []byte("apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: /repo, branch: main}\nenvironments: [{name: dev}, {name: staging}, {name: prod, cluster: {context: prod}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Planner{Config: config, Renderings: &Renderings{}}
	snap := source.Snapshot{Files: repository(files)}
	pipelines, err := p.Discover(snap)
	if err != nil {
		t.Fatal(err)
	}
	server := unreachable(t)
	c := &Commit{layout: config.Source.Layout}
	for _, pipeline := range pipelines {
		d := p.Desired(pipeline, &config.Environments[0], snap)
		if d.Cluster = server; d.Overlay == "" {
			d.Overlay, d.Err = pipeline.Expected("dev"), &MissingOverlayError{Overlay: pipeline.Expected("dev"), Target: d.Target}
		}
		c.Targets = append(c.Targets, d)
	}
	c.makeIndex()
	p.Renderings.Render(t.Context(), c.All(), snap.Files)
	if change != nil {
		change(c)
	}
	n := &names{}
	n.update(c.All())
	c.findNeighbours(n)
	if err := p.addUnplanned(t.Context(), c, newest{snap: snap, pipelines: pipelines}); err != nil {
		t.Fatal(err)
	}
	id := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "moved"}
	here := c.Neighbours[server]
	for _, u := range here.Unknown {
		if why := u.MayName(id); why != "" {
			doubt = why
		}
	}
	return here.Named[id.Key()], doubt
}

func TestATargetWithoutASetMayNameAnObject(t *testing.T) {
	const a = "pipelines/a/overlays/dev/kustomization.yaml"
	const b = "pipelines/b/overlays/dev/"
	whole := "resources: [moved.yaml]\n"
	for name, c := range map[string]struct {
		files  map[string]string
		change func(*Commit)
		named  string // the target that names the object
		doubt  string // a part of why one may name it
	}{
		"it renders":       {files: map[string]string{b + "kustomization.yaml": whole, b + "moved.yaml": oneMap}, named: "b@dev"},
		"an error of YAML": {files: map[string]string{b + "kustomization.yaml": "resources: [moved.yaml", b + "moved.yaml": oneMap}, doubt: "b@dev does not render at this commit, and " + b + "moved.yaml may name it; correct b@dev"},
		"a missing file":   {files: map[string]string{b + "kustomization.yaml": "resources: [moved.yaml, gone.yaml]", b + "moved.yaml": oneMap}, doubt: "b@dev does not render"},
		"an error in pipeline.yaml": {files: map[string]string{"pipelines/b/pipeline.yaml": "ownr: me\n", b + "kustomization.yaml": whole, b + "moved.yaml": oneMap},
			doubt: "b@dev does not render"},
		"a folder that cannot name a record": {files: map[string]string{"pipelines/B_b/overlays/dev/kustomization.yaml": whole, "pipelines/B_b/overlays/dev/moved.yaml": oneMap},
			doubt: "B_b@dev does not render"},
		"the overlay is gone": {files: map[string]string{"pipelines/b/base/kustomization.yaml": whole, "pipelines/b/base/moved.yaml": oneMap}, doubt: "b@dev does not render"},
		"the overlay is gone, which a trailer allows": {files: map[string]string{"pipelines/b/base/kustomization.yaml": whole, "pipelines/b/base/moved.yaml": oneMap},
			change: func(c *Commit) {
				c.Allowed.Prunes = map[v1alpha1.Target]bool{{Pipeline: "b", Environment: "dev"}: true}
			}},
		"an error of another kind, with a set": {files: map[string]string{b + "kustomization.yaml": whole, b + "moved.yaml": oneMap},
			change: func(c *Commit) {
				c.Find(v1alpha1.Target{Pipeline: "b", Environment: "dev"}).Err = errors.New("an image has no name")
			}, named: "b@dev"},
		"another target can be deployed": {files: map[string]string{b + "kustomization.yaml": whole, b + "moved.yaml": oneMap, "pipelines/c/overlays/dev/kustomization.yaml": whole, "pipelines/c/overlays/dev/moved.yaml": oneMap},
			change: func(c *Commit) {
				c.Find(v1alpha1.Target{Pipeline: "c", Environment: "dev"}).Err = errors.New("it names an object of another one")
			}, named: "b@dev"},
		"an environment that was not selected": {files: map[string]string{"pipelines/b/overlays/staging/kustomization.yaml": whole, "pipelines/b/overlays/staging/moved.yaml": oneMap, b + "kustomization.yaml": "resources: [x.yaml]", b + "x.yaml": strings.Replace(oneMap, "moved", "x", 1)},
			doubt: "b@staging names it now, and staging is not part of this pass"},
		"an environment that was not selected, with an error": {files: map[string]string{"pipelines/b/overlays/staging/kustomization.yaml": "[", "pipelines/b/overlays/staging/moved.yaml": oneMap, b + "kustomization.yaml": "resources: [x.yaml]", b + "x.yaml": strings.Replace(oneMap, "moved", "x", 1)},
			doubt: "b@staging does not render"},
		"an environment that was not selected, and does not name it": {files: map[string]string{"pipelines/b/overlays/staging/kustomization.yaml": "resources: [y.yaml]", "pipelines/b/overlays/staging/y.yaml": strings.Replace(oneMap, "moved", "y", 1), "pipelines/b/base/moved.yaml": oneMap, b + "kustomization.yaml": "resources: [x.yaml]", b + "x.yaml": strings.Replace(oneMap, "moved", "x", 1)}},
		"an environment of another cluster":                          {files: map[string]string{"pipelines/b/overlays/prod/kustomization.yaml": whole, "pipelines/b/overlays/prod/moved.yaml": oneMap, b + "kustomization.yaml": "resources: [x.yaml]", b + "x.yaml": strings.Replace(oneMap, "moved", "x", 1)}},
	} {
		c.files[a], c.files["pipelines/a/overlays/dev/one.yaml"] = "resources: [one.yaml]\n", strings.Replace(oneMap, "moved", "one", 1)
		named, doubt := neighboursOf(t, c.files, c.change)
		if text := strings.TrimPrefix(named.String(), "@"); text != c.named {
			t.Errorf("%s: %q names it instead of %q", name, text, c.named)
		}
		if (doubt != "") != (c.doubt != "") || !strings.Contains(doubt, c.doubt) {
			t.Errorf("%s: the doubt %q instead of %q", name, doubt, c.doubt)
		}
	}
}
