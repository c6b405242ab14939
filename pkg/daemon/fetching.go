package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/source"
)

// fetchWait is how long a poll waits for the repository before the loop goes on with the commit that is in force. A healthy
// git server answers in less; a request has a limit of its own, which is longer.
const fetchWait = 5 * time.Second

// fetching asks the repository for its newest commit beside the loop, so that a git server that hangs does not stop the
// loop. One request is under way at a time. Only the loop calls its methods.
type fetching struct {
	fetch   func(context.Context) (source.Snapshot, error)
	running *sync.WaitGroup
	answers chan fetched // holds one
	busy    bool
	again   bool // another request came while one was under way, which may not see what has happened since
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

// begin sends a request; false: one is under way.
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

// ended notes that the answer was read, and reports whether to send another request at once.
func (f *fetching) ended() (again bool) {
	f.busy = false
	return f.again
}

// knownCommits is how many commits of the source are read: a commit that is not among them may be newer.
const knownCommits = 2000

// fetched handles the answer of the repository.
func (d *Daemon) fetched(ctx context.Context, snap source.Snapshot, err error) {
	if ctx.Err() != nil {
		return
	}
	outcome := "unchanged"
	switch {
	case err != nil:
		outcome = "failed"
	case snap.Commit != d.publisher.Source().Commit:
		outcome = "changed"
	}
	d.parts.Metrics.requests.git.WithLabelValues(outcome).Inc()
	var commits []source.Commit
	if outcome == "changed" {
		log, failure := d.parts.Source.Log(ctx, snap.Commit, knownCommits)
		if failure != nil {
			d.parts.Log.Warn("reading the last commits", "error", failure)
		}
		commits = log
	}
	d.publisher.Fetched(snap, commits, err)
}
