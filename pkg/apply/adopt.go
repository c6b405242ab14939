package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/takeover"
)

// adopt takes an object over. One patch of exactly the known state gives syncer the fields of the former managers; then
// adopt applies the object. This apply removes the fields that git does not set, because their only owner no longer sets
// them. An interruption between the two writes leaves an object with fields of syncer and without its label. The next pass
// applies it like any other object.
func (a *application) adopt(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	live := s.Adopts
	s.Adopts = nil
	for range changedTries {
		tool := takeover.ManagedBy(live)
		if tool == nil {
			return a.again(ctx, id, s)
		}
		err := a.upgrade(ctx, live)
		if err == nil {
			return a.again(ctx, id, s)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return nil, answer.Explain(live, id, "taking it over from "+tool.Tool, err)
		}
		if live, err = a.cluster.Get(ctx, id); err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if live == nil {
			return a.again(ctx, id, s)
		}
		if err := a.comparer.RefuseMember(ctx, live); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: it changes faster than it can be taken over; syncer tries again at the next pass", id)
}

// upgrade gives syncer the fields of an object's former managers. A conflict means that the object has changed.
func (a *application) upgrade(ctx context.Context, live *unstructured.Unstructured) error {
	patch, err := takeover.Patch(live)
	if err != nil {
		return err
	}
	_, err = a.cluster.Patch(ctx, manifest.IDOf(live), patch)
	return err
}
