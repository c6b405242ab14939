package source_test

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

// hashes lists what Objects returned, sorted.
func hashes(found source.Objects) []string {
	var out []string
	for _, each := range found.Commits {
		out = append(out, each.Hash)
	}
	slices.Sort(out)
	return out
}

func sorted(list ...string) []string { slices.Sort(list); return list }

func objects(t *testing.T, r *source.Repository, to string, reach source.Reach) source.Objects {
	t.Helper()
	found, err := r.Objects(t.Context(), to, reach)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// merged makes a repository with two commits on main, one on a side branch from before the second, and their merge.
func merged(t *testing.T) (origin *repo, base, second, side, merge string) {
	t.Helper()
	origin = newRepo(t)
	base = origin.commit("a", "1")
	origin.git("checkout", "-q", "-b", "side")
	side = origin.commit("b", "1")
	origin.git("checkout", "-q", "main")
	second = origin.commit("a", "2")
	origin.git("merge", "-q", "--no-ff", "-m", "merge", "side")
	return origin, base, second, side, origin.git("rev-parse", "HEAD")
}

func TestObjectsFollowEveryParent(t *testing.T) {
	t.Parallel()
	origin, base, second, side, merge := merged(t)
	_, address := origin.serve()
	for name, url := range map[string]string{"http": address, "local": origin.dir} {
		t.Run(name, func(t *testing.T) {
			r := open(t, source.Options{URL: url, Branch: "main"})
			fetch(t, r)
			if got, want := hashes(objects(t, r, merge, source.Reach{Most: 10})), sorted(base, second, side, merge); !slices.Equal(got, want) {
				t.Errorf("all: %v, want %v", got, want)
			}
			if got, want := hashes(objects(t, r, merge, source.Reach{Most: 10, Without: []string{second}})), sorted(side, merge); !slices.Equal(got, want) {
				t.Errorf("without the second one and what it leads to: %v, want %v", got, want)
			}
			if got, want := hashes(objects(t, r, merge, source.Reach{Most: 10, FirstParent: true})), sorted(base, second, merge); !slices.Equal(got, want) {
				t.Errorf("first parents: %v, want %v", got, want)
			}
			if got := hashes(objects(t, r, base, source.Reach{Most: 10, Without: []string{merge}})); !slices.Equal(got, []string{base}) {
				t.Errorf("a commit from before the known one: %v, want it alone", got)
			}
			if found := objects(t, r, merge, source.Reach{Most: 2}); !found.More || len(found.Commits) != 2 || found.Commits[0].Hash != merge {
				t.Errorf("at most two: %d commits, more: %v", len(found.Commits), found.More)
			}
			raw, err := exec.Command("git", "-C", origin.dir, "cat-file", "commit", merge).Output()
			if first := objects(t, r, merge, source.Reach{Most: 1}).Commits[0]; err != nil || !bytes.Equal(first.Raw, raw) || !slices.Equal(first.Parents, []string{second, side}) {
				t.Errorf("%v: got %q with parents %v, git has %q", err, first.Raw, first.Parents, raw)
			}
		})
	}
}

func TestObjectsFetchMissingHistory(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	first := origin.commit("a", "1")
	origin.grow(120) // more than a first fetch brings
	head := origin.commit("a", "2")
	server, address := origin.serve()
	r := open(t, source.Options{URL: address, Branch: "main", CacheDir: t.TempDir()})
	snap := fetch(t, r)

	packs := server.packs.Load()
	if found := objects(t, r, head, source.Reach{Most: 1000, FirstParent: true}); found.Missing == "" || len(found.Commits) >= 122 || server.packs.Load() != packs {
		t.Errorf("first parents: %d commits, missing %q, and history was fetched: %v", len(found.Commits), found.Missing, server.packs.Load() != packs)
	}
	found := objects(t, r, head, source.Reach{Most: 1000, Without: []string{first}})
	if found.Missing != "" || len(found.Commits) != 121 {
		t.Errorf("%d commits, missing %q; want the 121 since the first", len(found.Commits), found.Missing)
	}
	holds(t, snap, "a", "2") // the snapshot stays readable
	packs = server.packs.Load()
	if again := objects(t, r, head, source.Reach{Most: 1000, Without: []string{first}}); len(again.Commits) != 121 || server.packs.Load() != packs {
		t.Error("the history was fetched twice")
	}
	if next := origin.commit("a", "3"); fetch(t, r).Commit != next {
		t.Error("the repository does not follow the branch any more")
	}
}

func TestObjectsOfAShallowServer(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	first := origin.commit("a", "1")
	origin.commit("a", "2")
	head := origin.commit("a", "3")
	shallow := newRepo(t)
	shallow.git("fetch", "-q", "--depth", "2", "file://"+origin.dir, "main")
	shallow.git("reset", "-q", "--hard", "FETCH_HEAD")
	_, address := shallow.serve()
	for name, url := range map[string]string{"http": address, "local": shallow.dir} {
		t.Run(name, func(t *testing.T) {
			r := open(t, source.Options{URL: url, Branch: "main"})
			fetch(t, r)
			if found := objects(t, r, head, source.Reach{Most: 1000, Without: []string{strings.Repeat("0", 39) + "1"}}); found.Missing != first || len(found.Commits) != 2 || len(found.Unknown) != 1 {
				t.Errorf("%d commits, missing %q; want 2, and %s", len(found.Commits), found.Missing, first)
			}
		})
	}
}

func TestObjectsOfAnUnknownRevision(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "1")
	r := open(t, source.Options{URL: origin.dir, Branch: "main"})
	_, err := r.Objects(t.Context(), strings.Repeat("1", 40), source.Reach{Most: 1})
	isError(t, err, source.ErrCommitNotFound)
	_, err = r.Objects(t.Context(), "a..b", source.Reach{Most: 1})
	isError(t, err, source.ErrRevision)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Objects(canceled, "HEAD", source.Reach{Most: 1})
	isError(t, err, context.Canceled)
}
