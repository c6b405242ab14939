package target

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

// line is a history without branches, and counts the walks through it.
type line struct {
	commits []source.Commit // the oldest first
	walks   int
}

func (l *line) add(message string) source.Snapshot {
	hash := fmt.Sprintf("c%d", len(l.commits))
	l.commits = append(l.commits, source.Commit{Hash: hash, Message: message})
	return source.Snapshot{Commit: hash}
}

func (l *line) at(hash string) int {
	return slices.IndexFunc(l.commits, func(c source.Commit) bool { return c.Hash == hash })
}

func (l *line) Objects(context.Context, string, source.Reach) (source.Objects, error) {
	return source.Objects{}, nil
}

func (l *line) Since(_ context.Context, from, to string) ([]source.Commit, error) {
	l.walks++
	out := slices.Clone(l.commits[min(l.at(from), l.at(to))+1 : l.at(to)+1])
	slices.Reverse(out)
	return out, nil
}

func (l *line) At(context.Context, string) (source.Snapshot, error) { return source.Snapshot{}, nil }

// The trail finds the same commits as a walk through the history, and walks only once through each part of it.
func TestATrailFindsWhatAWalkFinds(t *testing.T) {
	history, trail := &line{}, &trail{}
	allow := func(i int) string { return fmt.Sprintf("change %d\n\nSyncer-Allow-Prune: p%d", i, i) }
	for i := range 3 {
		history.add(allow(i)) // before the first commit that is planned
	}
	for i := 3; i < 12; i++ {
		message := "change"
		if i%2 == 0 {
			message = allow(i)
		}
		snap := history.add(message)
		trail.advance(t.Context(), history, snap)
		for from := range history.commits {
			at := history.commits[from].Hash
			got, err := trail.since(t.Context(), history, at, snap.Commit)
			want, _ := history.Since(t.Context(), at, snap.Commit)
			if err != nil || !slices.Equal(hashes(got), hashes(withTrailers(want))) {
				t.Fatalf("from %s to %s: %v, want %v; %v", at, snap.Commit, hashes(got), hashes(withTrailers(want)), err)
			}
		}
	}
	history.walks = 0
	snap := history.add(allow(12))
	trail.advance(t.Context(), history, snap)
	for _, from := range history.commits {
		if _, err := trail.since(t.Context(), history, from.Hash, snap.Commit); err != nil {
			t.Fatal(err)
		}
	}
	if history.walks != 1 {
		t.Errorf("%d walks for one commit", history.walks)
	}
}

// A history that was rewritten begins a new trail, and a commit that is not the newest is looked up as it is.
func TestATrailEndsWithItsHistory(t *testing.T) {
	history, trail := &line{}, &trail{}
	first := history.add("Syncer-Allow-Prune: a")
	second := history.add("Syncer-Allow-Prune: b")
	trail.advance(t.Context(), history, first)
	trail.advance(t.Context(), history, second)
	back := first
	back.Rewound = second.Commit
	trail.advance(t.Context(), history, back)
	if got, err := trail.since(t.Context(), history, first.Commit, first.Commit); err != nil || len(got) > 0 {
		t.Errorf("after the rewind: %v, %v", hashes(got), err)
	}
	if got, err := trail.since(t.Context(), history, first.Commit, second.Commit); err != nil || !slices.Equal(hashes(got), []string{"c1"}) {
		t.Errorf("up to another commit: %v, %v", hashes(got), err)
	}
}

func hashes(commits []source.Commit) (out []string) {
	for _, c := range commits {
		out = append(out, c.Hash)
	}
	return out
}
