// Package pin decides which digest each image reference of a target stands for: the one of the record, the one that another
// environment has deployed, or the one that the registry has now. It also checks deployed images against their registries.
// It writes nothing to a cluster.
package pin

import (
	"context"
	"log/slog"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// Resolver decides which digests the references of targets stand for. It is safe for concurrent use.
type Resolver struct {
	Config *v1alpha1.Config
	// Source returns the registries as they answer to credentials.
	Source   func(image.Credentials) image.Source
	Clusters *target.Clusters
	Checks   *Checks
	Dates    target.Dates
	Log      *slog.Logger
}

// Request says how the references of one target are resolved.
type Request struct {
	// Lookups are those of the pass.
	Lookups *Lookups
	// AllowPromotion lets references through that the other environment never deployed: a commit trailer allows it.
	AllowPromotion bool
	// From is what the commit says of the target that digests are promoted from; nil: nothing.
	From *target.Desired
	// Frozen is for digests that are shown and not deployed: recorded ones stay as they are, and the policy of the
	// environment refuses no image.
	Frozen bool
}

// Decide gives each reference of a target its digest. Under Pin a recorded digest stays. Under Track the tag is looked up
// again when it is due. A reference that is new here takes its digest from the environment that it is promoted from, or
// else from its registry. References that ran here before need no look-up.
//
// The error is a *target.WaitError where references wait for their promotion. Moved of the decision is valid with an error
// too.
func (r *Resolver) Decide(ctx context.Context, desired *target.Desired, request Request) (Decision, error) {
	policy := image.Policy{}
	if !request.Frozen {
		policy.DenyTags, policy.Allow = desired.Environment.Images.DenyTags, desired.Environment.Images.Allow
	}
	written, _ := desired.ByRange(nil)
	if err := policy.Check(written); err != nil {
		return Decision{}, err
	}
	decided, err := newDecider(r, desired, request).decide(ctx)
	if err != nil {
		return decided, err
	}
	_, chosen := desired.ByRange(decided.Resolved)
	return decided, policy.Check(chosen)
}
