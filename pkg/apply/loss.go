package apply

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/takeover"
)

// regain completes the repair of a loss after an apply. Syncer now owns the fields of git again. A second owner remains: the
// manager that created the object anew, or the placeholder manager before-first-apply. While this manager owns the fields
// too, a field would stay when it leaves git. So regain leaves it only the other fields. A conflict or an interruption
// leaves two owners: then a field that leaves git is reported as added.
//
// A field beside git's fields has one of three origins: it is a default, which does not count as an addition, or git set it
// before, or another owner set it. The API server restores the defaults, and regain recognizes them by that.
func (a *application) regain(ctx context.Context, s *plan.Step, applied *unstructured.Unstructured) (written, error) {
	if s.Change.Lost == nil || s.Change.Action != manifest.Update || s.Stays() {
		return written{object: applied}, nil
	}
	id, err := a.cluster.Scope(s.Change.ID)
	if err != nil {
		return written{}, answer.Explain(s.Rendered, id, "looking up", err)
	}
	alone, err := a.soleOwner(ctx, applied)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		alone, err = applied, nil // another process wrote the object at this moment
	}
	if err != nil {
		return written{}, answer.Explain(s.Rendered, id, "taking its fields back", err, applied)
	}
	return written{alone, a.defaults(ctx, alone, a.inventory[id.Key()].Others)}, nil
}

// soleOwner takes the fields that syncer applies from the managers that created an object anew, and from placeholder
// managers.
func (a *application) soleOwner(ctx context.Context, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	patch, err := takeover.SoleOwner(live)
	if err != nil || patch == nil {
		return live, err
	}
	return a.cluster.Patch(ctx, manifest.IDOf(live), patch)
}

// defaults lists the fields of others, except the known ones, that the API server sets again after their removal. If the API
// server refuses the dry run, as for immutable fields, all of them count as defaults.
func (a *application) defaults(ctx context.Context, live *unstructured.Unstructured, known []string) []string {
	var others []manifest.Path
	less := live.DeepCopy()
	for _, addition := range manifest.Additions(live, manifest.FieldManager, nil) {
		path, err := manifest.ParsePath(addition.Path)
		if err != nil || slices.ContainsFunc(known, func(other string) bool { return manifest.Within(addition.Path, other) }) {
			continue
		}
		others = append(others, path)
		manifest.Remove(less.Object, path)
	}
	if len(others) == 0 {
		return nil
	}
	tried := live
	if patch, err := takeover.Difference(live, less); err == nil {
		after, err := a.cluster.TryPatch(ctx, manifest.IDOf(live), patch)
		if err == nil {
			tried = after
		}
	}
	var out []string
	for _, path := range others {
		was, is := manifest.Find(live.Object, path), manifest.Find(tried.Object, path)
		if len(was) == 1 && len(is) == 1 && equality.Semantic.DeepEqual(was[0].Value, is[0].Value) {
			out = append(out, path.String())
		}
	}
	return out
}
