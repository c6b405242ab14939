package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/apply/health"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// outcome is what a pass has to say of one target.
type outcome struct {
	attempted bool          // objects were written, or should have been
	allowed   bool          // a commit trailer allowed prunes
	err       error         // why not all of them were
	written   apply.Written // the record, where this pass wrote its spec
	health    targetHealth
	swapped   []string // objects that run another image than the one that was deployed
	inventory []v1alpha1.InventoryEntry
	objects   map[string]int // by how they are; nil: they were not looked at
	drift     []drift.Finding
	corrected []drift.Finding
	images    []v1alpha1.DeployedImage
	changes   []manifest.Change // that were carried out
	checked   bool              // drift holds what registries say of the images, too
	allowedBy string            // whose trailer let references through that were never promoted

	wait        *waitError            // why the whole target is held
	held        []v1alpha1.HeldChange // what waits of the target
	released    bool                  // only changes that were held were carried out
	contested   []v1alpha1.Contest
	terminating []string // objects that left git and do not go
}

// Outcomes of a deployment in a record's history.
const (
	outcomeApplied = "Applied"
	outcomeFailed  = "Failed"
	outcomeHeld    = "Held" // in part
)

// keptDeployments bounds a record's history.
const (
	keptDeployments = 20
	mostDeployments = 100 // whatever keepPins says: a record has to fit into the API server's store
)

// save writes a target's status where it says something new. A pass that finds a target at rest sends nothing.
func (c *carrier) save(ctx context.Context, w *work, o outcome) error {
	before := v1alpha1.PipelineSyncStatus{}
	if w.record != nil {
		before = w.record.Status
	}
	status := c.status(w, before, o)
	c.measure(w, o, before, status)
	if w.record != nil && equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	// A cancelled pass must still say what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	version := o.written.Version
	if version == "" && w.record != nil {
		version = w.record.ResourceVersion
	}
	written, err := w.cluster.SaveStatus(ctx, w.target, status, version)
	if err == nil {
		c.tell(ctx, w, written, before, status)
	}
	return err
}

// measure tells the metrics how a target is now, and what the watches had missed.
func (c *carrier) measure(w *work, o outcome, before, after v1alpha1.PipelineSyncStatus) {
	is := measured{held: len(after.Held), objects: o.objects}
	is.state, _ = stateOf(after)
	if o.err == nil && o.wait == nil {
		is.findings = slices.Clone(o.drift)
		c.countMissed(w, is.findings, before.Drift)
		drift.Recall(is.findings, after.Drift)
		is.findings = append([]drift.Finding{}, is.findings...) // not nil: there are none
	}
	c.metrics.saw(w.target, is)
	c.metrics.live(w, before, after)
}

// countMissed counts what only a full comparison found.
func (c *carrier) countMissed(w *work, findings []drift.Finding, before *v1alpha1.DriftSummary) {
	if !c.options.full || c.checks == nil {
		return
	}
	drift.Recall(findings, before)
	for _, f := range findings {
		if f.FirstSeen == nil && f.Kind != drift.TagMoved && f.Kind != drift.ImageMissing && f.Kind != drift.Held {
			c.metrics.missed.Inc()
			c.log.Warn("a full comparison found what no watch had noticed", "pipeline", w.target.Pipeline, "environment", w.target.Environment, "finding", f.Message)
		}
	}
}

// noteDrift writes findings into a record before they are put right.
func (c *carrier) noteDrift(ctx context.Context, w *work, findings []drift.Finding) error {
	status := w.record.Status
	status.Conditions = slices.Clone(status.Conditions)
	status.Drift = drift.Summary(findings, nil, withoutImages(w.record.Status.Drift, true), c.now())
	status.Drift = keepImageFindings(status.Drift, w.record.Status.Drift)
	setDrifted(&status)
	if equality.Semantic.DeepEqual(w.record.Status, status) {
		return nil
	}
	written, err := w.cluster.SaveStatus(ctx, w.target, status, w.record.ResourceVersion)
	if err != nil {
		return err
	}
	c.tell(ctx, w, written, w.record.Status, status)
	w.record.Status, w.record.ResourceVersion = status, written.Version
	return nil
}

const saveTimeout = 10 * time.Second

