package target

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/cluster"
)

// Dates gives dates and durations. It trusts neither the own clock nor the clock of an API server alone.
type Dates struct {
	// Now is the own clock for durations: it has a monotonic reading.
	Now func() time.Time
	// Wall is the own clock for dates; nil: Now.
	Wall func() time.Time
}

// Date returns the date of the own clock.
func (d Dates) Date() time.Time {
	if d.Wall == nil {
		return d.Now()
	}
	return d.Wall()
}

// In returns the date in a cluster, by the clock of its API server. The dates of a record are written and compared by
// that clock, so that all processes agree. The own clock replaces it while the API server has not answered yet.
func (d Dates) In(cluster *cluster.Cluster) time.Time {
	if cluster != nil {
		if date, known := cluster.Date(); known {
			return date
		}
	}
	return d.Date()
}

// Stamp returns the date that a record in a cluster gets now.
func (d Dates) Stamp(cluster *cluster.Cluster) metav1.Time { return ToSecond(d.In(cluster)) }

// ToSecond cuts a date to the second, as the API server keeps dates.
func ToSecond(date time.Time) metav1.Time { return metav1.NewTime(date.UTC().Truncate(time.Second)) }

// IsPast reports whether a date in a cluster is longer ago than keep, by the clock of the API server and by the own
// clock: an object that is deleted for its age cannot be restored, and one clock alone is no proof.
func (d Dates) IsPast(cluster *cluster.Cluster, date time.Time, keep time.Duration) bool {
	return d.In(cluster).Sub(date) > keep && d.Date().Sub(date) > keep
}
