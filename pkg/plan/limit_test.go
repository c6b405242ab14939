package plan

import (
	"errors"
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A deletion that an earlier pass allowed, and that waits since, is not limited again. A deletion that waited because another
// target named the object, or may have named it, was never allowed.
func TestLimitOfDeletionsThatWaited(t *testing.T) {
	for reason, refused := range map[manifest.HoldReason]bool{
		"": true, manifest.HeldInUse: false, manifest.HeldRunning: false, manifest.HeldMoved: true, manifest.HeldUnrendered: true,
	} {
		record := &v1alpha1.PipelineSync{}
		p := &Plan{comparer: &Comparer{request: Request{Record: record}}}
		for i := range 10 {
			s := pruneOf(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-%c, namespace: data}\n", 'a'+i))
			p.steps = append(p.steps, s)
			object := v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: s.Change.ID.Name}
			if reason != "" {
				record.Status.Held = append(record.Status.Held, v1alpha1.HeldChange{ObjectReference: object, Action: string(manifest.Prune), Reason: string(reason)})
			}
		}
		err := p.LimitPrunes(PruneLimit{MaxPercent: 50, MaxObjects: 5})
		if _, is := errors.AsType[*PruneRefusedError](err); is != refused {
			t.Errorf("after the reason %q: %v", reason, err)
		}
	}
}
