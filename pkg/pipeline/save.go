package pipeline

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
)

// outcome is what a pass has to say of one target.
type outcome struct {
	attempted  bool  // objects were written, or should have been
	allowed    bool  // a commit trailer allowed prunes
	err        error // why not all of them were
	generation int64 // of the record's spec, where this pass wrote it
	health     health
	inventory  []v1alpha1.InventoryEntry
	drift      []drift.Finding
	images     []v1alpha1.DeployedImage
}

// Outcomes of a deployment in a record's history.
const (
	outcomeApplied = "Applied"
	outcomeFailed  = "Failed"
)

// keptDeployments bounds a record's history.
const keptDeployments = 20

// save writes a target's status where it says something new. A pass that finds a target at rest sends nothing.
func (c *carrier) save(ctx context.Context, w *work, o outcome) error {
	before := v1alpha1.PipelineSyncStatus{}
	if w.record != nil {
		before = w.record.Status
	}
	status := c.status(w, before, o)
	if w.record != nil && reflect.DeepEqual(before, status) {
		return nil
	}
	// A cancelled pass must still say what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return w.cluster.SaveStatus(ctx, w.target, status)
}

const saveTimeout = 10 * time.Second

// status composes a record's status. It keeps every time that did not change, so that equal states compare equal.
func (c *carrier) status(w *work, before v1alpha1.PipelineSyncStatus, o outcome) v1alpha1.PipelineSyncStatus {
	status := before
	status.Conditions = slices.Clone(before.Conditions) // setCondition writes into them
	status.Inventory = o.inventory
	if w.record != nil {
		status.ObservedGeneration = w.record.Generation
	}
	if o.generation != 0 {
		status.ObservedGeneration = o.generation
	}
	if errors.Is(o.err, context.Canceled) {
		return status // syncer was told to stop, which says nothing of the target
	}
	if o.attempted || o.err != nil {
		status.LastAttemptedCommit = w.snapshot.Commit
	}
	if o.attempted {
		status.History = c.history(w, before.History, o)
	}
	// A commit that leaves the target as it is does not move its record, unless a trailer spoke of the target: what it
	// allowed ends with this pass.
	if o.err == nil && (o.attempted || o.allowed) {
		status.LastAppliedCommit = w.snapshot.Commit
	}
	if o.err == nil {
		status.Drift = nil
		if len(o.drift) > 0 {
			status.Drift = drift.Summary(o.drift)
		}
		setCondition(&status, v1alpha1.ConditionDrifted, len(o.drift) > 0, driftReason(o.drift), driftMessage(o.drift))
	}
	setHealth(&status, o)
	return status
}

func setHealth(status *v1alpha1.PipelineSyncStatus, o outcome) {
	switch {
	case o.err != nil && passes(o.err):
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		setCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case o.err != nil:
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, false, reasonOf(o.err), "")
		setCondition(status, v1alpha1.ConditionStalled, true, reasonOf(o.err), o.err.Error())
	case o.health.status == apply.Healthy:
		setCondition(status, v1alpha1.ConditionReady, true, "Healthy", "every object is as git says and healthy")
		setCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		setCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case o.health.status == apply.InProgress:
		setCondition(status, v1alpha1.ConditionReady, false, "Progressing", o.health.message)
		setCondition(status, v1alpha1.ConditionReconciling, true, "Progressing", o.health.message)
		setCondition(status, v1alpha1.ConditionStalled, false, "Progressing", "")
	default:
		setCondition(status, v1alpha1.ConditionReady, false, "Unhealthy", o.health.message)
		setCondition(status, v1alpha1.ConditionReconciling, false, "Unhealthy", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "Unhealthy", o.health.message)
	}
}

// maxMessage is the limit of metav1.Condition.
const maxMessage = 32768

func setCondition(status *v1alpha1.PipelineSyncStatus, kind string, is bool, reason, message string) {
	value := metav1.ConditionFalse
	if is {
		value = metav1.ConditionTrue
	}
	if len(message) > maxMessage {
		message = message[:maxMessage-3] + "..."
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: value, Reason: reason, Message: message})
}

func driftReason(findings []drift.Finding) string {
	if len(findings) == 0 {
		return "InSync"
	}
	return "Drifted"
}

func driftMessage(findings []drift.Finding) string {
	messages := make([]string, len(findings))
	for i, f := range findings {
		messages[i] = f.Message
	}
	return shorten(messages)
}

// history adds a deployment, or mends the entry of a commit that is tried again.
func (c *carrier) history(w *work, before []v1alpha1.Deployment, o outcome) []v1alpha1.Deployment {
	entry := v1alpha1.Deployment{
		Number: 1, Commit: w.snapshot.Commit, Author: w.snapshot.Author, Subject: w.snapshot.Subject,
		Time: metav1.NewTime(c.now().UTC().Truncate(time.Second)), Outcome: outcomeApplied, Images: o.images,
	}
	if o.err != nil {
		entry.Outcome = outcomeFailed
	}
	if len(before) > 0 {
		entry.Number = before[0].Number + 1
		if last := before[0]; last.Commit == entry.Commit && last.Outcome == outcomeFailed {
			entry.Number, before = last.Number, before[1:]
			if o.err != nil {
				entry.Time = last.Time // the same failure again says nothing new
			}
		}
	}
	history := append([]v1alpha1.Deployment{entry}, before...)
	return history[:min(len(history), keptDeployments)]
}

// fail notes a failure that came before anything was written, and gives it back. A target that was never deployed gets
// a record for it, so that whoever looks at the cluster sees it.
func (c *carrier) fail(ctx context.Context, w *work, failure error) error {
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(w.target.Pipeline) {
		return failure
	}
	o := outcome{err: failure}
	if w.record == nil {
		generation, err := w.cluster.CreateRecord(ctx, w.target, c.spec(w, decision{}))
		if err != nil {
			return errors.Join(failure, err)
		}
		o.generation = generation
	} else if w.record.Spec.Owner != c.Config.Name {
		return failure // the record is somebody else's
	} else {
		o.inventory = w.record.Status.Inventory
	}
	if err := c.save(ctx, w, o); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// reasonOf names a failure in one word for a condition.
func reasonOf(err error) string {
	if _, ok := errors.AsType[*apply.PruneRefusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*apply.OwnedError](err); ok {
		return "OwnedByAnother"
	}
	if _, ok := errors.AsType[*missingOverlayError](err); ok {
		return "OverlayMissing"
	}
	switch {
	case errors.Is(err, image.ErrNotFound):
		return "ImageNotFound"
	case errors.Is(err, image.ErrDenied):
		return "RegistryDenied"
	case errors.Is(err, image.ErrUnavailable):
		return "RegistryUnavailable"
	}
	return "Failed"
}

// passes reports whether a failure may end by itself.
func passes(err error) bool {
	return errors.Is(err, image.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// publicURL is a repository's address without credentials.
func publicURL(raw string) string {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.User == nil || parsed.Scheme == "" {
		return raw
	}
	if parsed.Scheme == "ssh" {
		parsed.User = url.User(parsed.User.Username())
	} else {
		parsed.User = nil
	}
	return parsed.String()
}
