package cluster

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// WatchTimeout is how long one watch request lasts at least; then it is made again, from where it ended.
	WatchTimeout   = time.Hour
	ListingTimeout = 2 * time.Minute
)

// WatchBackoff is the wait before a watch that failed is asked for again. The longest is so short that a watch is open
// again well within a minute after whatever was wrong.
func WatchBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 15 * time.Second}
}
