package apply

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/plan"
)

// annotationFence is set on an object between the two writes of a fence.
const annotationFence = v1alpha1.Group + "/fence"

// fences gives a new version to the objects that an unconfirmed apply may still write. Its late writes require the version
// that it judged, so the API server refuses them.
func (a *application) fences(ctx context.Context) error {
	steps := slices.DeleteFunc(slices.Clone(a.steps), func(s *plan.Step) bool { return !a.comparer.NeedsFence(s) })
	errs := make([]error, len(steps)) // each worker owns one slot
	fenced := make([]*unstructured.Unstructured, len(steps))
	var g panics.Group
	g.SetLimit(cluster.FanOut)
	for i := range steps {
		g.Go(func() error {
			fenced[i], errs[i] = a.fence(ctx, steps[i])
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	for i, s := range steps {
		if errs[i] == nil {
			a.confirm(s, written{object: fenced[i]})
		}
	}
	return answer.Join(errs)
}

// fence writes an object twice, because an apply that changes nothing keeps the version. Controllers may write the object in
// between. The Deployment controller does so, for example, because it follows the annotations.
func (a *application) fence(ctx context.Context, s *plan.Step) (*unstructured.Unstructured, error) {
	id, err := a.cluster.Scope(s.Change.ID)
	if err != nil {
		return nil, answer.Explain(s.Rendered, id, "looking up", err)
	}
	judged := manifest.OwnedState(s.Change.Live, manifest.FieldManager, a.comparer.Key())
	live, next, marked := s.Change.Live, withMark(s.Sent, a.attempt), false
	for range changedTries {
		written, err := a.cluster.Write(ctx, next, live)
		switch {
		case err == nil && marked:
			return written, nil
		case err == nil:
			live, next, marked = written, s.Sent, true
			continue
		case !changed(err, live):
			return nil, answer.Explain(s.Rendered, id, "applying", err, live)
		}
		if live, err = a.cluster.Get(ctx, id); err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if err := a.stillOurs(ctx); err != nil {
			return nil, err
		}
		switch {
		case live == nil:
		case live.GetAnnotations()[annotationFence] == a.attempt: // another apply would have removed the annotation
			next, marked = s.Sent, true
			continue
		case manifest.OwnedState(live, manifest.FieldManager, a.comparer.Key()) != judged:
		case marked:
			return live, nil // the answer to the second write was lost
		default:
			continue
		}
		break
	}
	return nil, answer.WillPass(fmt.Sprintf("%s: it changes faster than it can be looked at; syncer tries again at the next pass", id))
}

// withMark returns a copy of an object with the annotation of a fence.
func withMark(obj *unstructured.Unstructured, attempt string) *unstructured.Unstructured {
	out := obj.DeepCopy()
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationFence] = attempt
	out.SetAnnotations(annotations)
	return out
}
