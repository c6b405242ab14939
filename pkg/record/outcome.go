package record

import (
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
)

// Outcome is what a reconcile found and did.
type Outcome struct {
	Commit Commit
	Policy Policy
	// Attempted says that objects were written, or should have been.
	Attempted bool
	Failure   *Failure // why not all objects were written; nil: they were
	Wait      *Wait    // why the whole target is held; nil: it is not
	Write     Write
	Objects   Objects
	Health    Health
	Drift     Drift
	Images    Images
	// Content is what git has beside objects; nil: it is not known, because the target could not be rendered.
	Content *Content
}

// Commit is the commit that a reconcile was about.
type Commit struct{ Hash, Author, Subject string }

// Policy has the rules of the configuration and of pipeline.yaml that the status depends on.
type Policy struct {
	PromoteFrom   string        // the environment that digests are promoted from; empty: none
	HealthTimeout time.Duration // how long a deployment may take to become healthy
	Deployments   int           // how many deployments the history keeps at least
}

// Failure says why a target could not be reconciled.
type Failure struct {
	Reason  string // one word, for conditions
	Message string
	Passing bool // it may end without a change of git
	Stopped bool // syncer was stopped, which says nothing of the target
}

// Wait says why a whole target is held.
type Wait struct{ Reason, Message string }

// Write is the write of the record's spec; zero: it was not written.
type Write struct {
	Generation int64
	Apply      string // the ID of the apply
}

// Objects are those of the target.
type Objects struct {
	Inventory []v1alpha1.InventoryEntry
	Held      []v1alpha1.HeldChange // the changes that wait
	Released  bool                  // only changes that were held before were carried out
	Changed   bool                  // a change was carried out
	Conflicts []v1alpha1.Contest    // the fields that another manager keeps taking
	Unwatched []string              // the kinds whose changes are not noticed now
	// Terminating names the objects that left git and do not go.
	Terminating []string
	// Uncorrected names the objects that were to be corrected, and could not be compared; empty: there are none.
	Uncorrected string
}

// Health is the health of the target.
type Health struct {
	Status  health.Status
	Message string
	Unseen  bool // an object ran and is gone, and its end is not known
	Swapped bool // an object runs another image than the deployed one
}

// Drift is the difference from the commit applied last.
type Drift struct {
	Findings  []drift.Finding
	Corrected []drift.Finding
	Checked   bool // the findings have what registries say of the images
	Standing  Standing
}

// Standing is the comparison with the commit applied last, where the newest one was not carried out. The zero value says that
// there was none.
type Standing struct {
	Compared bool
	Findings []drift.Finding
	Err      error // why it could not be compared
}

// Images are those of the deployment.
type Images struct {
	Deployed []v1alpha1.DeployedImage
	Pins     []v1alpha1.PinnedImage // that the record has beside this status; nil: the pins that it had
	// Allowed says that a commit trailer allowed prunes or promotions.
	Allowed bool
	// AllowedBy is the author whose trailer allowed references that were never promoted.
	AllowedBy string
	Flapping  []string // the tags that moved at each of the last looks
}

// Content is what git has beside objects.
type Content struct {
	Warnings []string
	Unpinned []v1alpha1.UnpinnedValue // values that look like images and are not pinned
}
