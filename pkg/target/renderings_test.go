package target

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/source"
)

// checkout is a git repository of pipelines, with the parts that read it.
type checkout struct {
	last    map[string]*Desired // of the last passes
	t       testing.TB
	dir     string
	source  *source.Repository
	planner *Planner
	counts  map[RenderResult]int
}

func newCheckout(t testing.TB, environments ...string) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir(), counts: map[RenderResult]int{}}
	lab.Git(t, c.dir, "", "init", "-q", "-b", "main")
	var err error
	if c.source, err = source.Open(source.Options{URL: c.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.source.Close(); err != nil {
			t.Error(err)
		}
	})
	text := "apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: /repo, branch: main}\nenvironments:\n"
	for _, name := range environments {
		text += "- name: " + name + "\n"
	}
	config, err := v1alpha1.DecodeConfig("syncer.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.planner = &Planner{Config: config, Renderings: &Renderings{}}
	c.planner.Renderings.Count = func(result RenderResult) { c.counts[result]++ }
	return c
}

// pipeline writes a pipeline whose overlays share a base and a component.
func (c *checkout) pipeline(name string) {
	c.write("pipelines/"+name+"/base/kustomization.yaml", "resources: [job.yaml, settings.yaml]\n")
	c.write("pipelines/"+name+"/base/job.yaml", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: "+name+"}\nspec: {schedule: 0 1 * * *, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: 'registry.example.com/job:1'}]}}}}}\n")
	c.write("pipelines/"+name+"/base/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}\ndata: {a: b}\n")
	for _, environment := range c.planner.Config.Environments {
		c.write("pipelines/"+name+"/overlays/"+environment.Name+"/kustomization.yaml", "resources: [../../base]\ncomponents: [../../../../components/team]\nnamespace: "+environment.Name+"\npatches: [{path: size.yaml}]\n")
		c.write("pipelines/"+name+"/overlays/"+environment.Name+"/size.yaml", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: "+name+"}\nspec: {suspend: false}\n")
	}
	c.write("components/team/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {team: data}\n")
}

