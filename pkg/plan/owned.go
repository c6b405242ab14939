package plan

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// OwnedError says that an object belongs to another target, or to another tool's ApplySet.
type OwnedError struct {
	ID     manifest.ID
	Target v1alpha1.Target
	Owner  string
	// Namespace is the namespace of the owner's record. It is empty if the owner has no record.
	Namespace string
}

func (e *OwnedError) Error() string {
	text := fmt.Sprintf("%s: it belongs to %s, so %s may not take it; keep it in one of the two", e.ID, e.Owner, e.Target)
	if e.Owner == e.Target.String() {
		// Two syncers deploy the same repository.
		text += fmt.Sprintf(" (the record of the owner is in namespace %s)", e.Namespace)
	}
	return text
}

// RefuseForeign returns an OwnedError for a live object of another ApplySet, unless that ApplySet hands the object over.
func (c *Comparer) RefuseForeign(ctx context.Context, id manifest.ID, live *unstructured.Unstructured) error {
	if c.handsOver(id, live) {
		return nil
	}
	return c.RefuseMember(ctx, live)
}

// RefuseMember returns an OwnedError for a live object of another ApplySet.
func (c *Comparer) RefuseMember(ctx context.Context, live *unstructured.Unstructured) error {
	if live == nil {
		return nil
	}
	_, own := v1alpha1.MemberLabel(c.cluster.Namespace(), c.request.Target)
	other := live.GetLabels()[v1alpha1.LabelMember]
	if other == "" || other == own {
		return nil
	}
	owner, namespace := c.cluster.Records().Owner(ctx, other)
	return &OwnedError{ID: manifest.IDOf(live), Target: c.request.Target, Owner: owner, Namespace: namespace}
}
