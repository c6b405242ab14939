package daemon

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/view"
)

// Objects leave a pipeline while another one does not render. They wait, whatever their own pipeline goes through meanwhile,
// and go to the other one, or go away, when it renders again.
func TestAnObjectWaitsForThePipelineThatMayHaveItNow(t *testing.T) {
	p := newProject(t, "", "")
	p.pipeline("from", configMap("stays", "1")+"---\n"+configMap("moved", "1")+"---\n"+configMap("dropped", "1"))
	p.pipeline("to", configMap("other", "1"))
	p.commit("first")
	r := p.follow("one")
	r.until("everything is applied", func(v *view.View) bool { return p.value("dropped") == "1" && p.value("other") == "1" })
	uid := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "moved"), "metadata", "uid")

	p.pipeline("from", configMap("stays", "2"))
	p.pipeline("to", configMap("other", "1")+"---\n"+configMap("moved", "1")+"---\n"+configMap("dropped", "1")+"---\nkind: [\n")
	p.commit("move both, with an error")
	r.until("the rest is applied, and both wait", func(v *view.View) bool {
		held := inProd(v, "from").Held
		return p.value("stays") == "2" && len(held) == 2 && held[0].Reason == "Unrendered" &&
			strings.HasPrefix(held[0].Message, "to@prod does not render at this commit, and pipelines/to/overlays/prod/object.yaml may name it")
	})
	p.pipeline("from", configMap("stays", "3"))
	p.commit("go on")
	r.until("another commit is applied", func(*view.View) bool { return p.value("stays") == "3" })
	if p.value("moved") != "1" || p.value("dropped") != "1" {
		t.Fatal("an object is gone that may have moved")
	}

	p.pipeline("to", configMap("other", "1")+"---\n"+configMap("moved", "2"))
	p.commit("correct it")
	r.until("one is taken over, and one is gone", func(*view.View) bool { return p.value("moved") == "2" && p.value("dropped") == nil })
	if now := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "moved"), "metadata", "uid"); now != uid {
		t.Error("the object was deleted and created again")
	}
	r.until("nothing waits", func(v *view.View) bool {
		held := inProd(v, "from").Held
		return len(held) == 0
	})
}
