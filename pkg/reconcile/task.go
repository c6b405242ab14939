package reconcile

import (
	"context"
	"errors"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/underway"
	"github.com/syncerdev/syncer/pkg/watch"
)

// task is one target on its way through a reconcile.
type task struct {
	pass *Pass
	// desired is a copy of the planned target. Only its record is written: it is the version that the next write requires.
	desired *target.Desired
	mark    *underway.Mark // nil: nothing is marked
}

// newTask copies the target of a request, and reads its record again where it may have been written since.
func newTask(ctx context.Context, request Request) task {
	d := *request.Desired
	if d.Record != nil {
		record := *d.Record
		d.Record = &record
	}
	t := task{pass: request.Pass, desired: &d, mark: request.Mark}
	if touched := t.mark.Touched(); touched || request.Stale {
		record, err := d.Cluster.Records().Latest(ctx, d.Target)
		if err != nil {
			d.Err = errors.Join(d.Err, &untriedError{err})
		}
		d.Record = record
	}
	t.mark.Begin(d.Record)
	return t
}

// untriedError says that a reconcile ended before it did anything: the record of the target could not be read again.
type untriedError struct{ err error }

func (e *untriedError) Error() string { return e.err.Error() }
func (e *untriedError) Unwrap() error { return e.err }

// IsUntried reports whether a reconcile ended before it tried anything of the commit.
func IsUntried(err error) bool { return is[*untriedError](err) }

// readAgain reads the record of the target, and reports whether there is one.
func (t task) readAgain(ctx context.Context) bool {
	record, err := t.desired.Cluster.Records().Get(ctx, t.desired.Target)
	if err != nil || record == nil {
		return false
	}
	t.desired.Record = record
	return true
}

// awaitHealth waits, where the user asked to wait for health, until the objects that a held change depends on are healthy. It
// does not wait for the end of a run: that may take hours. It reports whether to reconcile the target again.
func (t task) awaitHealth(ctx context.Context, wait *target.Wait) bool {
	if t.pass.Options.Wait == 0 || wait == nil || !wait.OnlyHealth() {
		return false
	}
	ctx, cancel := context.WithDeadline(ctx, t.pass.Options.Deadline)
	defer cancel()
	return watch.AwaitChange(ctx, wait.Cluster, wait.Held) == nil && t.readAgain(ctx)
}

// leftGit reports whether the objects of the target are to be deleted: git has no overlay for it any more.
func (t task) leftGit() bool {
	return t.desired.Overlay == "" || is[*target.MissingOverlayError](t.desired.Err) && t.mayPrune()
}

// mayPrune reports whether a commit trailer allows any number of deletions.
func (t task) mayPrune() bool { return t.pass.Commit.Allowed.Prunes[t.desired.Target] }

// corrects reports whether changes of the cluster alone are corrected.
func (t task) corrects() bool {
	return t.pass.Options.Correct || t.desired.Environment.Drift == v1alpha1.Correct
}

// last is the record as the reconcile found it; an empty one where there is none.
func (t task) last() v1alpha1.PipelineSync {
	if t.desired.Record == nil {
		return v1alpha1.PipelineSync{}
	}
	return *t.desired.Record
}

// specOf returns the spec of the record of a target, with its pins.
func specOf(config *v1alpha1.Config, d *target.Desired, pins []v1alpha1.PinnedImage) v1alpha1.PipelineSyncSpec {
	return v1alpha1.PipelineSyncSpec{
		Owner: config.Name, Pipeline: d.Target.Pipeline, Environment: d.Target.Environment,
		Source:         v1alpha1.RecordSource{URL: config.Source.PublicURL(), Commit: d.Snapshot.Commit},
		ServiceAccount: d.Settings.ServiceAccount, Images: pins,
	}
}
