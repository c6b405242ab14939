package pipeline

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Result says how one target fared. A diff gives the result that a sync would have.
type Result string

const (
	Applied   Result = "Applied"   // something changed
	Unchanged Result = "Unchanged" // there was nothing to do
	Held      Result = "Held"      // something is waited for; Message says what, and what runs goes on running
	Failed    Result = "Failed"    // Error says why; what was there keeps running
)

// Pass is what a sync did, or what a diff says that one would do.
type Pass struct {
	Commit  string         `json:"commit"`
	Targets []TargetResult `json:"targets"`

	// Rewound is the commit where the branch stood before a force push, when this pass was the one to see it.
	Rewound string `json:"-"`
	Subject string `json:"-"`
	Author  string `json:"-"`
}

// TargetResult is one target's part of a pass.
type TargetResult struct {
	Pipeline    string         `json:"pipeline"`
	Environment string         `json:"environment"`
	Result      Result         `json:"result"`
	Changes     []ChangeResult `json:"changes"`
	Images      []ImageResult  `json:"images"`
	Error       string         `json:"error"`
	Message     string         `json:"message"`
	// Warnings name what arrives otherwise than git has it, a line for each object.
	Warnings []string `json:"warnings"`

	failure error // behind Error
	// uncompared names the objects that could not be compared, and that the rest did not wait for.
	uncompared error
	settled    bool // nothing is left to do before git, the cluster or a registry changes
	// unwatched says that the target's record says so of some of its kinds.
	unwatched bool
	live      inventory.Members // the objects as they were judged; nil: they were not
	pins      []v1alpha1.PinnedImage
	// corrects are the changes by which this pass puts drift right.
	corrects    []manifest.Change
	quiet       []apply.Quiet
	set         manifest.Set       // what git says, of a comparison
	written     manifest.Set       // as it writes it
	suspects    []image.Suspect    // of it; nil: not known
	behind      int                // newer commits that change the target; -1: not known
	credentials *image.Credentials // of the target's pull secrets; nil: they were not read
	skipped     bool               // it failed before and is not due yet
	// until is what a held target waits for.
	until *target.Wait
	// Owner is who pipeline.yaml says to call.
	Owner string `json:"-"`
	// Drift is what was found to differ from the commit last applied, and left alone.
	Drift []drift.Finding `json:"-"`
}

// Target names the pipeline and the environment.
func (t *TargetResult) Target() v1alpha1.Target {
	return v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}
}

// ChangeResult is what happened to one object.
type ChangeResult struct {
	Object manifest.ID     `json:"object"`
	Action manifest.Action `json:"action"`
	// Fields is there in a diff only.
	Fields []manifest.FieldChange `json:"fields,omitzero"`
	// Held says why the change waits; nil unless the action is Hold.
	Held *HeldResult `json:"held"`
	// Taken lists the fields that were taken from other managers.
	Taken []manifest.Taken `json:"taken"`
}

// waits reports whether a held target waits for more than the deletion of what git does not have any more.
func (r TargetResult) waits() bool {
	held := slices.DeleteFunc(slices.Clone(r.Changes), func(c ChangeResult) bool { return c.Held == nil })
	return len(held) == 0 || slices.ContainsFunc(held, func(c ChangeResult) bool { return c.Held.Action != manifest.Prune })
}

// HeldResult says what waits and what for.
type HeldResult struct {
	Action  manifest.Action     `json:"action"`
	Reason  manifest.HoldReason `json:"reason"`
	Message string              `json:"message"`
}

// ImageResult is one image reference of a target and the digest that it runs by; the digest is empty where a template
// completes the reference later.
type ImageResult struct {
	Object    manifest.ID `json:"object"`
	Path      string      `json:"path"`
	Reference string      `json:"reference"`
	Digest    string      `json:"digest"`
}

// Failures counts the targets that failed.
func (p *Pass) Failures() int {
	n := 0
	for _, t := range p.Targets {
		if t.Result == Failed {
			n++
		}
	}
	return n
}

// Differs reports whether any target would change.
func (p *Pass) Differs() bool {
	for _, t := range p.Targets {
		if len(t.Changes) > 0 {
			return true
		}
	}
	return false
}