// status composes a record's status. It keeps every time that did not change, so that equal states compare equal.
func (c *carrier) status(w *work, before v1alpha1.PipelineSyncStatus, o outcome) v1alpha1.PipelineSyncStatus {
	status := before
	status.Conditions = slices.Clone(before.Conditions) // setCondition writes into them
	status.Inventory, status.RemovedAt = o.inventory, nil
	if w.record != nil {
		status.ObservedGeneration = w.record.Generation
	}
	if o.written.Generation != 0 {
		status.ObservedGeneration = o.written.Generation
	}
	if errors.Is(o.err, context.Canceled) {
		return status // syncer was told to stop, which says nothing of the target
	}
	if o.attempted || o.err != nil || o.wait != nil {
		status.LastAttemptedCommit = w.snapshot.Commit
	}
	c.setHeld(w, &status, o)
	if o.wait != nil {
		if status.LastAppliedCommit != "" {
			c.markHealthy(&status, o)
			c.setHealth(w, &status, o)
		}
		return status
	}
	status.Contested = o.contested
	if o.attempted {
		status.History = c.history(w, before.History, o)
	}
	c.markHealthy(&status, o)
	// A commit that leaves the target as it is does not move its record, unless a trailer spoke of the target: what it
	// allowed ends with this pass.
	if o.err == nil && (o.attempted || o.allowed) {
		status.LastAppliedCommit = w.snapshot.Commit
	}
	if o.err == nil {
		unchecked := !o.checked && len(o.changes) == 0
		status.Drift = drift.Summary(o.drift, o.corrected, withoutImages(before.Drift, unchecked), c.now())
		if unchecked {
			status.Drift = keepImageFindings(status.Drift, before.Drift)
		}
		setDrifted(&status)
	}
	c.setHealth(w, &status, o)
	return status
}

// setHeld says what a target waits for. What runs goes on running, so that its other conditions stay.
func (c *carrier) setHeld(w *work, status *v1alpha1.PipelineSyncStatus, o outcome) {
	reason, message := "NothingHeld", ""
	switch {
	case o.err != nil:
		o.held = status.Held // what waited goes on waiting
	case o.wait == nil:
		status.Held = o.held
	}
	switch {
	case o.wait != nil:
		reason, message = o.wait.reason, o.wait.message
		if status.LastAppliedCommit == "" {
			setCondition(status, v1alpha1.ConditionReady, false, reason, message)
		}
	case len(o.held) > 0:
		reason, message = heldReason(o.held), heldMessage(o.held)
	}
	setCondition(status, v1alpha1.ConditionHeld, message != "", reason, message)
	if w.environment.Images.PromoteFrom != "" {
		promotion := o.wait != nil && reason == v1alpha1.ConditionPromotionPending
		if !promotion {
			reason, message = "NothingHeld", ""
		}
		setCondition(status, v1alpha1.ConditionPromotionPending, promotion, reason, message)
	}
}

// markHealthy notes when the deployment that runs was first seen healthy, and since when it is not any more.
func (c *carrier) markHealthy(status *v1alpha1.PipelineSyncStatus, o outcome) {
	if o.err != nil || len(status.History) == 0 || status.History[0].Outcome != outcomeApplied {
		return
	}
	last, now := status.History[0], metav1.NewTime(c.now().UTC().Truncate(time.Second))
	healthy := o.health.status == health.Healthy
	switch {
	case healthy && !o.health.unseen && len(o.swapped) == 0 && last.HealthyAt == nil:
		last.HealthyAt = &now
	case healthy && last.UnhealthyAt != nil:
		last.UnhealthyAt = nil
	case !healthy && last.HealthyAt != nil && last.UnhealthyAt == nil:
		last.UnhealthyAt = &now
	default:
		return
	}
	status.History = slices.Clone(status.History) // the record's own is compared with it
	status.History[0] = last
}

// defaultHealthTimeout is how long a deployment may take to become healthy where pipeline.yaml says nothing.
const defaultHealthTimeout = 10 * time.Minute

