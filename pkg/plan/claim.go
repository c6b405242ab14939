package plan

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/takeover"
)

// Claim decides whether a target may take a live object that is not at rest. It refuses an object of another ApplySet. It
// allows an object that another tool manages only where git says so. The step shows an adopted object as the takeover will
// leave it.
func (c *Comparer) Claim(ctx context.Context, s *Step, live *unstructured.Unstructured) error {
	target := c.request.Target
	if c.handsOver(s.Change.ID, live) {
		return nil
	}
	if err := c.RefuseMember(ctx, live); err != nil {
		return err
	}
	_, recorded := c.recorded[s.Key()]
	if live == nil || recorded || inventory.IsMember(c.cluster, target, live) || inventory.IsDisabled(live) || live.GetDeletionTimestamp() != nil {
		return nil
	}
	tool := takeover.ManagedBy(live)
	if tool == nil {
		return nil
	}
	// The objects of `syncer install` belong to syncer, also where kubectl applied them before. They have no target.
	if s.Rendered.GetAnnotations()[v1alpha1.AnnotationAdopt] != v1alpha1.Enabled && target != (v1alpha1.Target{}) {
		return &takeover.Error{ID: s.Change.ID, Target: target, Tool: tool.Tool, Owner: tool.Owner}
	}
	taken, err := takeover.TakenOver(live)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Change.ID, err)
	}
	s.Adopts, s.Change.Live = live, taken
	return nil
}

// adopted returns the result of a dry run as it will be after the takeover: without the fields that only the former managers
// own. The API server cannot try this directly. A field with a default gets it again. adopted asks the API server for it,
// because managers that wrote with Update own the defaults as well.
func adopted(ctx context.Context, c *Comparer, s *Step, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := s.Change.Live
	if takeover.ManagedBy(live) != nil { // the object was read again, because another process wrote it
		taken, err := takeover.TakenOver(live)
		if err != nil {
			return nil, err
		}
		s.Adopts, s.Change.Live = live, taken
		live = taken
	}
	patch, err := takeover.Released(live, want)
	if err != nil {
		return nil, err
	}
	tried, err := c.cluster.TryPatch(ctx, manifest.IDOf(live), patch)
	if err != nil {
		return nil, err
	}
	tried.SetManagedFields(want.GetManagedFields())
	return tried, nil
}

// handsOver reports whether a live object belongs to another target of the same commit which does not name it any more.
func (c *Comparer) handsOver(id manifest.ID, live *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	request, owner := c.request, live.GetLabels()[v1alpha1.LabelMember]
	if _, own := v1alpha1.MemberLabel(c.cluster.Namespace(), request.Target); owner == own || !request.Neighbours.Settled(owner) {
		return false
	}
	target, _ := request.Neighbours.NamedBy(id)
	return target == request.Target
}
