package record

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// reasonUnderway is the reason of Ready and Reconciling while a newer commit than the applied one is not applied yet.
const reasonUnderway = "CommitUnderway"

// Underway returns a status that says that a commit is being applied to the target.
func Underway(before v1alpha1.PipelineSyncStatus, commit string, now time.Time) v1alpha1.PipelineSyncStatus {
	status := before
	status.Conditions = slices.Clone(before.Conditions)
	setProgressing(&status, reasonUnderway, UnderwayMessage(before, commit))
	stampConditions(&status, before.Conditions, stamp(now))
	return status
}

// UnderwayMessage says that a commit is being applied to a target.
func UnderwayMessage(status v1alpha1.PipelineSyncStatus, commit string) string {
	return fmt.Sprintf("commit %.8s is on its way; %.8s was applied last", commit, status.LastAppliedCommit)
}

// SameButConditions reports whether two versions of a record differ in their conditions only.
func SameButConditions(a, b *v1alpha1.PipelineSync) bool {
	x, y := confirmed(a.Status), confirmed(b.Status)
	x.Conditions, y.Conditions = nil, nil
	return a.UID == b.UID && a.Generation == b.Generation && equality.Semantic.DeepEqual(x, y)
}

// confirmed returns a status without the marks that a reader adds to it while an apply is not confirmed.
func confirmed(status v1alpha1.PipelineSyncStatus) v1alpha1.PipelineSyncStatus {
	status.ConfirmedApply, status.Inventory = "", slices.Clone(status.Inventory)
	for i := range status.Inventory {
		status.Inventory[i].Unconfirmed, status.Inventory[i].Spec = false, ""
	}
	return status
}
