package record

import (
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Outcome is the result of one pass over a target. A pass fails, or the whole target waits, or the pass applies the
// objects of git.
type Outcome struct {
	Commit   Commit
	Rules    Rules
	Failure  *Failure  // nil: the pass did not fail
	Wait     *Wait     // why the whole target is held; nil: it is not
	Rendered *Rendered // nil: git could not be rendered, and the record keeps its remarks
	Spec     Spec
	Apply    *Apply // nil: the pass ended before it planned the objects, and they are as they were
	Health   Health
	Drift    *Drift // nil: nothing was compared, and the record keeps its drift
}

// Commit is the commit that a pass reads.
type Commit struct {
	Hash, Author, Subject string
	Signature             Signature
}

// Signature is what is known of the signatures of commits. The zero value: the environment demands none.
type Signature struct {
	Demanded    bool
	Verified    bool   // the commit of the pass has a good signature; false: no commit is trusted yet
	Signer, Key string // of the commit; empty: they were checked by an earlier process
	// Refused says why the newest commit is not trusted; nil: it is, and it is the commit of the pass.
	Refused *Refused
}

// Refused says why a commit is not trusted.
type Refused struct {
	Reason, Message string
}

// Rules are the settings of an environment and a pipeline that shape a record.
type Rules struct {
	Promotes        bool          // the digests come from another environment
	KeepDeployments int           // how many deployments the history keeps; the bounds of the package apply
	HealthTimeout   time.Duration // how long a deployment may take to become healthy; 0: the default
}

// Failure says why a pass failed.
type Failure struct {
	Reason, Message string
	Passing         bool // it may end without a change of git or of the cluster
	Canceled        bool // syncer was stopped: no fault of the target
}

// Wait says why a whole target is held.
type Wait struct {
	Reason, Message string
}

// Rendered are the remarks about the objects of git.
type Rendered struct {
	Warnings []string
	Unpinned []v1alpha1.UnpinnedValue
}

// Spec is the record's spec as the pass leaves it.
type Spec struct {
	Generation int64                  // 0: the pass did not write it
	Apply      string                 // the ID of the apply that the inventory confirms; empty: none
	Pins       []v1alpha1.PinnedImage // nil: those of the record
}

// Apply holds the changes of a pass.
type Apply struct {
	Removal   bool              // the target left git, and its objects are deleted
	Pending   bool              // there was a change to apply
	Changes   []manifest.Change // that were applied
	Held      []manifest.Change // that wait
	Inventory []v1alpha1.InventoryEntry
	Images    []v1alpha1.DeployedImage
	Allowed   bool   // a commit trailer names the target; its permission ends with this pass
	AllowedBy string // the author of the trailer that lets images through that were never promoted
}

// Health is the state of the objects after a pass.
type Health struct {
	Status  health.Status
	Message string   // names the objects that are not healthy
	Unseen  bool     // an object ran and is gone, and its end is not known
	Swapped []string // objects that run another image than the deployed one
	Notes   []string // remarks about a healthy target: tags that flap, objects that do not go
}

// Drift is the comparison of the cluster with the commit last applied.
type Drift struct {
	Found     []drift.Finding
	Corrected []drift.Finding
	// Images says that Found has the answers of registries, too.
	Images    bool
	Unwatched []string // kinds whose changes are noticed at the next poll only
	// Uncorrected names objects that could not be compared, and so not corrected.
	Uncorrected string
	// Unknown says why nothing could be compared.
	Unknown string
}
