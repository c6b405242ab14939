// Package reconcile brings one target to what git says, once: it decides the digests, plans, applies, reads the health and
// writes the record. It decides neither when a target is reconciled nor which commit is meant.
package reconcile

import (
	"context"
	"errors"
	"log/slog"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
)

// Reconciler holds what all reconciles of a process share. It is safe for concurrent use.
type Reconciler struct {
	Config  *v1alpha1.Config
	Planner *target.Planner
	Pins    *pin.Resolver
	Rating  Rating
	Dates   target.Dates
	Guard   target.Guard
	Log     *slog.Logger
	// Observe receives the state of each target after its reconcile. Optional.
	Observe func(*target.Desired, Observation)
	// ChecksImages asks the registries about deployed images.
	ChecksImages bool
}

// Request is one target to reconcile.
type Request struct {
	// Desired is not changed: the reconcile works on a copy.
	Desired *target.Desired
	Pass    *Pass
	// Mark says in the record that a commit is on its way; nil: nothing says so.
	Mark *underway.Mark
	// Stale says that the record may have been written since Desired was planned: it is read again.
	Stale bool
}

// ErrSuperseded ends the work on a commit when a newer one has come before the first write.
var ErrSuperseded = errors.New("a newer commit came; this one is not carried out any more")

// Reconcile brings a target to what git says. The Result is complete also with an error, which is the failure of the target;
// the record says so too, where that can be written. With Options.Wait it waits for the health of the target, and of the
// objects that held changes depend on.
func (r *Reconciler) Reconcile(ctx context.Context, request Request) (Result, error) {
	t := newTask(ctx, request)
	result, err := r.guarded(ctx, t)
	for err == nil && t.awaitHealth(ctx, result.Detail.Wait) {
		result, err = r.guarded(ctx, t)
	}
	switch {
	case errors.Is(err, ErrSuperseded):
		result.Message, err = err.Error(), nil
	case err != nil:
		result.Fail(err)
	}
	result.Detail.Record, result.Detail.Credentials = t.desired.Record, t.pass.Lookups.CredentialsOf(t.desired.Target)
	t.mark.End(t.desired.Snapshot.Commit, result.Detail.Superseded)
	return result, err
}

// reconcile takes one target through every step. A step that fails leaves the later ones out.
func (r *Reconciler) reconcile(ctx context.Context, t task) (Result, error) {
	err := suspended(t.desired)
	if err == nil && t.leftGit() {
		return r.remove(ctx, t)
	}
	reading, stop := t.pass.whileNewest(ctx)
	defer stop()
	var p prepared
	var done applied
	// A tag that moved is followed once its new digest is written. Until then it is due, so that the next reconcile finds the
	// move again.
	defer func() { r.Pins.Checks.Moved(t.desired.Target, p.decided.Moved, done.isRecorded()) }()
	if err == nil {
		p, err = r.prepare(reading, t, false)
	}
	if err == nil {
		p.drift = leaveDrift(r.Rating, r.Dates.In(t.desired.Cluster), t, p.planned)
		if len(p.planned.Pending()) > 0 {
			err = awaitDependencies(reading, r.Planner, t)
		}
	}
	result := p.result(t.desired)
	if reading.Err() != nil && ctx.Err() == nil {
		result.Detail.Superseded = true
		return result, ErrSuperseded
	}
	t.mark.Close(ctx)
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		return r.hold(ctx, t, result, wait)
	}
	if err != nil {
		return result, r.fail(ctx, t, err)
	}
	corrected, err := noteCorrections(ctx, r.recorder(), r.Rating, t, p)
	if err != nil {
		return result, err
	}
	done = carry(ctx, t, p, specOf(r.Config, t.desired, p.decided.Pins))
	return r.conclude(ctx, t, p, corrected, done)
}

// guarded is reconcile with panics bounded: the record tells of a panic as well, where that can be written.
func (r *Reconciler) guarded(ctx context.Context, t task) (Result, error) {
	result := NewResult(t.desired)
	var err error
	caught := panics.Catch(func() { result, err = r.reconcile(ctx, t) })
	if caught == nil {
		r.Guard.Report(t.desired.Target, err) // such as of its rendering, which keeps its own
		return result, err
	}
	r.Guard.Report(t.desired.Target, caught)
	return result, r.Guard.Call(t.desired.Target, func() error {
		t.readAgain(ctx) // the record may have been written since it was read
		return r.fail(ctx, t, caught)
	})
}
