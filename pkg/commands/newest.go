package commands

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Several syncers may reconcile one target: a daemon and a sync by hand, two CI jobs, a replica that was paused. The newest
// commit wins, whichever of them is faster (docs/decisions/0028).

const (
	// newestAge is how long an answer of the repository says which commit is the newest.
	newestAge     = time.Second
	newestTimeout = 10 * time.Second
	// recentCommits is the number of commits that are searched for the commit of a record.
	recentCommits = 200
)

// repository is the history that a sync reads. A *source.Repository is one.
type repository interface {
	Fetch(ctx context.Context) (source.Snapshot, error)
	Log(ctx context.Context, from string, limit int) ([]source.Commit, error)
}

// newest is the newest commit of the repository, as far as this process has asked. It is safe for concurrent use.
type newest struct {
	repository repository
	snap       source.Snapshot
	fetched    time.Time // before the commit was fetched

	mu    sync.Mutex
	asked time.Time // when the repository was last asked
}

// fetchNewest asks the repository for its newest commit.
func fetchNewest(ctx context.Context, from repository) (*newest, error) {
	asked := time.Now()
	snap, err := from.Fetch(ctx)
	return &newest{repository: from, snap: snap, fetched: asked, asked: asked}, err
}

// confirm returns reconcile.ErrOutdated where there is a newer commit. A repository that does not answer knows of none: its
// last commit stays in force.
func (n *newest) confirm(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if now.Sub(n.asked) < newestAge {
		return nil
	}
	n.asked = now
	asking, cancel := context.WithTimeout(ctx, newestTimeout)
	defer cancel()
	snap, err := n.repository.Fetch(asking)
	if err != nil {
		return ctx.Err()
	}
	if snap.Commit != n.snap.Commit {
		return reconcile.ErrOutdated
	}
	return nil
}

// isBehind reports whether a record names a commit that the history of this one does not have, and was written since the
// repository was asked for it: another syncer may have carried out a newer commit.
func (n *newest) isBehind(ctx context.Context, commit *target.Commit) bool {
	named := map[string]bool{}
	for _, d := range commit.Targets {
		if d.Record != nil && d.Record.Spec.Source.Commit != n.snap.Commit && reconcile.DecidedSince(d.Cluster, d.Record, n.fetched) {
			named[d.Record.Spec.Source.Commit] = true
		}
	}
	if len(named) == 0 {
		return false
	}
	commits, err := n.repository.Log(ctx, n.snap.Commit, recentCommits)
	if err != nil {
		return true // the repository is asked again
	}
	for _, c := range commits {
		delete(named, c.Hash)
	}
	return len(named) > 0
}
