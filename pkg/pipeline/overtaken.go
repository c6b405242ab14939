package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Several syncers may carry out one target: a daemon and a sync by hand, two CI jobs, a replica that was paused. They owe
// each other that the newest commit wins, whoever is faster (docs/decisions/0028).

// errOutdated says that the repository has a newer commit than the one that is carried out.
var errOutdated = errors.New("a newer commit came before the first object was written; this one is not carried out")

// isOvertaken reports whether a target was left to another syncer or to a newer commit. That is no fault of the target.
func isOvertaken(err error) bool {
	_, overtaken := errors.AsType[*answer.OvertakenError](err)
	return overtaken || errors.Is(err, errOutdated)
}

const (
	// overtakenTries bounds how often a command carries out targets again that another syncer was writing.
	overtakenTries = 5
	overtakenPause = time.Second
	// tipAge is how long an answer of the repository says which commit is the newest.
	tipAge     = time.Second
	tipTimeout = 10 * time.Second
	// recentCommits are those by which a commit that a record names is known to be an old one.
	recentCommits = 200
	// dateSlack is how far two dates of one API server may be apart that stand for the same moment: it writes full seconds.
	dateSlack = 3 * time.Second
)

// tip answers whether a commit is still the newest one of the repository. It is safe for concurrent use.
type tip struct {
	source *source.Repository
	commit string

	mu    sync.Mutex
	asked time.Time // when the repository was last asked
}

// confirm returns errOutdated where there is a newer commit. A repository that does not answer knows of none: its last
// commit stays in force.
func (t *tip) confirm(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.asked) < tipAge {
		return nil
	}
	t.asked = now
	asking, enough := context.WithTimeout(ctx, tipTimeout)
	defer enough()
	snap, err := t.source.Fetch(asking)
	if err != nil {
		return ctx.Err()
	}
	if snap.Commit != t.commit {
		return errOutdated
	}
	return nil
}

// Once carries the newest commit into every selected target. Targets do not depend on each other's success: the error
// is about the pass as a whole, such as an unreachable repository; each target has its own. Targets that another syncer
// writes at the same time are carried out again.
func (r *Runner) Once(ctx context.Context, options SyncOptions) (*Pass, error) {
	if _, err := r.Config.Select(options.Environments); err != nil {
		return nil, err // before the network is asked
	}
	var pass *Pass
	for try := 1; ; try++ {
		asked := time.Now()
		snap, err := r.source.Fetch(ctx)
		if err != nil {
			return pass, err
		}
		newest := &tip{source: r.source, commit: snap.Commit, asked: asked}
		next, err := r.carry(ctx, snap, options, newest)
		pass = pass.then(next)
		if err != nil || !pass.overtaken() || try == overtakenTries || clock.Sleep(ctx, overtakenPause) != nil {
			return pass, err
		}
	}
}

// overtaken reports whether a target was left to another syncer.
func (p *Pass) overtaken() bool {
	return p != nil && slices.ContainsFunc(p.Targets, func(t TargetResult) bool { return isOvertaken(t.failure) })
}

// then joins a pass with a later one, which is about the same targets or newer ones. What the first one did stays said
// where the later one found nothing left to do.
func (p *Pass) then(later *Pass) *Pass {
	if p == nil || later == nil {
		return later
	}
	for i := range later.Targets {
		t := &later.Targets[i]
		at := slices.IndexFunc(p.Targets, func(before TargetResult) bool { return before.Target() == t.Target() })
		if at >= 0 && t.Result == Unchanged && p.Targets[at].Result != Failed {
			*t = p.Targets[at]
		}
	}
	if later.Rewound == "" {
		later.Rewound = p.Rewound
	}
	return later
}

// decidedSince reports whether the spec of a record was written after a moment of the own clock, at which the repository
// was asked. What was decided before is no newer than the repository's answer. An API server that does not date its answers
// is taken to have the own clock.
func decidedSince(cluster *cluster.Cluster, record *v1alpha1.PipelineSync, asked time.Time) bool {
	now, known := cluster.Date()
	if !known {
		now = time.Now()
	}
	return !v1alpha1.Decided(record).Before(now.Add(-time.Since(asked) - dateSlack))
}

// strangers reports whether a record names a commit that the history of a snapshot does not show, and was written since the
// repository was asked for it: another syncer may have carried out a newer one.
func (r *Runner) strangers(ctx context.Context, a *target.Commit, snap source.Snapshot, asked time.Time) bool {
	named := map[string]bool{}
	for _, w := range a.Targets {
		if w.Record != nil && w.Record.Spec.Source.Commit != snap.Commit && decidedSince(w.Cluster, w.Record, asked) {
			named[w.Record.Spec.Source.Commit] = true
		}
	}
	if len(named) == 0 {
		return false
	}
	commits, err := r.source.Log(ctx, snap.Commit, recentCommits)
	if err != nil {
		return true // the repository is asked again
	}
	for _, commit := range commits {
		delete(named, commit.Hash)
	}
	return len(named) > 0
}
