package target

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/source"
)

// A pipeline.yaml is of a team, and is read in the daemon's own process.
func TestSettingsThatAreLargeAreRefused(t *testing.T) {
	laughs := "x:\n  a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		laughs += "  " + string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 9), ", ") + "]\n"
	}
	for what, c := range map[string]struct{ text, want string }{
		"aliases": {laughs, "pipelines/etl/pipeline.yaml:"},
		"nesting": {"x: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000), "raise render.nesting"},
		"bytes":   {"owner: " + strings.Repeat("x", 2<<20), "the file has 2097"},
	} {
		p := &Planner{Config: &v1alpha1.Config{Source: v1alpha1.Source{Layout: v1alpha1.DefaultLayout}, Environments: []v1alpha1.Environment{{Name: "dev"}}}}
		snap := source.Snapshot{Files: repository(map[string]string{
			"pipelines/etl/pipeline.yaml":                       "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n" + c.text,
			"pipelines/etl/overlays/dev/kustomization.yaml":     "resources: [a.yaml]\n",
			"pipelines/healthy/overlays/dev/kustomization.yaml": "resources: [a.yaml]\n",
		})}
		pipelines, err := p.Discover(snap)
		if err != nil || len(pipelines) != 2 {
			t.Fatalf("%s: %v", what, err)
		}
		if d := p.Desired(pipelines[0], &p.Config.Environments[0], snap); d.Err == nil || !strings.Contains(d.Err.Error(), c.want) {
			t.Errorf("%s: %v", what, d.Err)
		}
		if d := p.Desired(pipelines[1], &p.Config.Environments[0], snap); d.Err != nil {
			t.Errorf("%s: the other pipeline: %v", what, d.Err)
		}
	}
}

func TestATargetHasSoManyImagesAtMost(t *testing.T) {
	const cronjobs = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: \"web:v1\"}, {name: b, image: \"web:v2\"}, {name: c, image: \"web:v3\"}]}\n"
	d := &Desired{Overlay: "o", Snapshot: source.Snapshot{Files: repository(map[string]string{
		"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": cronjobs,
	})}}
	d.Rendered.MostRefs = 2
	p := &Planner{}
	p.RenderOne(t.Context(), d)
	limited, ok := d.Err.(*render.Limited)
	if !ok || limited.Error() != "o: the overlay has 3 image references, and the limit is 2; if that is meant, raise render.images in syncer.yaml" {
		t.Errorf("%v", d.Err)
	}
}
