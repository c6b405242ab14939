package record

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// reasonUnderway is of Ready and Reconciling while a newer commit than the one applied is not carried out yet.
const reasonUnderway = "CommitUnderway"

// Underway returns a status which says that a commit is on its way.
func Underway(before v1alpha1.PipelineSyncStatus, commit string) v1alpha1.PipelineSyncStatus {
	status, message := before, UnderwayMessage(before, commit)
	status.Conditions = slices.Clone(before.Conditions)
	SetCondition(&status, v1alpha1.ConditionReady, false, reasonUnderway, message)
	SetCondition(&status, v1alpha1.ConditionReconciling, true, reasonUnderway, message)
	SetCondition(&status, v1alpha1.ConditionStalled, false, reasonUnderway, "")
	return status
}

// UnderwayMessage says that a commit is on its way to a target.
func UnderwayMessage(status v1alpha1.PipelineSyncStatus, commit string) string {
	return fmt.Sprintf("commit %.8s is on its way; %.8s was applied last", commit, status.LastAppliedCommit)
}
