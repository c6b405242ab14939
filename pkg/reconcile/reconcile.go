// Package reconcile brings one target to what git says, once: it decides the digests, plans, applies, judges the health and
// writes the record. It decides neither when a target is reconciled nor which commit is meant.
package reconcile

import (
	"context"
	"errors"
	"log/slog"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
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
	// Observe receives the state of each target that was judged. Optional.
	Observe func(*target.Desired, Observation)
	// ChecksImages asks the registries about deployed images.
	ChecksImages bool
}

// Request is one target to reconcile.
type Request struct {
	// Desired is not changed: the reconcile works on a copy.
	Desired *target.Desired
	Pass    *Pass
	// Mark says in the record that a commit is on its way. Optional.
	Mark Mark
	// Stale says that the record may have been written since Desired was planned: it is read again.
	Stale bool
}

// Mark is written into a record while a reconcile may write it too: the reconcile closes the mark before it writes. A
// *underway.Mark is one; a nil one marks nothing.
type Mark interface {
	// Touched ends the marking, and reports whether the record may have been marked since it was planned.
	Touched() bool
	// Begin allows marks over the record that a reconcile works with.
	Begin(record *v1alpha1.PipelineSync)
	// Close ends the marking, and takes the marks over into that record.
	Close(ctx context.Context)
	// Reopen allows marks while objects are written: the spec of the record is written.
	Reopen(written cluster.Written)
	// Leave ends the marking and returns the version that the next write of the record asks for.
	Leave(ctx context.Context, version string) string
	// End ends the marking with the reconcile of a commit.
	End(commit string, superseded bool)
}

// ErrSuperseded ends the work on a commit when a newer one has come before the first write.
var ErrSuperseded = errors.New("a newer commit came; this one is not carried out any more")

// Reconcile brings a target to what git says. The Result is complete also with an error, which is the failure of the target;
// the record says so too, where that can be written. With Options.Wait it waits for the health of the target, and of the
// objects that held changes depend on.
func (r *Reconciler) Reconcile(ctx context.Context, request Request) (Result, error) {
	t := r.newTask(ctx, request)
	err := t.reconcileOrFail(ctx)
	for err == nil && t.waitsOn(ctx) {
		t.result = NewResult(t.d)
		err = t.reconcileOrFail(ctx)
	}
	switch {
	case errors.Is(err, ErrSuperseded):
		t.result.Message, err = err.Error(), nil
	case err != nil:
		t.result.Fail(err)
	}
	t.result.Detail.Record, t.result.Detail.Credentials = t.d.Record, t.pass.Lookups.CredentialsOf(t.d.Target)
	t.mark.End(t.d.Snapshot.Commit, t.result.Detail.Superseded)
	return t.result, err
}

// newTask copies the target of a request, and reads its record again where it may have been written since.
func (r *Reconciler) newTask(ctx context.Context, request Request) *task {
	d := *request.Desired
	if d.Record != nil {
		record := *d.Record
		d.Record = &record
	}
	t := &task{r: r, pass: request.Pass, d: &d, mark: request.Mark, result: NewResult(&d)}
	if t.mark == nil {
		t.mark = (*noMark)(nil)
	}
	if touched := t.mark.Touched(); touched || request.Stale {
		record, err := d.Cluster.Records().Get(ctx, d.Target)
		if err != nil {
			d.Err = errors.Join(d.Err, err)
		}
		d.Record = record
	}
	t.mark.Begin(d.Record)
	return t
}

// task is one target on its way through a reconcile.
type task struct {
	r      *Reconciler
	pass   *Pass
	d      *target.Desired
	mark   Mark
	result Result
}

// reconcile takes one target through every step. A step that fails leaves the later ones out.
func (t *task) reconcile(ctx context.Context) error {
	err := suspended(t.d)
	if err == nil && t.isRemoved() {
		return t.remove(ctx)
	}
	reading, stop := t.pass.whileNewest(ctx)
	defer stop()
	var decided pin.Decision
	var plan *apply.Plan
	written := false
	defer func() { t.noteMoves(decided.Moved, written) }()
	if err == nil {
		decided, plan, err = t.prepare(reading)
	}
	if err == nil {
		t.leaveDrift(plan)
		if len(plan.Pending()) > 0 {
			err = t.awaitDependencies(reading)
		}
	}
	if reading.Err() != nil && ctx.Err() == nil {
		t.result.Detail.Superseded = true
		return ErrSuperseded
	}
	t.mark.Close(ctx)
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		return t.hold(ctx, wait)
	}
	if err != nil {
		return t.fail(ctx, err)
	}
	written, err = t.carryOut(ctx, decided, plan)
	return err
}

// noteMoves notes tags that were found to have moved: as followed where their new digests were written, else as due, so that
// the next reconcile finds the move again.
func (t *task) noteMoves(moved []string, written bool) {
	t.r.Pins.Checks.Moved(t.d.Target, moved, written)
}

// isRemoved reports whether the objects of the target are to be deleted: git has no overlay for it any more.
func (t *task) isRemoved() bool {
	_, overlayGone := errors.AsType[*target.MissingOverlayError](t.d.Err)
	return t.d.Overlay == "" || overlayGone && t.pass.allowed().Prunes[t.d.Target]
}

// reconcileOrFail is reconcile with panics bounded: the record tells of a panic as well, where that can be written.
func (t *task) reconcileOrFail(ctx context.Context) error {
	var err error
	caught := panics.Catch(func() { err = t.reconcile(ctx) })
	if caught == nil {
		t.r.Guard.Report(t.d.Target, err) // such as of its rendering, which keeps its own
		return err
	}
	t.r.Guard.Report(t.d.Target, caught)
	return t.r.Guard.Call(t.d.Target, func() error {
		// The record may have been written since it was read.
		if record, err := t.d.Cluster.Records().Get(ctx, t.d.Target); err == nil && record != nil {
			t.d.Record = record
		}
		return t.fail(ctx, caught)
	})
}

// waitsOn waits, where the user asked to wait for health, until the objects that a held change depends on are healthy. It does
// not wait for the end of a run: that may take hours.
func (t *task) waitsOn(ctx context.Context) bool {
	wait := t.result.Detail.Wait
	if t.pass.Options.Wait == 0 || wait == nil || !wait.OnlyHealth() {
		return false
	}
	ctx, cancel := context.WithDeadline(ctx, t.pass.Deadline)
	defer cancel()
	if watch.AwaitChange(ctx, wait.Cluster, wait.Held) != nil {
		return false
	}
	record, err := t.d.Cluster.Records().Get(ctx, t.d.Target)
	if err != nil || record == nil {
		return false
	}
	t.d.Record = record
	return true
}
