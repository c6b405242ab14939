package daemon

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/renderers"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// The overlay of one pipeline takes long to render. The others are deployed without it, and it is deployed when it is rendered.
// An object that may have moved to it waits meanwhile.
func TestAnOverlayThatTakesLongToRenderHoldsUpNoOtherPipeline(t *testing.T) {
	p := newProject(t, "", "")
	p.pipeline("slow", configMap("slow", "1"))
	p.pipeline("quick", configMap("quick", "1")+"---\n"+configMap("moved", "1"))
	p.commit("first")
	slow := make(chan struct{}, 9)
	local := renderers.Limits{}.Local()
	slow <- struct{}{}
	r := p.follow("one", func(planner *target.Planner) {
		planner.Renderings.Build = func(ctx context.Context, files fs.FS, overlay string) renderers.Built {
			if strings.Contains(overlay, "slow") {
				select {
				case <-slow:
				case <-ctx.Done():
				}
			}
			return local(ctx, files, overlay)
		}
	})
	r.until("both are deployed", func(*view.View) bool { return p.value("slow") == "1" && p.value("moved") == "1" })

	p.pipeline("slow", configMap("slow", "2")+"---\n"+configMap("moved", "2"))
	p.pipeline("quick", configMap("quick", "2"))
	p.commit("second")
	r.until("the quick one is deployed, and what may have moved waits", func(v *view.View) bool {
		held := inProd(v, "quick").Held
		return p.value("quick") == "2" && len(held) == 1 && strings.HasPrefix(held[0].Message, "slow@prod is still being rendered")
	})
	if p.value("slow") != "1" || p.value("moved") != "1" {
		t.Error("something of the slow one was deployed or deleted")
	}
	slow <- struct{}{}
	r.until("the slow one is deployed", func(*view.View) bool { return p.value("slow") == "2" && p.value("moved") == "2" })
	r.until("nothing waits", func(v *view.View) bool { return len(inProd(v, "quick").Held) == 0 })
}
