package source_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/source"
)

func TestAt(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "root")
	origin.grow(70)
	origin.git("tag", "-a", "-m", "release", "v1")
	origin.git("branch", "beef") // could be an abbreviated hash
	origin.git("checkout", "-q", "-b", "side", "main~65")
	origin.commit("side", "1")
	origin.git("checkout", "-q", "main")
	origin.git("merge", "-q", "-m", "a merge", "side")
	origin.commit("a", "newest")
	origin.git("branch", "-D", "side")
	origin.git("branch", "other", "main~30")
	origin.git("checkout", "-q", "other")
	origin.commit("other", "1")
	origin.git("checkout", "-q", "main")
	dangling := origin.git("commit-tree", "-m", "led to by nothing", origin.git("rev-parse", "main^{tree}"))
	sha := func(rev string) string { return origin.git("rev-parse", rev) }

	for place, address := range map[string]string{"over http": "", "on disk": origin.dir} {
		var server *httpServer
		if address == "" {
			server, address = origin.serve()
		}
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: t.TempDir()})
		snap := fetch(t, r)

		for _, rev := range []string{
			"HEAD", "@", "HEAD~1", "HEAD^", "HEAD^1", "HEAD^0", "HEAD~1^2", "main", "main~2", "refs/heads/main", "HEAD^{}", "HEAD^{commit}",
			sha("main"), strings.ToUpper(sha("main")), sha("main")[:8], sha("main~3"), sha("main~3")[:7] + "~1",
			"v1", "refs/tags/v1", "v1~2", "beef", "beef^", "other", "other~1", "heads/other",
			"HEAD~69", sha("main~60"), sha("main~70")[:10], // older than what a first fetch brings
		} {
			t.Run(rev+" "+place, func(t *testing.T) {
				got, err := r.At(t.Context(), rev)
				if err != nil {
					t.Fatal(err)
				}
				if want := sha(rev + "^{commit}"); got.Commit != want {
					t.Errorf("at %s, want %s", got.Commit, want)
				}
				if _, err := got.Files.Open("a"); err != nil {
					t.Error(err)
				}
			})
		}

		for rev, want := range map[string]error{
			strings.Repeat("ab", 20): source.ErrCommitNotFound,
			dangling + "~1":          source.ErrCommitNotFound,
			"abcdef1234":             source.ErrCommitNotFound,
			"no-such-branch":         source.ErrCommitNotFound,
			"HEAD^3":                 source.ErrCommitNotFound,
			"HEAD~400":               source.ErrCommitNotFound,
			"":                       source.ErrRevision,
			"main..other":            source.ErrRevision,
			"main@{yesterday}":       source.ErrRevision,
			":/words":                source.ErrRevision,
			"main:a":                 source.ErrRevision,
		} {
			t.Run("not there, said clearly: "+rev+" "+place, func(t *testing.T) {
				_, err := r.At(t.Context(), rev)
				isError(t, err, want)
			})
		}

		t.Run("it does not change what Fetch returns, "+place, func(t *testing.T) {
			if again := fetch(t, r); again.Commit != snap.Commit || again.Rewound != "" {
				t.Errorf("at %s rewound %q", again.Commit, again.Rewound)
			}
		})
		if server == nil {
			continue
		}

		t.Run("what is at hand needs no remote", func(t *testing.T) {
			server.Close()
			for _, rev := range []string{"HEAD", "HEAD~2", sha("main~3"), sha("main~3")[:9]} {
				if _, err := r.At(t.Context(), rev); err != nil {
					t.Error(err)
				}
			}
		})
	}

	t.Run("works before the first Fetch", func(t *testing.T) {
		_, address := origin.serve()
		for _, rev := range []string{"HEAD", sha("main~60"), sha("main~60")[:9], "other"} {
			r := open(t, source.Options{URL: address, Branch: "main"})
			if got, err := r.At(t.Context(), rev); err != nil || got.Commit != sha(rev) {
				if rev == "HEAD" && got.Commit == sha("main") {
					continue
				}
				t.Errorf("%s: at %s, %v", rev, got.Commit, err)
			}
		}
	})

	t.Run("after a full clone new commits still arrive one by one", func(t *testing.T) {
		origin := newRepo(t)
		root := origin.commit("a", "1")
		origin.grow(60)
		server, address := origin.serve()
		parent := t.TempDir()
		r := open(t, source.Options{URL: address, CacheDir: parent})
		fetch(t, r)
		if _, err := r.At(t.Context(), root); err != nil {
			t.Fatal(err)
		}
		if n := history(t, parent); n != "61" {
			t.Errorf("%s commits, want all 61", n)
		}
		tip := origin.grow(80)
		packs := server.packs.Load()
		if got := fetch(t, r); got.Commit != tip || server.packs.Load() != packs+1 {
			t.Errorf("at %s after %d fetches", got.Commit, server.packs.Load()-packs)
		}
		if n := history(t, parent); n != "141" {
			t.Errorf("%s commits, want all 141", n)
		}
		origin.git("checkout", "-q", "-b", "late", "main~90")
		late := origin.commit("late", "1")
		if _, err := r.At(t.Context(), late); err != nil {
			t.Errorf("a commit on a new branch: %v", err)
		}
	})

	t.Run("the remote's error passes through", func(t *testing.T) {
		server, address := origin.serve()
		server.guard(refuse(401))
		_, err := open(t, source.Options{URL: address}).At(t.Context(), "other")
		isError(t, err, source.ErrAuth, "reading other of "+address)
	})
}

