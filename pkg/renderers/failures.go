package renderers

import (
	"io/fs"
	"sync"
	"time"
)

// failures keeps the builds that their workers did not survive, or that took too long. Such a build may succeed on a day
// with less load, and costs much each time: it is done again when one of its files changes, or after a while that doubles.
type failures struct {
	mu        sync.Mutex
	byOverlay map[string]failure
}

type failure struct {
	built Built
	until time.Time
	pause time.Duration
}

const (
	firstPause   = 5 * time.Minute
	longestPause = 2 * time.Hour
)

// of is the failure of an overlay's last build, if another one is not to be tried yet.
func (f *failures) of(overlay string, files fs.FS, now time.Time) (Built, bool) {
	f.mu.Lock()
	kept, ok := f.byOverlay[overlay]
	f.mu.Unlock()
	if !ok {
		return Built{}, false
	}
	if !kept.built.Reads.Unchanged(files) {
		return Built{}, false // files of another commit; those of the failure may come back
	}
	return Built{Err: kept.built.Err, Again: kept.until.Sub(now)}, now.Before(kept.until)
}

// keep keeps a failure, and returns the time until it is tried again.
func (f *failures) keep(overlay string, files fs.FS, built Built, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	pause := firstPause
	if last, ok := f.byOverlay[overlay]; ok && last.built.Reads.Unchanged(files) {
		pause = min(2*last.pause, longestPause)
	}
	if f.byOverlay == nil {
		f.byOverlay = map[string]failure{}
	}
	f.byOverlay[overlay] = failure{built, now.Add(pause), pause}
	return pause
}

// forget forgets the failure of files that are built now.
func (f *failures) forget(overlay string, files fs.FS) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kept, ok := f.byOverlay[overlay]; ok && kept.built.Reads.Unchanged(files) {
		delete(f.byOverlay, overlay)
	}
}
