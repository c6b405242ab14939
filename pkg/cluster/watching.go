package cluster

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// WatchTimeout is the minimum time that one watch request lasts; then a new request continues from its end.
	WatchTimeout   = time.Hour
	ListingTimeout = 2 * time.Minute
)

// WatchBackoff is the wait before the next request for a watch that failed. The longest wait is short: a watch is open
// again well within a minute after the fault has ended.
func WatchBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 15 * time.Second}
}