// setHealth says how the target is, by the rules of kstatus.
func (c *carrier) setHealth(w *work, status *v1alpha1.PipelineSyncStatus, o outcome) {
	timeout := cmp.Or(w.settings.HealthTimeout.Duration, defaultHealthTimeout)
	rivals := contestMessage(o.contested, c.now())
	switch {
	case o.err != nil && passes(o.err):
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, true, "Retrying", "syncer tries again at the next pass")
		setCondition(status, v1alpha1.ConditionStalled, false, "Retrying", "")
	case o.err != nil:
		setCondition(status, v1alpha1.ConditionReady, false, reasonOf(o.err), o.err.Error())
		setCondition(status, v1alpha1.ConditionReconciling, false, reasonOf(o.err), "")
		setCondition(status, v1alpha1.ConditionStalled, true, reasonOf(o.err), o.err.Error())
	case rivals != "":
		setCondition(status, v1alpha1.ConditionReady, false, "Contested", rivals)
		setCondition(status, v1alpha1.ConditionReconciling, false, "Contested", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "Contested", rivals)
	case o.health.status == health.Healthy:
		message := "every object is as git says and healthy"
		if len(o.held) > 0 {
			message = "every object is healthy; " + plural(len(o.held), "change") + " held"
		}
		setCondition(status, v1alpha1.ConditionReady, true, "Healthy", shorten(append([]string{message}, o.terminating...)))
		setCondition(status, v1alpha1.ConditionReconciling, false, "Healthy", "")
		setCondition(status, v1alpha1.ConditionStalled, false, "Healthy", "")
	case o.health.status == health.InProgress && len(status.History) > 0 && c.now().Sub(status.History[0].Time.Time) > timeout:
		message := fmt.Sprintf("not healthy within %s: %s", timeout, o.health.message)
		setCondition(status, v1alpha1.ConditionReady, false, "HealthTimeout", message)
		setCondition(status, v1alpha1.ConditionReconciling, false, "HealthTimeout", "")
		setCondition(status, v1alpha1.ConditionStalled, true, "HealthTimeout", message)
	case o.health.status == health.InProgress:
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

// keepImageFindings takes over what a daemon heard from registries, which a pass that did not ask cannot say.
func keepImageFindings(summary, before *v1alpha1.DriftSummary) *v1alpha1.DriftSummary {
	if before == nil {
		return summary
	}
	for _, f := range before.Findings {
		if isImageFinding(f) {
			if summary == nil {
				summary = &v1alpha1.DriftSummary{}
			}
			summary.Findings = append(summary.Findings, f)
			summary.Total++
		}
	}
	return summary
}

// withoutImages leaves out the findings that a pass says nothing of.
func withoutImages(summary *v1alpha1.DriftSummary, unchecked bool) *v1alpha1.DriftSummary {
	if summary == nil || !unchecked {
		return summary
	}
	out := *summary
	out.Findings = slices.DeleteFunc(slices.Clone(summary.Findings), isImageFinding)
	return &out
}

func isImageFinding(f v1alpha1.Finding) bool {
	return f.Kind == string(drift.TagMoved) || f.Kind == string(drift.ImageMissing)
}

func setDrifted(status *v1alpha1.PipelineSyncStatus) {
	if status.Drift == nil || status.Drift.Total == 0 {
		setCondition(status, v1alpha1.ConditionDrifted, false, "InSync", "")
		return
	}
	messages := make([]string, len(status.Drift.Findings))
	for i, f := range status.Drift.Findings {
		messages[i] = f.Message
	}
	setCondition(status, v1alpha1.ConditionDrifted, true, "Drifted", shorten(messages))
}

// history adds a deployment, or mends the entry of a commit that is tried again. Undoing a change that was made in the
// cluster deploys nothing new.
func (c *carrier) history(w *work, before []v1alpha1.Deployment, o outcome) []v1alpha1.Deployment {
	entry := v1alpha1.Deployment{
		Number: 1, Commit: w.snapshot.Commit, Author: w.snapshot.Author, Subject: w.snapshot.Subject,
		Time: metav1.NewTime(c.now().UTC().Truncate(time.Second)), Outcome: outcomeApplied, Images: o.images,
		AllowedBy: o.allowedBy,
	}
	switch {
	case o.err != nil:
		entry.Outcome = outcomeFailed
	case len(o.held) > 0:
		entry.Outcome = outcomeHeld
	default:
		entry.Set = setHash(o.inventory)
	}
	if len(before) > 0 {
		entry.Number = before[0].Number + 1
		last := before[0]
		if sameDeployment(last, entry, w.record) {
			return before
		}
		if last.Commit == entry.Commit && last.Outcome != outcomeApplied {
			entry.Number, before = last.Number, before[1:]
			if last.Outcome == entry.Outcome {
				entry.Time = last.Time // the same again says nothing new
			}
			if len(before) > 0 && sameDeployment(before[0], entry, w.record) {
				return before // a correction that took more than one try
			}
		} else if last.Outcome == outcomeHeld && o.released {
			// Other commits came in the meantime; what goes out now is what that one said.
			entry.Number, entry.Commit, entry.Author, entry.Subject = last.Number, last.Commit, last.Author, last.Subject
			before = before[1:]
		}
	}
	entry.RollbackOf = returnsTo(entry, before)
	history := append([]v1alpha1.Deployment{entry}, before...)
	return history[:min(len(history), max(keptDeployments, min(*w.environment.Images.KeepPins.Deployments, mostDeployments)))]
}

// sameDeployment reports whether what is deployed is what was, so that undoing a change of the cluster deploys nothing
// new. After a removal everything is new.
func sameDeployment(last, entry v1alpha1.Deployment, record *v1alpha1.PipelineSync) bool {
	removed := record != nil && record.Status.RemovedAt != nil
	return last.Outcome == outcomeApplied && entry.Outcome == outcomeApplied && last.Set == entry.Set && !removed
}

// returnsTo finds the earlier deployment to which a new one goes back: the newest with the very same objects, or else,
// where the images changed, the newest with the same images.
func returnsTo(entry v1alpha1.Deployment, before []v1alpha1.Deployment) int64 {
	if entry.Outcome != outcomeApplied || len(before) == 0 {
		return 0
	}
	sameImages := func(d v1alpha1.Deployment) bool { return slices.Equal(d.Images, entry.Images) }
	for _, earlier := range before {
		if earlier.Outcome == outcomeApplied && earlier.Set != "" && earlier.Set == entry.Set {
			return earlier.Number
		}
	}
	if sameImages(before[0]) {
		return 0
	}
	for _, earlier := range before {
		if earlier.Outcome == outcomeApplied && sameImages(earlier) {
			return earlier.Number
		}
	}
	return 0
}

// setHash is a hash of everything that was deployed.
func setHash(inventory []v1alpha1.InventoryEntry) string {
	hash := sha256.New()
	for _, entry := range inventory { // sorted by object
		fmt.Fprintln(hash, entry.APIVersion, entry.Kind, entry.Namespace, entry.Name, entry.Hash)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// fail notes a failure that came before anything was written, and gives it back. A target that was never deployed gets
// a record for it, so that whoever looks at the cluster sees it.
func (c *carrier) fail(ctx context.Context, w *work, failure error) error {
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(w.target.Pipeline) {
		return failure
	}
	o := outcome{err: failure}
	if w.record == nil {
		written, err := w.cluster.CreateRecord(ctx, w.target, c.spec(w, decision{}))
		if err != nil {
			return errors.Join(failure, err)
		}
		o.written = written
	} else if w.record.Spec.Owner != c.Config.Name {
		return failure // the record is somebody else's
	} else {
		o.inventory, o.held, o.contested = w.record.Status.Inventory, w.record.Status.Held, w.record.Status.Contested
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
	if _, ok := errors.AsType[*refusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*apply.OwnedError](err); ok {
		return "OwnedByAnother"
	}
	if _, ok := errors.AsType[*apply.AdoptionError](err); ok {
		return "AdoptionNeeded"
	}
	if _, ok := errors.AsType[*missingOverlayError](err); ok {
		return "OverlayMissing"
	}
	if _, ok := errors.AsType[*image.RefusedError](err); ok {
		return "ImageRefused"
	}
	switch {
	case errors.Is(err, image.ErrUnsigned):
		return "ImageUnsigned"
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
	return apply.IsPassing(err) || errors.Is(err, image.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// publicURL is a repository's address without credentials.
func publicURL(raw string) string {
	if !strings.Contains(raw, "://") {
		return raw // a path, or ssh's short form, which has no room for a password
	}
	parsed, err := url.Parse(raw)
	if err != nil {
		// What cannot be read may still hold a password before its last @.
		return raw[strings.LastIndex(raw, "@")+1:]
	}
	parsed.RawQuery, parsed.Fragment = "", ""
	if parsed.User == nil {
		return parsed.String()
	}
	if parsed.Scheme == "ssh" {
		parsed.User = url.User(parsed.User.Username())
	} else {
		parsed.User = nil
	}
	return parsed.String()
}
