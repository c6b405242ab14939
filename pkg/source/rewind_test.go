package source_test

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

func TestForcePush(t *testing.T) {
	t.Parallel()
	// start gives a repository with some history, its server, and a branch
	// that is about to be moved.
	start := func(t *testing.T, commits int) (*repo, *httpServer, string) {
		t.Helper()
		origin := newRepo(t)
		origin.grow(commits)
		server, address := origin.serve()
		return origin, server, address
	}

	t.Run("a rewritten commit is followed, and said once", func(t *testing.T) {
		origin, server, address := start(t, 120)
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: t.TempDir()})
		before := fetch(t, r)
		origin.git("commit", "-q", "--amend", "-m", "other words")
		packs := server.packs.Load()
		got := fetch(t, r)
		if got.Commit != origin.git("rev-parse", "main") || got.Rewound != before.Commit {
			t.Errorf("at %s rewound %q, want the new commit and %s", got.Commit, got.Rewound, before.Commit)
		}
		if n := server.packs.Load() - packs; n != 1 {
			t.Errorf("%d fetches of objects: what is at hand was enough to tell", n)
		}
		if again := fetch(t, r); again.Rewound != "" || again.Commit != got.Commit {
			t.Errorf("said again: %q", again.Rewound)
		}
		holds(t, before, "count", "119")
	})

	t.Run("a branch put back to an ancestor is a rewind", func(t *testing.T) {
		origin, server, address := start(t, 60)
		r := open(t, source.Options{URL: address})
		before := fetch(t, r)
		origin.git("reset", "-q", "--hard", "HEAD~3")
		packs := server.packs.Load()
		if got := fetch(t, r); got.Rewound != before.Commit || got.Commit != origin.git("rev-parse", "main") {
			t.Errorf("rewound %q, want %s", got.Rewound, before.Commit)
		}
		if n := server.packs.Load() - packs; n != 0 {
			t.Errorf("%d fetches for a commit that was there", n)
		}
	})

	t.Run("more new commits than a shallow fetch brings are no rewind", func(t *testing.T) {
		origin, _, address := start(t, 60)
		r := open(t, source.Options{URL: address, CacheDir: t.TempDir(), RequireFastForward: true})
		fetch(t, r)
		tip := origin.grow(200)
		if got := fetch(t, r); got.Commit != tip || got.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", got.Commit, got.Rewound, tip)
		}
		tip = origin.grow(1200)
		if got := fetch(t, r); got.Commit != tip || got.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", got.Commit, got.Rewound, tip)
		}
	})

	t.Run("a merge of an old side branch is no rewind", func(t *testing.T) {
		origin, _, address := start(t, 60)
		origin.git("branch", "side", "main~55")
		r := open(t, source.Options{URL: address, CacheDir: t.TempDir(), RequireFastForward: true})
		fetch(t, r)
		origin.git("checkout", "-q", "side")
		origin.commit("side", "1")
		origin.git("merge", "-q", "-m", "back", "main")
		origin.git("branch", "-f", "main", "side")
		if got := fetch(t, r); got.Commit != origin.git("rev-parse", "main") || got.Rewound != "" {
			t.Errorf("rewound %q", got.Rewound)
		}
	})

	t.Run("another history altogether is a rewind", func(t *testing.T) {
		origin, _, address := start(t, 60)
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: t.TempDir()})
		before := fetch(t, r)
		origin.git("checkout", "-q", "--orphan", "new")
		origin.commit("fresh", "1")
		origin.git("branch", "-D", "main")
		tip := origin.grow(70)
		if got := fetch(t, r); got.Commit != tip || got.Rewound != before.Commit {
			t.Errorf("at %s rewound %q, want %s and %s", got.Commit, got.Rewound, tip, before.Commit)
		}
		holds(t, before, "count", "59")
	})

	t.Run("a rewind between two runs of the program is noticed through the cache", func(t *testing.T) {
		origin, _, address := start(t, 3)
		opts := source.Options{URL: address, CacheDir: t.TempDir()}
		first := open(t, opts)
		before := fetch(t, first)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		origin.git("commit", "-q", "--amend", "-m", "other words")
		if got := fetch(t, open(t, opts)); got.Rewound != before.Commit {
			t.Errorf("rewound %q, want %s", got.Rewound, before.Commit)
		}
	})

	t.Run("with requireFastForward it is refused, and what was deployed stays", func(t *testing.T) {
		origin, server, address := start(t, 60)
		r := open(t, source.Options{URL: address, Branch: "main", RequireFastForward: true, CacheDir: t.TempDir()})
		before := fetch(t, r)
		origin.git("commit", "-q", "--amend", "-m", "other words")
		fails(t, r, source.ErrNotFastForward, before.Commit, origin.git("rev-parse", "main"), "requireFastForward")
		packs := server.packs.Load()
		fails(t, r, source.ErrNotFastForward)
		if n := server.packs.Load() - packs; n != 0 {
			t.Errorf("the refused commit was fetched %d times more", n)
		}
		holds(t, before, "count", "59")
		if head, err := r.At(t.Context(), "HEAD"); err != nil || head.Commit != before.Commit {
			t.Errorf("HEAD is %s, %v", head.Commit, err)
		}
		origin.git("reset", "-q", "--hard", before.Commit)
		next := origin.commit("mended", "1")
		if got := fetch(t, r); got.Commit != next || got.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", got.Commit, got.Rewound, next)
		}
	})
}
