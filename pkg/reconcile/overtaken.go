package reconcile

import (
	"errors"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// ErrOutdated says that the repository has a newer commit than the one that is carried out.
var ErrOutdated = errors.New("a newer commit came before the first object was written; this one is not carried out")

// IsOvertaken reports whether a target was left to another syncer or to a newer commit. That is no fault of the target.
func IsOvertaken(err error) bool {
	return is[*answer.OvertakenError](err) || errors.Is(err, ErrOutdated)
}

// dateSlack is the greatest difference of two dates of one API server that stand for the same moment: it writes full seconds.
const dateSlack = 3 * time.Second

// DecidedSince reports whether the spec of a record was written after a moment of the own clock at which the repository was
// asked. A decision before that moment is no newer than the answer of the repository. An API server that does not date its
// answers is taken to have the own clock.
func DecidedSince(cluster *cluster.Cluster, record *v1alpha1.PipelineSync, asked time.Time) bool {
	now, known := cluster.Date()
	if !known {
		now = time.Now()
	}
	return !v1alpha1.Decided(record).Before(now.Add(-time.Since(asked) - dateSlack))
}
