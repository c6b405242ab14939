package target

import (
	"context"
	"slices"
	"sync"

	"github.com/syncerdev/syncer/pkg/source"
)

// trail keeps the commits with trailers that a planner has seen, so that a commit costs one walk through the new history and
// not one for each target. The zero value is ready. It is safe for concurrent use.
type trail struct {
	mu      sync.Mutex
	newest  string         // the commit planned last; empty: none
	at      map[string]int // the number of each planned commit
	trailed []trailed      // the commits with trailers since the first planned one, the oldest first
	before  map[string]base
}

// trailed is a commit with a trailer.
type trailed struct {
	at     int // the number of the planned commit that brought it
	commit source.Commit
}

// base is the history between a commit from before the first planned one and a planned one.
type base struct {
	at      int
	commits []source.Commit // with trailers
}

// longestTrail is the number of planned commits after which the trail begins anew: some months of commits.
const longestTrail = 20_000

// advance takes in a commit that is planned. A history that was rewritten begins a new trail.
func (t *trail) advance(ctx context.Context, history Repository, snap source.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.newest == snap.Commit {
		return
	}
	var commits []source.Commit
	err := error(nil)
	if t.newest != "" && snap.Rewound == "" && len(t.at) < longestTrail {
		commits, err = history.Since(ctx, t.newest, snap.Commit)
	}
	if len(commits) == 0 || err != nil { // a commit without new ones is no successor
		t.at, t.trailed, t.before = map[string]int{snap.Commit: 0}, nil, map[string]base{}
		t.newest = snap.Commit
		return
	}
	number := len(t.at)
	for _, commit := range slices.Backward(withTrailers(commits)) {
		t.trailed = append(t.trailed, trailed{number, commit})
	}
	t.at[snap.Commit], t.newest = number, snap.Commit
}

// since lists the commits with trailers from one commit up to a planned one.
func (t *trail) since(ctx context.Context, history Repository, from, to string) ([]source.Commit, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to != t.newest {
		commits, err := history.Since(ctx, from, to)
		return withTrailers(commits), err
	}
	if number, ok := t.at[from]; ok {
		return t.after(number), nil
	}
	if known, ok := t.before[from]; ok {
		return append(t.after(known.at), known.commits...), nil
	}
	commits, err := history.Since(ctx, from, to)
	if err != nil {
		return nil, err
	}
	commits = withTrailers(commits)
	if back, err := history.Since(ctx, to, from); from == "" || err == nil && len(back) == 0 { // it is an ancestor
		t.before[from] = base{t.at[to], commits}
	}
	return commits, nil
}

// after lists the commits with trailers that later planned commits brought, the newest first. The caller owns the list.
func (t *trail) after(number int) []source.Commit {
	var out []source.Commit
	for _, each := range slices.Backward(t.trailed) {
		if each.at <= number {
			break
		}
		out = append(out, each.commit)
	}
	return out
}

// withTrailers returns the commits that have a trailer of syncer.
func withTrailers(commits []source.Commit) []source.Commit {
	var out []source.Commit
	for _, commit := range commits {
		if allowPrune.MatchString(commit.Message) || allowPromotion.MatchString(commit.Message) {
			out = append(out, commit)
		}
	}
	return out
}
