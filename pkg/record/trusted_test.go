package record

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// passed is the status after a pass that applied a commit, or found nothing to apply.
func passed(before v1alpha1.PipelineSyncStatus, commit string, pending bool, signature Signature, minutes int) v1alpha1.PipelineSyncStatus {
	o := Outcome{Commit: Commit{Hash: commit, Signature: signature}, Apply: &Apply{Pending: pending}}
	return Next(v1alpha1.PipelineSync{Status: before}, o, noon.Add(time.Duration(minutes)*time.Minute))
}

func TestTrustOfCommitsInTheRecord(t *testing.T) {
	verified := Signature{Demanded: true, Verified: true, Signer: "ann", Key: "SHA256:a"}
	refused := func(message string) Signature {
		out := verified
		out.Refused = &Refused{Reason: "NoSignature", Message: message}
		return out
	}
	trusted := func(status v1alpha1.PipelineSyncStatus) string {
		if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionTrusted); c != nil {
			return string(c.Status) + " " + c.Reason + " " + c.Message
		}
		return ""
	}
	check := func(step string, status v1alpha1.PipelineSyncStatus, condition, commit string) {
		t.Helper()
		have := ""
		if status.Verified != nil {
			have = status.Verified.Commit
		}
		if trusted(status) != condition || have != commit {
			t.Errorf("%s: %q and %q, want %q and %q", step, trusted(status), have, condition, commit)
		}
	}
	none := passed(v1alpha1.PipelineSyncStatus{}, "c0", true, Signature{}, 0)
	check("nothing is demanded", none, "", "")
	first := passed(none, "c1", false, verified, 1)
	check("a signature is demanded from now on, and nothing changes", first, "True Verified ", "c1")
	if first.Verified.Signer != "ann" || first.Verified.Key != "SHA256:a" || !first.Verified.At.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("verified: %+v", first.Verified)
	}
	second := passed(first, "c2", false, verified, 2)
	check("a commit that leaves the target as it is does not move its record", second, "True Verified ", "c1")
	third := passed(second, "c3", true, verified, 3)
	check("a deployment", third, "True Verified ", "c3")
	fourth := passed(third, "c3", false, refused("c4 is not trusted"), 4)
	check("a newer commit is not trusted", fourth, "False NoSignature c4 is not trusted", "c3")
	if !fourth.Verified.At.Equal(&third.Verified.At) {
		t.Error("the date of the verified commit moved")
	}
	standing := refused("c5 is not trusted")
	standing.Verified = false
	check("no commit is trusted", passed(none, "c0", false, standing, 5), "False NoSignature c5 is not trusted", "")
	check("nothing is demanded any more", passed(fourth, "c6", false, Signature{}, 6), "", "")

	reasons := func(before, after v1alpha1.PipelineSyncStatus) (out []string) {
		for _, event := range Events(before, after) {
			if event.Reason == "CommitNotTrusted" {
				out = append(out, event.Note)
			}
		}
		return out
	}
	if got := reasons(third, fourth); len(got) != 1 || got[0] != "c4 is not trusted" {
		t.Errorf("events of a commit that is not trusted: %q", got)
	}
	if got := reasons(fourth, passed(fourth, "c3", false, refused("c4 is not trusted"), 7)); got != nil {
		t.Errorf("the event is written twice: %q", got)
	}
	if got := reasons(fourth, passed(fourth, "c3", false, refused("c7 is not trusted"), 8)); len(got) != 1 {
		t.Errorf("events of the next one: %q", got)
	}
	if got := reasons(fourth, passed(fourth, "c8", true, verified, 9)); got != nil {
		t.Errorf("events of a commit that is trusted: %q", got)
	}
}
