package source_test

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestCache(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.grow(70)
	origin.commit("a/big", strings.Repeat("line\n", 10_000))
	tip := origin.commit("a/b", "1")
	server, address := origin.serve()

	t.Run("the next process finds what the last one fetched", func(t *testing.T) {
		dir := t.TempDir()
		opts := source.Options{URL: address, CacheDir: dir}
		first := open(t, opts)
		fetch(t, first)
		if name := filepath.Base(cacheFolder(t, dir)); !strings.HasPrefix(name, "127.0.0.1-repo") {
			t.Errorf("the folder %s does not tell what is in it", name)
		}
		if n := history(t, dir); n != "50" {
			t.Errorf("%s commits of history, want 50", n)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		packs := server.packs.Load()
		got := fetch(t, open(t, opts))
		if got.Commit != tip || server.packs.Load() != packs {
			t.Errorf("at %s after %d fetches", got.Commit, server.packs.Load()-packs)
		}
		holds(t, got, "a/b", "1")
	})

	t.Run("a rotated password keeps the cache", func(t *testing.T) {
		dir := t.TempDir()
		for _, userinfo := range []string{"bob:one@", "bob:two@", ""} {
			r := open(t, source.Options{URL: strings.Replace(address, "://", "://"+userinfo, 1), CacheDir: dir})
			fetch(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		cacheFolder(t, dir) // fails when there are two
	})

	t.Run("a cache that another process holds is left alone", func(t *testing.T) {
		dir := t.TempDir()
		opts := source.Options{URL: address, CacheDir: dir}
		holder, other := open(t, opts), open(t, opts)
		fetch(t, holder)
		before := listing(t, dir)
		holds(t, fetch(t, other), "a/b", "1")
		if after := listing(t, dir); after != before {
			t.Errorf("the cache changed:\n%s\nto\n%s", before, after)
		}
	})

	t.Run("a folder that cannot be written is done without", func(t *testing.T) {
		file := secretFile(t, "not a folder")
		holds(t, fetch(t, open(t, source.Options{URL: address, CacheDir: filepath.Join(file, "cache")})), "a/b", "1")
	})

	damages := map[string]func(t *testing.T, dir string){
		"a pack cut short": func(t *testing.T, dir string) {
			pack := packOf(t, dir, ".pack")
			info, err := os.Stat(pack)
			if err != nil {
				t.Fatal(err)
			}
			truncate(t, pack, info.Size()/2)
		},
		"an empty pack": func(t *testing.T, dir string) { truncate(t, packOf(t, dir, ".pack"), 0) },
		"one wrong bit in a pack": func(t *testing.T, dir string) {
			pack := packOf(t, dir, ".pack")
			data, err := os.ReadFile(pack)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 4
			rewrite(t, pack, string(data))
		},
		"garbage for an index": func(t *testing.T, dir string) { rewrite(t, packOf(t, dir, ".idx"), strings.Repeat("garbage", 500)) },
		"no index":             func(t *testing.T, dir string) { remove(t, packOf(t, dir, ".idx")) },
		"no pack":              func(t *testing.T, dir string) { remove(t, packOf(t, dir, ".pack")) },
		"no objects":           func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "objects")) },
		"garbage for a ref":    func(t *testing.T, dir string) { rewrite(t, filepath.Join(dir, "refs/heads/main"), "garbage") },
		"a ref to nowhere": func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "refs/heads/main"), strings.Repeat("ab", 20))
		},
		"garbage for the shallow list":  func(t *testing.T, dir string) { rewrite(t, filepath.Join(dir, "shallow"), "\x00garbage\n") },
		"a folder for the shallow list": func(t *testing.T, dir string) { swapForFolder(t, filepath.Join(dir, "shallow")) },
		"an empty folder":               func(t *testing.T, dir string) { remove(t, dir); mkdir(t, dir) },
		"a file for a folder":           func(t *testing.T, dir string) { remove(t, dir); write(t, dir, "garbage") },
		"a pack that was half received": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "objects/pack/tmp_pack_123"), "PACK")
			remove(t, packOf(t, dir, ".pack"))
			remove(t, packOf(t, dir, ".idx"))
		},
		"a cache that was half replaced": func(t *testing.T, dir string) {
			if err := os.Rename(dir, dir+".new-123"); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run("a damaged cache is replaced: "+name, func(t *testing.T) {
			parent := t.TempDir()
			opts := source.Options{URL: address, Branch: "main", CacheDir: parent}
			first := open(t, opts)
			fetch(t, first)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, cacheFolder(t, parent))
			second := open(t, opts)
			got := fetch(t, second)
			if got.Commit != tip {
				t.Errorf("at %s, want %s", got.Commit, tip)
			}
			holds(t, got, "a/b", "1")
			holds(t, got, "count", "69")
			if _, err := second.At(t.Context(), "HEAD~60"); err != nil {
				t.Errorf("history: %v", err)
			}
		})
	}

	t.Run("a cache damaged under a running process is replaced at the next fetch", func(t *testing.T) {
		parent := t.TempDir()
		r := open(t, source.Options{URL: address, CacheDir: parent})
		snap := fetch(t, r)
		truncate(t, packOf(t, cacheFolder(t, parent), ".pack"), 40)
		if _, err := snap.Files.Open("a/b"); err != nil {
			t.Errorf("folders are in memory: %v", err)
		}
		read := func(s source.Snapshot) error {
			f, err := s.Files.Open("a/big")
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.ReadAll(f)
			return err
		}
		if err := read(snap); err == nil {
			t.Error("read what is not there")
		}
		got := fetch(t, r)
		if got.Commit != tip || read(got) != nil {
			t.Errorf("at %s, %v", got.Commit, read(got))
		}
	})

	t.Run("a cache deleted under a running process keeps what it holds", func(t *testing.T) {
		origin := newRepo(t)
		origin.commit("a", "1")
		_, address := origin.serve()
		parent := t.TempDir()
		r := open(t, source.Options{URL: address, CacheDir: parent})
		snap := fetch(t, r)
		remove(t, cacheFolder(t, parent))
		next := origin.commit("b", "2")
		got := fetch(t, r)
		if got.Commit != next {
			t.Errorf("at %s, want %s", got.Commit, next)
		}
		holds(t, got, "a", "1")
		holds(t, got, "b", "2")
		holds(t, snap, "a", "1")
	})

	t.Run("a cache that lacks a part is replaced when new commits build on it", func(t *testing.T) {
		origin := newRepo(t)
		origin.commit("a", "1")
		_, address := origin.serve()
		parent := t.TempDir()
		opts := source.Options{URL: address, CacheDir: parent}
		first := open(t, opts)
		fetch(t, first)
		pack := packOf(t, cacheFolder(t, parent), ".pack")
		origin.commit("b", "2")
		fetch(t, first)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		remove(t, pack)
		remove(t, strings.TrimSuffix(pack, ".pack")+".idx")
		origin.commit("c", "3")
		got := fetch(t, open(t, opts))
		holds(t, got, "a", "1")
		holds(t, got, "c", "3")
		history(t, parent)
	})

	t.Run("a disk that fails later on is done without", func(t *testing.T) {
		origin := newRepo(t)
		origin.commit("a", "1")
		_, address := origin.serve()
		parent := filepath.Join(t.TempDir(), "cache")
		r := open(t, source.Options{URL: address, CacheDir: parent})
		snap := fetch(t, r)
		remove(t, parent)
		write(t, parent, "no folder any more")
		for _, text := range []string{"2", "3"} {
			origin.commit("a", text)
			holds(t, fetch(t, r), "a", text)
		}
		holds(t, snap, "a", "1")
	})

	t.Run("packs do not pile up", func(t *testing.T) {
		origin := newRepo(t)
		_, address := origin.serve()
		parent := t.TempDir()
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: parent, RequireFastForward: true})
		source.LimitPacks(r, 3)
		for i := range 8 {
			origin.commit("a", strconv.Itoa(i))
			holds(t, fetch(t, r), "a", strconv.Itoa(i))
			if found, err := filepath.Glob(filepath.Join(cacheFolder(t, parent), "objects/pack/*.pack")); err != nil || len(found) > 3 {
				t.Errorf("%d packs, %v", len(found), err)
			}
		}
		history(t, parent)
	})

	t.Run("a snapshot stays readable after later fetches, a full clone and Close", func(t *testing.T) {
		origin := newRepo(t)
		root := origin.commit("a", "1")
		origin.grow(60)
		_, address := origin.serve()
		r := open(t, source.Options{URL: address, CacheDir: t.TempDir()})
		snap := fetch(t, r)
		origin.commit("a", "2")
		next := fetch(t, r)
		old, err := r.At(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, snap, "a", "1")
		holds(t, next, "a", "2")
		holds(t, old, "a", "1")
	})

	t.Run("fetch after fetch leaves a sound cache", func(t *testing.T) {
		origin := newRepo(t)
		origin.grow(55)
		_, address := origin.serve()
		parent := t.TempDir()
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: parent})
		for i, n := range []int{1, 1, 7, 48, 49, 50, 51, 3} {
			tip := origin.grow(n)
			got := fetch(t, r)
			if got.Commit != tip || got.Rewound != "" {
				t.Fatalf("round %d: at %s rewound %q, want %s", i, got.Commit, got.Rewound, tip)
			}
			holds(t, got, "count", strconv.Itoa(n-1))
			history(t, parent)
		}
	})
}

// listing tells names and times of all files in a folder.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.ModTime().String() + " " + strconv.FormatInt(info.Size(), 10) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func packOf(t testing.TB, dir, ext string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "objects/pack/*"+ext))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s in %s: %v", ext, dir, err)
	}
	return found[0]
}

func truncate(t testing.TB, file string, size int64) {
	t.Helper()
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t testing.TB, file, content string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	write(t, file, content)
}

func remove(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func swapForFolder(t testing.TB, path string) {
	t.Helper()
	remove(t, path)
	mkdir(t, path)
}