func (c *checkout) write(name, content string) {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// commit commits the content of the folder and returns the snapshot of it.
func (c *checkout) commit() source.Snapshot {
	c.t.Helper()
	lab.Git(c.t, c.dir, "", "add", "-A")
	lab.Git(c.t, c.dir, "", "commit", "-q", "--allow-empty", "-m", "a step")
	snap, err := c.source.Fetch(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return snap
}

// targets are those of a pass over the pipelines, or over some of them.
func (c *checkout) targets(snap source.Snapshot, only ...string) []*Desired {
	c.t.Helper()
	pipelines, err := c.planner.Discover(snap)
	if err != nil {
		c.t.Fatal(err)
	}
	var all []*Desired
	for _, p := range pipelines {
		for i := range c.planner.Config.Environments {
			if environment := &c.planner.Config.Environments[i]; len(only) == 0 || slices.Contains(only, p.Name) {
				all = append(all, c.planner.Desired(p, environment, snap))
			}
		}
	}
	return all
}

// pass commits and renders. It returns the counts and the targets with another content in git than before.
func (c *checkout) pass(only ...string) (byTarget map[string]*Desired, counts map[RenderResult]int, differ []string) {
	c.t.Helper()
	snap := c.commit()
	all := c.targets(snap, only...)
	clear(c.counts)
	c.planner.Renderings.Render(c.t.Context(), all, snap.Files)
	byTarget = map[string]*Desired{}
	for _, w := range all {
		byTarget[w.Target.String()] = w
		before := c.last[w.Target.String()]
		if before == nil || w.Rendered.From == nil || w.Rendered.From != before.Rendered.From || !equality.Semantic.DeepEqual(w.Settings, before.Settings) {
			differ = append(differ, w.Target.String())
		}
		if fresh, err := render.Build(snap.Files, w.Overlay); w.Overlay != "" && w.Rendered.From != nil && yamlOf(c.t, fresh, err) != yamlOf(c.t, w.Rendered.Set.Set(), w.Err) {
			c.t.Errorf("%s is not what the commit says:\n%s\ninstead of\n%s", w.Target, yamlOf(c.t, w.Rendered.Set.Set(), w.Err), yamlOf(c.t, fresh, err))
		}
	}
	if c.last == nil {
		c.last = map[string]*Desired{}
	}
	maps.Copy(c.last, byTarget)
	return byTarget, maps.Clone(c.counts), differ
}

func yamlOf(t testing.TB, set interface{ YAML() ([]byte, error) }, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error()
	}
	text, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestACommitRendersWhatItChanges(t *testing.T) {
	c := newCheckout(t, "dev", "prod")
	for _, name := range []string{"clicks", "orders", "stock"} {
		c.pipeline(name)
	}
	const clicks, orders = "pipelines/clicks/", "pipelines/orders/"
	broken, whole := "kind: [\n", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: orders}\n"
	all := []string{"clicks@dev", "clicks@prod", "orders@dev", "orders@prod", "stock@dev", "stock@prod"}
	settings := "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n"
	for _, step := range []struct {
		what   string
		do     func()
		only   []string
		counts map[RenderResult]int
		differ []string
	}{
		{what: "the first commit", counts: map[RenderResult]int{RenderBuilt: 6}, differ: all},
		{what: "an empty commit", counts: map[RenderResult]int{RenderReused: 6}},
		{what: "a file nobody reads", do: func() { c.write(clicks+"README.md", "hello") }, counts: map[RenderResult]int{RenderReused: 6}},
		{what: "an overlay", do: func() {
			c.write(clicks+"overlays/prod/size.yaml", "kind: CronJob\napiVersion: batch/v1\nmetadata: {name: clicks}\nspec: {suspend: true}\n")
		},
			counts: map[RenderResult]int{RenderBuilt: 1, RenderReused: 5}, differ: []string{"clicks@prod"}},
		{what: "a base", do: func() { c.write(orders+"base/settings.yaml", whole+"data: {a: c}\n") },
			counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "a component of all", do: func() {
			c.write("components/team/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {team: lake}\n")
		}, counts: map[RenderResult]int{RenderBuilt: 6}, differ: all},
		{what: "a kustomization beside another", do: func() { c.write("pipelines/stock/overlays/dev/kustomization.yml", "resources: [../../base]\n") },
			counts: map[RenderResult]int{RenderFailed: 1, RenderReused: 5}, differ: []string{"stock@dev"}},
		{what: "only that one", do: func() { c.remove("pipelines/stock/overlays/dev/kustomization.yaml") },
			counts: map[RenderResult]int{RenderBuilt: 1, RenderReused: 5}, differ: []string{"stock@dev"}},
		{what: "a fault", do: func() { c.write(orders+"base/settings.yaml", broken) },
			counts: map[RenderResult]int{RenderFailed: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "a fault that stands", do: func() { c.write(clicks+"README.md", "hello again") }, counts: map[RenderResult]int{RenderReused: 6}},
		{what: "the fault mended", do: func() { c.write(orders+"base/settings.yaml", whole) },
			counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "settings of one environment", do: func() { c.write(clicks+"pipeline.yaml", settings+"environments: {prod: {suspend: true}}\n") },
			counts: map[RenderResult]int{RenderReused: 6}, differ: []string{"clicks@prod"}},
		{what: "the same settings in other words", do: func() {
			c.write(clicks+"pipeline.yaml", settings+"environments:\n  prod:\n    # for the weekend\n    suspend: true\n")
		}, counts: map[RenderResult]int{RenderReused: 6}},
		{what: "settings that cannot be read", do: func() { c.write(clicks+"pipeline.yaml", "kind: x\n") },
			counts: map[RenderResult]int{RenderReused: 4}, differ: []string{"clicks@dev", "clicks@prod"}},
		{what: "settings that can be read again", do: func() { c.write(clicks+"pipeline.yaml", settings) },
			counts: map[RenderResult]int{RenderReused: 6}, differ: []string{"clicks@dev", "clicks@prod"}},
		{what: "a pass over one pipeline", only: []string{"stock"}, counts: map[RenderResult]int{RenderReused: 2}},
		{what: "a pass over one, while another changes", do: func() { c.write(orders+"base/settings.yaml", whole+"data: {x: y}\n") },
			only: []string{"stock"}, counts: map[RenderResult]int{RenderReused: 2}},
		{what: "all again", counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "a link in place of a file", do: func() {
			c.remove(orders + "base/settings.yaml")
			c.write("shared/settings.yaml", whole)
			c.link("../../../shared/settings.yaml", orders+"base/settings.yaml")
		}, counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "what the link leads to", do: func() { c.write("shared/settings.yaml", whole+"data: {shared: 'yes'}\n") },
			counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "a link that leaves the repository", do: func() {
			c.remove(orders + "base/settings.yaml")
			c.link("/etc/hostname", orders+"base/settings.yaml")
		}, counts: map[RenderResult]int{RenderFailed: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
		{what: "still so", do: func() { c.write("README.md", "hello") }, counts: map[RenderResult]int{RenderReused: 6}},
		{what: "a pipeline gone", do: func() { c.remove("pipelines/orders") }, counts: map[RenderResult]int{RenderReused: 4}},
		{what: "a revert", do: func() { lab.Git(t, c.dir, "", "checkout", "-q", "HEAD~6", "--", "pipelines/orders") },
			counts: map[RenderResult]int{RenderBuilt: 2, RenderReused: 4}, differ: []string{"orders@dev", "orders@prod"}},
	} {
		if step.do != nil {
			step.do()
		}
		_, counts, differ := c.pass(step.only...)
		if !reflect.DeepEqual(counts, step.counts) || !slices.Equal(differ, step.differ) {
			t.Errorf("%s: %v, and differing %v; want %v and %v", step.what, counts, differ, step.counts, step.differ)
		}
	}
}

func (c *checkout) remove(name string) {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.dir, name)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkout) link(target, name string) {
	c.t.Helper()
	if err := os.Symlink(target, filepath.Join(c.dir, name)); err != nil {
		c.t.Fatal(err)
	}
}

func TestOverlaysThatAreGoneAreForgotten(t *testing.T) {
	c := newCheckout(t, "dev")
	c.pipeline("clicks")
	c.pipeline("orders")
	c.pass()
	c.remove("pipelines/orders")
	c.pass("clicks")
	if overlays := slices.Collect(maps.Keys(c.planner.Renderings.byOverlay)); !slices.Equal(overlays, []string{"pipelines/clicks/overlays/dev"}) {
		t.Errorf("kept: %v", overlays)
	}
	if len(c.planner.Renderings.last) != 1 {
		t.Errorf("kept: %v", c.planner.Renderings.last)
	}
}

// Two environments may share an overlay: it is rendered once, and each has its own settings.
func TestASharedOverlayIsRenderedOnce(t *testing.T) {
	c := newCheckout(t, "dev", "prod")
	c.pipeline("clicks")
	c.planner.Config.Source.Layout = "pipelines/{pipeline}/overlays/dev"
	if _, counts, differ := c.pass(); !maps.Equal(counts, map[RenderResult]int{RenderBuilt: 1}) || len(differ) != 2 {
		t.Errorf("%v, differing %v", counts, differ)
	}
	c.write("pipelines/clicks/overlays/dev/size.yaml", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: clicks}\nspec: {suspend: true}\n")
	if _, counts, differ := c.pass(); !maps.Equal(counts, map[RenderResult]int{RenderBuilt: 1}) || len(differ) != 2 {
		t.Errorf("%v, differing %v", counts, differ)
	}
}

// A set that passes share stays the same after a reconcile of a target with it.
func TestSharedSetsStayAsTheyWereRendered(t *testing.T) {
	c := newCheckout(t, "dev")
	c.pipeline("clicks")
	all, _, _ := c.pass()
	w := all["clicks@dev"]
	before := yamlOf(t, w.Rendered.Set.Set(), w.Err)
	const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	set, err := w.Applicable(map[string]image.Resolved{"registry.example.com/job:1": {Digest: digest}}, "syncer-system")
	if text := yamlOf(t, set, err); !strings.Contains(text, digest) || text == before {
		t.Fatalf("nothing was pinned:\n%s", text)
	}
	set[0].Object["spec"] = "changed"
	later, _, _ := c.pass()
	if after := yamlOf(t, later["clicks@dev"].Rendered.Set.Set(), nil); after != before {
		t.Errorf("changed from\n%s\nto\n%s", before, after)
	}
}

// BenchmarkCommit compares the cost of a commit to one pipeline of a hundred with the rendering of all of its 300
// targets.
func BenchmarkCommit(b *testing.B) {
	const pipelines = 100
	c := newCheckout(b, "dev", "staging", "prod")
	for i := range pipelines {
		c.pipeline(fmt.Sprintf("p%03d", i))
	}
	before := c.commit()
	c.write("pipelines/p042/base/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p042}\ndata: {a: changed}\n")
	after := c.commit()
	var whole, part, none time.Duration
	for b.Loop() {
		c.planner.Renderings = &Renderings{Count: c.planner.Renderings.Count}
		clear(c.counts)
		whole += c.timed(before)
		part += c.timed(after)
		none += c.timed(after)
		if want := (map[RenderResult]int{RenderBuilt: 303, RenderReused: 597}); !maps.Equal(c.counts, want) {
			b.Fatalf("%v, want %v", c.counts, want)
		}
	}
	b.ReportMetric(float64(whole.Milliseconds())/float64(b.N), "ms/everything")
	b.ReportMetric(float64(part.Microseconds())/1000/float64(b.N), "ms/one-pipeline")
	b.ReportMetric(float64(none.Microseconds())/1000/float64(b.N), "ms/nothing")
	b.ReportMetric(float64(whole)/float64(part), "times-less")
}

func (c *checkout) timed(snap source.Snapshot) time.Duration {
	c.t.Helper()
	all := c.targets(snap)
	start := time.Now()
	c.planner.Renderings.Render(c.t.Context(), all, snap.Files)
	took := time.Since(start)
	for _, w := range all {
		if w.Err != nil {
			c.t.Fatal(w.Err)
		}
	}
	return took
}

func TestAPipelineThatDidNotChangeIsNotReadAgain(t *testing.T) {
	c := newCheckout(t, "dev", "prod")
	for _, name := range []string{"clicks", "orders", "stock"} {
		c.pipeline(name)
	}
	c.remove("pipelines/stock/overlays/dev")
	c.write("shared/kustomization.yaml", "resources: [../pipelines/stock/base]\n")
	c.link("../../../shared", "pipelines/stock/overlays/dev")
	discover := func() []*Pipeline {
		pipelines, err := c.planner.Discover(c.commit())
		if err != nil || len(pipelines) != 3 {
			t.Fatalf("%v, %v", pipelines, err)
		}
		return pipelines
	}
	before := discover()
	c.write("pipelines/orders/pipeline.yaml", "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\nowner: sales\n")
	c.remove("shared")
	after := discover()
	if before[0] != after[0] {
		t.Error("a pipeline that did not change was read again")
	}
	if owner := after[1].settings["dev"].values.Owner; owner != "sales" {
		t.Errorf("the owner is %q after a change of pipeline.yaml", owner)
	}
	if before[2] == after[2] {
		t.Error("a pipeline with a link is as it was, although the folder at its end is gone")
	}
}
