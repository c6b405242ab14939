package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

func TestLocal(t *testing.T) {
	// No t.Parallel: PATH and the working directory change.
	origin := newRepo(t)
	first := origin.commit("a", "1")
	origin.git("tag", "v1.0.0")
	parent := filepath.Dir(origin.dir)
	origin.git("clone", "-q", "--bare", origin.dir, filepath.Join(parent, "bare.git"))
	origin.git("clone", "-q", "--shared", "--no-checkout", origin.dir, filepath.Join(parent, "shared"))
	origin.git("worktree", "add", "-q", "-b", "wt", filepath.Join(parent, "worktree"))
	tools := os.Getenv("PATH")

	// A git that tells when it is called.
	bin := t.TempDir()
	called := filepath.Join(bin, "called")
	write(t, filepath.Join(bin, "git"), "#!/bin/sh\necho \"$@\" >>"+called+"\nexit 1\n")
	if err := os.Chmod(filepath.Join(bin, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(parent)

	for name, url := range map[string]string{
		"a work tree": origin.dir, "its .git": filepath.Join(origin.dir, ".git"), "a relative path": "repo", "the path with a dot": "./repo",
		"a file address": "file://" + origin.dir, "a bare repository": filepath.Join(parent, "bare.git"),
		"a worktree with a .git file": filepath.Join(parent, "worktree"), "a clone that shares objects": filepath.Join(parent, "shared"),
	} {
		t.Run("is read where it is: "+name, func(t *testing.T) {
			t.Setenv("PATH", bin)
			before := listing(t, parent)
			cache := t.TempDir()
			r := open(t, source.Options{URL: url, CacheDir: cache})
			snap := fetch(t, r)
			if snap.Commit != first {
				t.Errorf("at %s, want %s", snap.Commit, first)
			}
			holds(t, snap, "a", "1")
			if again := fetch(t, r); again != snap {
				t.Error("another snapshot")
			}
			if _, err := r.At(t.Context(), "v1.0.0"); err != nil {
				t.Error(err)
			}
			if after := listing(t, parent); after != before {
				t.Errorf("files changed:\n%s\nto\n%s", before, after)
			}
			if entries, err := os.ReadDir(cache); err != nil || len(entries) != 0 {
				t.Errorf("something was copied: %v, %v", entries, err)
			}
			if _, err := os.Stat(called); err == nil {
				t.Error("the git program was run")
			}
		})
	}

	t.Run("each fetch reads it fresh", func(t *testing.T) {
		t.Setenv("PATH", tools)
		work := newRepo(t)
		work.write("unread", "until late")
		work.commit("a", "1")
		work.git("repack", "-adq")
		r := open(t, source.Options{URL: work.dir, Branch: "main"})
		snap := fetch(t, r)

		work.write("a", "not committed")
		work.write("new", "not committed")
		work.git("add", "new")
		if again := fetch(t, r); again != snap {
			t.Error("uncommitted changes are seen")
		}
		work.write("new", "unread as well")
		second := work.commit("a", "2")
		got := fetch(t, r)
		if got.Commit != second || got.Rewound != "" {
			t.Errorf("at %s rewound %q, want %s", got.Commit, got.Rewound, second)
		}
		holds(t, got, "a", "2")
		holds(t, snap, "a", "1")

		work.git("pack-refs", "--all")
		work.git("repack", "-adq")
		work.git("prune-packed")
		holds(t, snap, "unread", "until late")
		holds(t, got, "new", "unread as well")
		holds(t, snap, "a", "1")
		holds(t, got, "a", "2")
		if again := fetch(t, r); again.Commit != second {
			t.Errorf("at %s after a repack", again.Commit)
		}

		work.git("commit", "-q", "--amend", "-m", "other words")
		if got := fetch(t, r); got.Rewound != second {
			t.Errorf("rewound %q, want %s", got.Rewound, second)
		}
	})

	t.Run("requireFastForward refuses a rewind", func(t *testing.T) {
		work := newRepo(t)
		work.commit("a", "1")
		r := open(t, source.Options{URL: work.dir, RequireFastForward: true})
		snap := fetch(t, r)
		work.git("commit", "-q", "--amend", "-m", "other words")
		fails(t, r, source.ErrNotFastForward, snap.Commit)
		holds(t, snap, "a", "1")
	})

	t.Run("large files and delta chains", func(t *testing.T) {
		work := newRepo(t)
		text := strings.Repeat("a line that repeats\n", 5000)
		for _, end := range []string{"1", "2", "3"} {
			work.commit("large", text+end)
		}
		work.git("gc", "-q")
		r := open(t, source.Options{URL: work.dir})
		for rev, end := range map[string]string{"HEAD": "3", "HEAD~1": "2", "HEAD~2": "1"} {
			snap, err := r.At(t.Context(), rev)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, snap, "large", text+end)
		}
	})

	t.Run("what is no repository says so", func(t *testing.T) {
		for url, says := range map[string]string{
			filepath.Join(parent, "nothing"): "no folder at this path",
			t.TempDir():                      "no git repository at this path",
			secretFile(t, "a file"):          "no folder at this path",
			parent:                           "no git repository at this path",
		} {
			fails(t, open(t, source.Options{URL: url}), source.ErrRepositoryNotFound, says, "fetching "+url)
		}
	})
	t.Run("an empty repository says so", func(t *testing.T) {
		fails(t, open(t, source.Options{URL: newRepo(t).dir}), source.ErrEmptyRepository)
		fails(t, open(t, source.Options{URL: newRepo(t).dir, Branch: "main"}), source.ErrEmptyRepository)
	})
	t.Run("names that are not there say so", func(t *testing.T) {
		fails(t, open(t, source.Options{URL: origin.dir, Branch: "x"}), source.ErrBranchNotFound, "main, wt")
		fails(t, open(t, source.Options{URL: origin.dir, Tag: "x"}), source.ErrTagNotFound, "v1.0.0")
		fails(t, open(t, source.Options{URL: origin.dir, Commit: strings.Repeat("ab", 20)}), source.ErrCommitNotFound)
	})
	t.Run("missing objects say so", func(t *testing.T) {
		work := newRepo(t)
		work.commit("a", "1")
		blob := work.git("rev-parse", "HEAD:a")
		remove(t, filepath.Join(work.dir, ".git/objects", blob[:2], blob[2:]))
		fails(t, open(t, source.Options{URL: work.dir}), source.ErrIncomplete, blob, "git fsck")
	})
}
