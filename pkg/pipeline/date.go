package pipeline

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/target"
)

// date is the own clock's. Durations are measured by now, which has a monotonic reading.
func (r *Runner) date() time.Time {
	if r.wall == nil {
		return r.now()
	}
	return r.wall()
}

// dateIn is the date in a cluster, by its API server's clock: a record's dates are written and compared by that one,
// whatever process does it. The own clock stands in while the API server has not answered yet.
func (r *Runner) dateIn(cluster *apply.Cluster) time.Time {
	if cluster != nil {
		if date, known := cluster.Date(); known {
			return date
		}
	}
	return r.date()
}

// stamp is the date that a record of a target is given now.
func (r *Runner) stamp(w *target.Desired) metav1.Time { return toSecond(r.dateIn(w.Cluster)) }

func toSecond(date time.Time) metav1.Time { return metav1.NewTime(date.UTC().Truncate(time.Second)) }

// isPast reports whether so much time has passed since a date of a target's record, by the API server's clock and by the
// own one: what is deleted for its age cannot be had back, and one clock proves nothing.
func (r *Runner) isPast(w *target.Desired, date time.Time, keep time.Duration) bool {
	return r.dateIn(w.Cluster).Sub(date) > keep && r.date().Sub(date) > keep
}

// stampConditions gives the conditions that changed their value the date, where apimachinery gave them that of the own clock.
func stampConditions(status *v1alpha1.PipelineSyncStatus, before []metav1.Condition, now metav1.Time) {
	for i := range status.Conditions {
		c := &status.Conditions[i]
		old := meta.FindStatusCondition(before, c.Type)
		if old == nil || old.Status != c.Status {
			c.LastTransitionTime = now
		}
	}
}
