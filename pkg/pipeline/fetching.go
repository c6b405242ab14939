package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/source"
)

// fetchPatience is how long a look waits for the repository before it goes on with the commit that is in force. A git
// server that is well answers a poll in less; one that is not has a limit of its own, which is longer.
const fetchPatience = 5 * time.Second

// fetching asks the repository for its newest commit beside the loop, so that a git server that hangs keeps nothing else
// from being done. One question is under way at a time. All but the question itself is the loop's.
type fetching struct {
	fetch   func(context.Context) (source.Snapshot, error)
	running *sync.WaitGroup
	answers chan fetched // holds one
	busy    bool
	again   bool // it was to be asked while a question was under way, which may not see what has happened since
}

// fetched is one answer.
type fetched struct {
	asked time.Time
	snap  source.Snapshot
	err   error
}

func newFetching(fetch func(context.Context) (source.Snapshot, error), running *sync.WaitGroup) *fetching {
	return &fetching{fetch: fetch, running: running, answers: make(chan fetched, 1)}
}

// begin asks, and reports whether it does: false while a question is under way.
func (f *fetching) begin(ctx context.Context) bool {
	if f.busy {
		f.again = true
		return false
	}
	f.busy, f.again = true, false
	asked := time.Now()
	f.running.Go(func() {
		snap, err := f.fetch(ctx)
		f.answers <- fetched{asked, snap, err}
	})
	return true
}

// ended takes in that the answer was read, and reports whether to ask again at once.
func (f *fetching) ended() (again bool) {
	f.busy = false
	return f.again
}

// fetchFails takes in that a try to reach the repository failed and is made again.
func (r *Runner) fetchFails(err error) {
	r.metrics.git.WithLabelValues("failed").Inc()
	if !r.loops {
		return // a command that runs once says how it ends
	}
	r.board.fetchFails(err)
	if r.heard.news("repository, a try", err.Error()) {
		r.log.Warn("the repository does not answer; it is asked again", "error", err)
	}
}

// fetchFails shows why the repository is not read yet.
func (b *board) fetchFails(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.source.Error != err.Error() {
		b.source.Error = err.Error()
		b.publishSoon()
	}
}
