package reconcile

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Verdict says how one target fared. A diff gives the verdict that a sync would have.
type Verdict string

const (
	Applied   Verdict = "Applied"   // something changed
	Unchanged Verdict = "Unchanged" // there was nothing to do
	Held      Verdict = "Held"      // the target or a change waits; Message says for what, and running work goes on
	Failed    Verdict = "Failed"    // Error says why; the objects stay as they were
)

// Result is the outcome of one target.
type Result struct {
	Pipeline    string   `json:"pipeline"`
	Environment string   `json:"environment"`
	Result      Verdict  `json:"result"`
	Changes     []Change `json:"changes"`
	Images      []Image  `json:"images"`
	Error       string   `json:"error"`
	Message     string   `json:"message"`
	// Warnings name the values that the cluster gets otherwise than git writes them, a line for each object.
	Warnings []string `json:"warnings"`

	// Owner is the contact that pipeline.yaml names.
	Owner string `json:"-"`
	// Drift differs from the commit applied last, and was left alone.
	Drift []drift.Finding `json:"-"`
	// Detail is for the caller that reconciles again.
	Detail Detail `json:"-"`
}

// Detail says what a caller has to know to reconcile the target again.
type Detail struct {
	Failure    error // behind Error
	Uncompared error // names the objects that could not be compared, while the others were reconciled
	Superseded bool  // a newer commit came before the first write
	Converged  bool  // nothing is left to do before git, the cluster or a registry changes
	Unwatched  bool  // the record says that changes of some kinds are not noticed
	// Wait is what the target waits for; nil: nothing that a cluster tells.
	Wait *target.Wait
	// Live are the objects as they were read; nil: they were not.
	Live inventory.Members
	Pins []v1alpha1.PinnedImage
	// Credentials are those of the pull secrets; nil: they were not read.
	Credentials *image.Credentials
	// Record is the record as the reconcile knows it; nil: there was none.
	Record *v1alpha1.PipelineSync
}

// NewResult returns the result of a target for which nothing was done yet.
func NewResult(d *target.Desired) Result {
	return Result{
		Pipeline: d.Target.Pipeline, Environment: d.Target.Environment, Owner: d.Settings.Owner,
		Result: Unchanged, Changes: []Change{}, Images: []Image{}, Warnings: append([]string{}, d.Warnings()...),
	}
}

// FailedResult returns the result of a target whose reconcile did not come to its end.
func FailedResult(d *target.Desired, failure error) Result {
	result := NewResult(d)
	result.Fail(failure)
	return result
}

// Fail sets the failure of a target.
func (r *Result) Fail(failure error) {
	r.Result, r.Error, r.Detail.Failure = Failed, failure.Error(), failure
}

// Target names the pipeline and the environment.
func (r *Result) Target() v1alpha1.Target {
	return v1alpha1.Target{Pipeline: r.Pipeline, Environment: r.Environment}
}

// waits reports whether a held target waits for more than the deletion of objects that left git.
func (r *Result) waits() bool {
	held := slices.DeleteFunc(slices.Clone(r.Changes), func(c Change) bool { return c.Held == nil })
	return len(held) == 0 || slices.ContainsFunc(held, func(c Change) bool { return c.Held.Action != manifest.Prune })
}

// Change is what happened to one object.
type Change struct {
	Object manifest.ID     `json:"object"`
	Action manifest.Action `json:"action"`
	// Fields is set in a diff only.
	Fields []manifest.FieldChange `json:"fields,omitzero"`
	// Held says why the change waits; nil unless the action is Hold.
	Held *HeldChange `json:"held"`
	// Taken lists the fields that were taken from other managers.
	Taken []manifest.Taken `json:"taken"`
}

// HeldChange says which change waits, and for what.
type HeldChange struct {
	Action  manifest.Action     `json:"action"`
	Reason  manifest.HoldReason `json:"reason"`
	Message string              `json:"message"`
}

// Changes returns the changes of a plan for a result; with their fields in a diff.
func Changes(changes []manifest.Change, fields bool) []Change {
	out := make([]Change, 0, len(changes))
	for _, change := range changes {
		c := Change{Object: change.ID, Action: change.Action, Taken: append([]manifest.Taken{}, change.Taken...)}
		if change.Held != nil {
			c.Held = &HeldChange{Action: change.Held.Action, Reason: change.Held.Reason, Message: change.Held.Message}
		}
		if fields {
			c.Fields = append([]manifest.FieldChange{}, change.Fields...)
		}
		out = append(out, c)
	}
	return out
}

// Image is one image reference of a target and the digest that it runs by; the digest is empty where a template completes
// the reference later.
type Image struct {
	Object    manifest.ID `json:"object"`
	Path      string      `json:"path"`
	Reference string      `json:"reference"`
	Digest    string      `json:"digest"`
}
