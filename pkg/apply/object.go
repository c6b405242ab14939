package apply

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// object applies the object of a step. It judges the object again if it changed since the plan was made.
func (a *application) object(ctx context.Context, s *plan.Step) (*unstructured.Unstructured, error) {
	id := s.Change.ID
	id, err := a.cluster.Scope(id)
	if err != nil {
		return nil, answer.Explain(s.Rendered, id, "looking up", err)
	}
	if s.State == plan.Deferred {
		// The dependencies of this object were missing when the other objects were tried.
		live, err := a.cluster.Get(ctx, id)
		if err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if err := a.comparer.Claim(ctx, s, live); err != nil {
			return nil, err
		}
		judgedAgain := live != nil && s.Adopts == nil
		if err := settle(ctx, a.cluster, s.Rendered); err != nil && !(judgedAgain && answer.IsRefusal(err)) {
			return nil, answer.Explain(s.Rendered, id, "trying", err, live)
		}
		if judgedAgain {
			return a.again(ctx, id, s) // the object could not be judged before, and may be running
		}
	}
	if s.Change.Action == manifest.Replace {
		applied, err := a.replace(ctx, id, s)
		if apierrors.IsConflict(err) {
			return a.again(ctx, id, s)
		}
		return applied, err
	}
	if s.Adopts != nil {
		return a.adopt(ctx, id, s)
	}
	applied, err := a.cluster.Write(ctx, s.Sent, s.Change.Live)
	if !changed(err, s.Change.Live) {
		return applied, answer.Explain(s.Rendered, id, "applying", err, s.Change.Live)
	}
	if s.Change.Live == nil {
		return a.appeared(ctx, id, s)
	}
	return a.again(ctx, id, s)
}

// changed reports whether a write was refused because the object is not as it was judged.
func changed(err error, judged *unstructured.Unstructured) bool {
	return apierrors.IsConflict(err) || judged != nil && apierrors.IsNotFound(err)
}

// appeared judges an object that another process created between the plan and the write.
func (a *application) appeared(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	live, err := a.cluster.Get(ctx, id)
	if err != nil {
		return nil, answer.Explain(s.Rendered, id, "reading", err)
	}
	if err := a.comparer.Claim(ctx, s, live); err != nil {
		return nil, err
	}
	if s.Adopts != nil {
		return a.adopt(ctx, id, s)
	}
	return a.again(ctx, id, s)
}

// changedTries limits how often an object is judged again when other processes write it all the time.
const changedTries = 8

// again judges an object that changed between the plan and the write. A run may have begun in the meantime, another syncer
// may have taken the target over, or the answer to the own write was lost.
func (a *application) again(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	planned := s.Change.Action
	for range changedTries {
		live, err := a.cluster.Get(ctx, id)
		if err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if err := a.stillOurs(ctx); err != nil {
			return nil, err
		}
		if err := a.comparer.RefuseForeign(ctx, id, live); err != nil {
			return nil, err
		}
		if onlyReported(a.cluster, s, live) {
			s.Change.Live = live
		} else if err := a.comparer.Again(ctx, s, live); err != nil {
			return nil, err
		}
		switch s.Change.Action {
		case manifest.Hold:
			return nil, &heldError{*s.Change.Held}
		case manifest.None:
			if !s.Stays() {
				s.Change.Action = planned // an earlier try or another syncer has made the change
			}
			return live, nil
		case manifest.Replace:
			applied, err := a.replace(ctx, id, s)
			if apierrors.IsConflict(err) {
				continue
			}
			return applied, err
		}
		applied, err := a.cluster.Write(ctx, s.Sent, live)
		if !changed(err, live) {
			return applied, answer.Explain(s.Rendered, id, "applying", err, s.Change.Live)
		}
	}
	return nil, answer.WillPass(fmt.Sprintf("%s: it changes faster than it can be looked at; syncer tries again at the next pass", id))
}

// onlyReported reports whether only the status of an object has changed since it was judged. Then the judgement is still
// valid. An object that runs to completion is judged by its status, so it never counts here.
func onlyReported(c *cluster.Cluster, s *plan.Step, live *unstructured.Unstructured) bool {
	judged := s.Change.Live
	if live == nil || judged == nil || s.State == plan.Deferred || s.Change.Action != manifest.Update || c.Judge().Run(live).State != health.NotARun {
		return false
	}
	return equality.Semantic.DeepEqual(withoutStatus(judged), withoutStatus(live))
}

// withoutStatus returns the fields of an object that its apply depends on.
func withoutStatus(obj *unstructured.Unstructured) map[string]any {
	out := maps.Clone(obj.Object)
	delete(out, "status")
	metadata, _ := out["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	for _, field := range []string{"resourceVersion", "managedFields", "generation"} {
		delete(metadata, field)
	}
	out["metadata"] = metadata
	return out
}

const (
	settleTimeout = 5 * time.Second
	settlePoll    = 100 * time.Millisecond
)

// settle tries an object until the API server and its controllers act on the changes of earlier stages. They read a CRD's
// new schema, a quota's new limits or a namespace a moment after they accepted it.
func settle(ctx context.Context, c *cluster.Cluster, obj *unstructured.Unstructured) error {
	var refused error
	err := wait.PollUntilContextTimeout(ctx, settlePoll, settleTimeout, true, func(context.Context) (bool, error) {
		_, refused = c.DryRun(ctx, obj) // does not use the poll's context, which would cancel the last try
		return refused == nil, nil
	})
	return cmp.Or(refused, err)
}
