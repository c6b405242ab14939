package daemon

import (
	"reflect"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// One daemon on an API server: commits, a hand edit, a fault, a tag that moves, and pipelines that leave git.
func TestDaemon(t *testing.T) {
	p := newProject(t, "leaderElection: false", "  images: {policy: Track, interval: 1s}")
	first := p.push("web:1", "one")
	p.pipeline("plain", configMap("plain", "1"))
	p.pipeline("web", p.cronJob("web", "web:1"))
	p.commit("One")
	d := p.follow("me")
	ready := func(names ...string) func(*view.View) bool {
		return func(v *view.View) bool {
			for _, name := range names {
				if inProd(v, name).State != drift.Ready {
					return false
				}
			}
			return len(v.Targets) == len(names)
		}
	}

	d.until("both are deployed", ready("plain", "web"))
	if err := d.Ready(); err != nil {
		t.Error(err)
	}
	if err := d.Alive(); err != nil {
		t.Error(err)
	}
	objects, err := d.Objects(t.Context(), prod("plain"))
	if err != nil || len(objects) != 1 || objects[0].Object.Name != "plain" {
		t.Errorf("the objects: %v, %v", objects, err)
	}
	again, err := d.Objects(t.Context(), prod("plain"))
	if err != nil || !reflect.DeepEqual(again, objects) {
		t.Errorf("the objects, asked again: %v, %v", again, err)
	}
	if _, err := d.Objects(t.Context(), prod("other")); err == nil {
		t.Error("a target that is not there has objects")
	}

	p.Edit(bench.ConfigMaps, "plain", `{"data": {"value": "by hand"}}`)
	d.until("the hand edit is found", func(v *view.View) bool {
		found := inProd(v, "plain").Findings
		return len(found) == 1 && found[0].Kind == drift.Modified
	})

	p.pipeline("plain", configMap("plain", "2"))
	p.pipeline("broken", "kind: [\n")
	p.commit("Two")
	d.Wake()
	d.until("the second commit is applied", func(v *view.View) bool {
		return p.value("plain") == "2" && len(inProd(v, "plain").Findings) == 0 && v.Source.Commit == inProd(v, "plain").Commit
	})
	d.until("a target that cannot be rendered fails", func(*view.View) bool { return d.states.of(prod("broken")).failures.has() })
	p.pipeline("broken", configMap("broken", "1"))
	p.commit("Three")
	d.until("the fault is corrected", ready("broken", "plain", "web"))
	if d.states.of(prod("broken")).failures.has() {
		t.Error("it has a back-off after its fault was corrected")
	}

	second := p.push("web:1", "two")
	d.until("the tag that moved is followed", func(v *view.View) bool {
		images := inProd(v, "web").Images
		return len(images) == 1 && images[0].Digest == second && images[0].Digest != first
	})

	p.git("rm", "--quiet", "-r", "pipelines/broken", "pipelines/web")
	p.commit("Four")
	d.until("what left git is deleted", ready("plain"))
	p.pipeline("plain", configMap("plain", "3"))
	p.commit("Five")                                                // whose plan does not have them any more
	d.until("only what git has is known", func(v *view.View) bool { // the view is of the last plan, which its counts follow
		left := d.states.targets()
		return len(left) == 1 && left[0] == prod("plain") && v.Commits[0].Subject == "Five" && inProd(v, "plain").Commit == v.Source.Commit
	})

	families, err := d.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, family := range families {
		seen[family.GetName()] = true
	}
	for _, name := range []string{
		"syncer_reconcile_duration_seconds", "syncer_commit_to_live_seconds", "syncer_last_sync_timestamp_seconds", "syncer_renders_total",
		"syncer_git_requests_total", "syncer_registry_requests_total", "syncer_api_requests_total", "syncer_queue_depth", "syncer_targets",
	} {
		if !seen[name] {
			t.Errorf("the metric %s has no value", name)
		}
	}
	d.stop()
	for _, name := range []string{"broken", "web"} { // while it runs, its maps are not the test's to read
		if places := keepers(reflect.ValueOf(d.Daemon), prod(name), "daemon", map[uintptr]bool{}); len(places) > 0 {
			t.Errorf("%s left git, and is still in %q", name, places)
		}
	}
	for _, want := range []string{"new commit", "target applied", "target failed"} {
		if !strings.Contains(d.logged.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, d.logged)
		}
	}
}