func TestSince(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "1")
	origin.git("checkout", "-q", "-b", "side")
	origin.commit("side", "1")
	origin.commit("side", "2")
	origin.git("checkout", "-q", "main")
	from := origin.commit("a", "2")
	origin.commit("a", "3")
	origin.git("merge", "-q", "-m", "Merge side", "side")
	origin.git("commit", "-q", "--allow-empty", "-m", "last\n\nsyncer-allow: prune")
	_, address := origin.serve()

	for place, url := range map[string]string{"over http": address, "on disk": origin.dir} {
		r := open(t, source.Options{URL: url, Branch: "main"})
		fetch(t, r)
		since := func(t *testing.T, from, to string) []source.Commit {
			t.Helper()
			got, err := r.Since(t.Context(), from, to)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		hashes := func(list []source.Commit) string {
			var all []string
			for _, c := range list {
				all = append(all, c.Hash)
			}
			return strings.Join(all, "\n")
		}

		t.Run("lists what git log lists, merged branches included, "+place, func(t *testing.T) {
			got := since(t, from, "HEAD")
			want := map[string]bool{}
			for hash := range strings.FieldsSeq(origin.git("rev-list", from+"..main")) {
				want[hash] = true
			}
			have := map[string]bool{}
			for _, c := range got {
				have[c.Hash] = true
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
			if got[0].Subject != "last" || got[0].Message != "last\n\nsyncer-allow: prune" || got[0].Author != "Ada <ada@example.com>" {
				t.Errorf("the newest is %+v", got[0])
			}
		})
		t.Run("a log lists every commit, and no more than it is asked for, "+place, func(t *testing.T) {
			for _, limit := range []int{3, 100} {
				got, err := r.Log(t.Context(), "HEAD", limit)
				if err != nil {
					t.Fatal(err)
				}
				all := strings.Fields(origin.git("rev-list", "main"))
				if len(got) != min(limit, len(all)) || got[0].Subject != "last" {
					t.Errorf("of %d: %d commits, want %d: %+v", limit, len(got), min(limit, len(all)), got)
				}
				for _, c := range got {
					if !slices.Contains(all, c.Hash) {
						t.Errorf("%s is not on the branch", c.Hash)
					}
				}
			}
		})
		t.Run("an empty start gives the commit alone, "+place, func(t *testing.T) {
			if got := since(t, "", "HEAD"); hashes(got) != origin.git("rev-parse", "main") {
				t.Errorf("got %s", hashes(got))
			}
		})
		t.Run("nothing new is an empty list, "+place, func(t *testing.T) {
			if got := since(t, "HEAD", from); len(got) != 0 {
				t.Errorf("got %s", hashes(got))
			}
		})
		// What a rewritten history says to commits that are gone is not said to this one.
		t.Run("of a start that is not at hand nothing came since but the end, "+place, func(t *testing.T) {
			if got := since(t, strings.Repeat("ab", 20), "HEAD"); len(got) != 1 {
				t.Errorf("%d commits, want the end alone", len(got))
			}
		})
		t.Run("an end that does not exist is an error, "+place, func(t *testing.T) {
			_, err := r.Since(t.Context(), "", "nothing")
			isError(t, err, source.ErrCommitNotFound, "up to nothing")
		})
	}

	t.Run("children come before their parents whatever the clocks say", func(t *testing.T) {
		skewed := newRepo(t)
		var in strings.Builder
		for i, when := range []int{500, 900, 100, 700} {
			fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Bot <bot@example.com> %d +0000\ndata 1\n%d\n", when, i)
		}
		skewed.feed(in.String(), "fast-import", "--quiet")
		got, err := open(t, source.Options{URL: skewed.dir}).Since(t.Context(), "main~3", "main")
		if err != nil {
			t.Fatal(err)
		}
		var subjects string
		for _, c := range got {
			subjects += c.Subject
		}
		if subjects != "321" {
			t.Errorf("order %s, want 321", subjects)
		}
	})

	if _, err := open(t, source.Options{URL: origin.dir}).Since(t.Context(), "a..b", "HEAD"); !errors.Is(err, source.ErrRevision) {
		t.Errorf("error %v", err)
	}
}
