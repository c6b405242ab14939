package reconcile

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// newOutcome returns the outcome of a reconcile that leaves the objects as they are. written is the record as the reconcile
// wrote its spec; zero: it did not.
func newOutcome(d *target.Desired, written cluster.Written) record.Outcome {
	o := record.Outcome{
		Commit: record.Commit{Hash: d.Snapshot.Commit, Author: d.Snapshot.Author, Subject: d.Snapshot.Subject, Signature: signatureOf(d)},
		Rules:  record.Rules{Promotes: d.Environment.Images.PromoteFrom != "", HealthTimeout: d.Settings.HealthTimeout.Duration},
		Spec:   record.Spec{Generation: written.Generation, Apply: written.Apply},
	}
	if keep := d.Environment.Images.KeepPins.Deployments; keep != nil {
		o.Rules.KeepDeployments = *keep
	}
	if d.Rendered.From == nil || d.Rendered.From.Err == nil { // else nothing new is known
		o.Rendered = &record.Rendered{Warnings: d.Warnings(), Unpinned: unpinned(d.Rendered.Suspects)}
	}
	return o
}

// signatureOf returns what the record says of the signatures of commits.
func signatureOf(d *target.Desired) record.Signature {
	out := record.Signature{Demanded: d.Signature.Demanded, Verified: d.Signature.Verified, Signer: d.Signature.Signer, Key: d.Signature.Key}
	if refused := d.Signature.Refused; refused != nil {
		out.Refused = &record.Refused{Reason: string(refused.Reason), Message: refused.Error()}
	}
	return out
}

// appliedOutcome returns the outcome of an apply, without health and drift.
func appliedOutcome(t task, p prepared, done applied, deployed []v1alpha1.DeployedImage) record.Outcome {
	d, allowed := t.desired, t.pass.Commit.Allowed
	o := newOutcome(d, done.Record)
	o.Failure, o.Spec.Pins = failureOf(done.err), p.decided.Pins
	o.Apply = &record.Apply{
		Pending: done.Pending, Changes: done.Changes, Held: done.Held, Inventory: done.Inventory,
		Images: deployed, Allowed: allowed.Any(d.Target), AllowedBy: allowed.Promotions[d.Target],
	}
	return o
}

// comparison returns the comparison with git before an apply, as the record has it. images says that registries were asked.
func comparison(t task, result Result, corrected []drift.Finding, images bool) *record.Drift {
	found := &record.Drift{Found: result.Drift, Corrected: corrected, Images: images, Unwatched: t.pass.unwatched(t.desired)}
	if err := uncorrected(t, result.Detail.Uncompared); err != nil {
		found.Uncorrected = err.Error()
	}
	return found
}

func unpinned(suspects []image.Suspect) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, s := range suspects {
		out = append(out, v1alpha1.UnpinnedValue{Object: v1alpha1.ReferenceTo(s.Object), Path: s.Path, Reference: s.Value, Nameable: s.Nameable})
	}
	return out
}
