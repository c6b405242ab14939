package record

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// setTrusted writes the condition Trusted, and the commit that was verified. That is the last one which was deployed, so that a
// commit which leaves a target as it is does not move its record. A target of an environment that demands no signatures has
// neither.
func (p *pass) setTrusted(status *v1alpha1.PipelineSyncStatus) {
	signature := p.Commit.Signature
	if !signature.Demanded {
		status.Verified = nil
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionTrusted)
		return
	}
	if refused := signature.Refused; refused != nil {
		setCondition(status, v1alpha1.ConditionTrusted, false, refused.Reason, refused.Message)
	} else {
		setCondition(status, v1alpha1.ConditionTrusted, true, "Verified", "")
	}
	if !signature.Verified || status.Verified != nil && (status.Verified.Commit == p.Commit.Hash || status.LastAppliedCommit != p.Commit.Hash) {
		return
	}
	status.Verified = &v1alpha1.VerifiedCommit{Commit: p.Commit.Hash, Signer: signature.Signer, Key: signature.Key, At: stamp(p.now)}
}
