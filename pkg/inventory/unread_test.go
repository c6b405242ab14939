package inventory

import (
	"context"
	"errors"
	"io"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Where the API server does not list a kind, a request for one of its objects shows whether it answers at all.
func TestKindThatIsNotListedIsToldFromASilentServer(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	record := b.Record()
	kind := schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	unlisted := answer.Unlisted(kind, context.DeadlineExceeded)
	at := place{kind: kind, namespace: b.Namespace}
	if err := reasonFor(b.Ctx, b.Cluster, at, record, unlisted); !answer.IsOfObject(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that answers: %v", err)
	}
	for name, c := range map[string]struct {
		at     place
		record *v1alpha1.PipelineSync
		err    error
	}{
		"another fault":          {at, record, io.EOF},
		"no record":              {at, nil, unlisted},
		"no object of the place": {place{kind: kind, namespace: "other"}, record, unlisted},
	} {
		if err := reasonFor(b.Ctx, b.Cluster, c.at, c.record, c.err); !errors.Is(err, c.err) || answer.IsOfObject(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(b.Ctx)
	cancel()
	bench.WantError(t, reasonFor(ended, b.Cluster, at, record, unlisted), "reading ConfigMap/"+b.Namespace+"/a: ")
}
