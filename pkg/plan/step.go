package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Step is one object of a plan: its change, and what is needed to carry the change out.
type Step struct {
	Change   manifest.Change
	State    State
	Err      error                      // for Uncompared and Unread: the reason
	Rendered *unstructured.Unstructured // the object in git; nil for a prune
	Hash     string                     // of Rendered
	Sent     *unstructured.Unstructured // Rendered without the fields that other owners decide
	Adopts   *unstructured.Unstructured // the object as the former tool left it; nil: no tool managed it
	Order    Order
	Runs     Runs
	Owners   Owners
}

// State says why the object of a step stays as it is, or why its change is not known yet.
type State int

const (
	Judged     State = iota // Change.Action says what happens to the object
	AtRest                  // it matches git by its record and its live state; it was not compared
	Ran                     // it ran and is gone, and must not run again
	LeftAlone               // it stays as it is although git differs
	NextRun                 // it stays as it is; the change is part of its next run
	Deferred                // the API server can try it only after objects of earlier stages exist
	Uncompared              // the API server cannot compare it with git; it stays as it is
	Unread                  // it cannot be read either
	HandedOver              // it left git here; another target of the commit names it and takes it over, or may do so
	Unlabelled              // it left git, and lost the target's label before
)

// Runs has the runs of an object that runs to completion.
type Runs struct {
	Ended  string    // the run that had ended when the change was judged
	As     types.UID // for Ran: the object that ran, if events name it
	Remade types.UID // a later object of this name, by an unconfirmed apply, that ran and is gone as well
}

// Owners has what a comparison found of the other owners of an object's fields.
type Owners struct {
	Quiet   []ignore.Quiet  // differences that do not count
	Spared  []manifest.Path // drifted fields that stay as they are
	OwnHand bool            // another process wrote the object under syncer's name since its apply was recorded
}

// Stays reports whether an object of git stays as it is although git differs: by annotation, or for its run.
func (s *Step) Stays() bool { return s.State == LeftAlone || s.State == NextRun }

// IsUncompared reports whether the API server cannot compare the object with git.
func (s *Step) IsUncompared() bool { return s.State == Uncompared || s.State == Unread }

// IsPrune reports whether the object left git.
func (s *Step) IsPrune() bool { return s.Rendered == nil }

// Writes reports whether the step applies its object.
func (s *Step) Writes() bool {
	switch s.Change.Action {
	case manifest.Create, manifest.Update, manifest.Replace:
		return s.Rendered != nil
	}
	return false
}

// isPending reports whether an apply would change the object.
func (s *Step) isPending() bool { return isPending(s.Change.Action) }

// Key identifies the object of the step.
func (s *Step) Key() manifest.Key { return s.Change.ID.Key() }

// Outdates reports whether the history of an object no longer applies to it, after a step is executed or if git's form of it
// already exists.
func (s *Step) Outdates(entry v1alpha1.InventoryEntry) bool {
	if entry.Spec == "" {
		return true // an older entry, or the object never ran
	}
	same := s.Rendered != nil && entry.Spec == manifest.SpecHash(s.Rendered)
	switch s.Change.Action {
	case manifest.Replace, manifest.Prune:
		return true
	case manifest.Create:
		return same // the object must run again, although it ran
	case manifest.Update:
		return !same
	case manifest.None:
		return s.Rendered != nil && !same && !s.Stays() && (s.State == Ran || s.Change.Live != nil)
	}
	return false
}

// Order is the place of a step in the execution of its plan.
type Order struct {
	At      Position
	After   []manifest.Key // dependencies in the set, by annotation
	Outside []manifest.ID  // dependencies outside the set, by annotation
}

// follows reports whether a step waits for the health of another step: one that it names, or one of an earlier wave.
func (s *Step) follows(other *Step) bool {
	return other.Rendered != nil && (other.Order.At.wave < s.Order.At.wave || slices.Contains(s.Order.After, other.Key()))
}
