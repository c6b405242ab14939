package apply

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/plan"
)

const (
	establishTimeout = time.Minute
	establishPoll    = 100 * time.Millisecond
)

// awaitKinds waits until the API server serves the kinds of new CRDs. The server answers 404 for a moment after it accepted
// a definition, and again until discovery lists the kind.
func (a *application) awaitKinds(ctx context.Context, steps []*plan.Step) error {
	for _, s := range steps {
		id := s.Change.ID
		id, err := a.cluster.Scope(id)
		if err != nil {
			return answer.Explain(s.Rendered, id, "looking up", err)
		}
		last := "its status names no condition yet"
		err = wait.PollUntilContextTimeout(ctx, establishPoll, establishTimeout, true, func(ctx context.Context) (bool, error) {
			live, err := a.cluster.Get(ctx, id)
			if live == nil && err == nil {
				err = fmt.Errorf("%s is not there", id)
			}
			if err != nil {
				last = err.Error()
				return false, nil
			}
			verdict := a.cluster.Judge().Health(live)
			last = verdict.Message
			return verdict.Status == health.Healthy && served(a.cluster, live), nil
		})
		if err != nil {
			return fmt.Errorf("%s: waiting until it is established: %w (%s)", id, err, last)
		}
	}
	return nil
}

// served reports whether discovery lists every version that a definition serves. An updated definition was established
// before, so its condition does not prove this.
func served(c *cluster.Cluster, crd *unstructured.Unstructured) bool {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, version := range versions {
		fields, ok := version.(map[string]any)
		if !ok || fields["served"] != true {
			continue
		}
		gvk := schema.GroupVersionKind{}
		gvk.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
		gvk.Kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
		gvk.Version, _ = fields["name"].(string)
		if !cluster.Serves(c, gvk) {
			return false
		}
	}
	return true
}
