package source_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/source"
)

// link makes a symbolic link in the work tree.
func (r *repo) link(target, name string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(r.dir, name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

func tree(t testing.TB) *repo {
	t.Helper()
	r := newRepo(t)
	r.write("base/app.yaml", "kind: Job\n")
	r.write("base/deep/er/x", "deep")
	r.write("a-b/x", "1") // sorts before "a" as git sees a folder
	r.write("a/x", "1")
	r.write("a.txt", "1")
	r.write("empty", "")
	r.write("large", strings.Repeat("0123456789abcdef", 5000))
	r.write("run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(r.dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.link("base/app.yaml", "to-file")
	r.link("base", "to-folder")
	r.link("to-folder/deep/../app.yaml", "through-folder")
	r.link("../to-folder", "overlay/base")
	r.link("./chain2", "chain1")
	r.link("to-file", "chain2")
	r.link(".", "self-folder")
	return r
}

func TestFiles(t *testing.T) {
	t.Parallel()
	r := tree(t)
	r.commit("done", "1")
	_, address := r.serve()
	fromCache := fetch(t, open(t, source.Options{URL: address, CacheDir: t.TempDir()})).Files
	fromMemory := fetch(t, open(t, source.Options{URL: address})).Files
	onDisk := fetch(t, open(t, source.Options{URL: r.dir})).Files

	for name, files := range map[string]fs.FS{"from a cache": fromCache, "from memory": fromMemory, "from a local repository": onDisk} {
		t.Run("is a file system by the book, "+name, func(t *testing.T) {
			err := fstest.TestFS(files, "base/app.yaml", "base/deep/er/x", "a-b/x", "a/x", "empty", "large", "run.sh", "to-file", "overlay/base")
			if err != nil {
				t.Error(err)
			}
		})
		t.Run("has what the work tree has, "+name, func(t *testing.T) {
			if diff := cmp.Diff(contents(t, os.DirFS(r.dir)), contents(t, files)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// contents reads every file that can be read, by its path.
func contents(t testing.TB, files fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == ".git" {
			return fs.SkipDir
		}
		if info, err := fs.Stat(files, path); err != nil || info.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A submodule has no objects in the repository; the rest of a commit is whole and readable.
func TestSubmodule(t *testing.T) {
	t.Parallel()
	inner := newRepo(t)
	commit := inner.commit("kustomization.yaml", "secret of the submodule")
	r := newRepo(t)
	r.write("own", "1")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+commit+",vendored/sub")
	r.git("add", "own")
	r.git("commit", "-q", "-m", "with a submodule")
	_, address := r.serve()
	for _, url := range []string{address, r.dir} {
		files := fetch(t, open(t, source.Options{URL: url})).Files
		if data, err := fs.ReadFile(files, "own"); err != nil || string(data) != "1" {
			t.Errorf("%q, %v", data, err)
		}
		_, err := fs.ReadFile(files, "vendored/sub/kustomization.yaml")
		isError(t, err, source.ErrSubmodule, "submodule", "does not follow", "sub")
	}
}

func TestManyReaders(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	for i := range 40 {
		origin.write(fmt.Sprintf("p%d/x/f", i), strings.Repeat(fmt.Sprint(i), 9000))
	}
	origin.commit("count", "0")
	_, address := origin.serve()
	for name, url := range map[string]string{"cache": address, "disk": origin.dir} {
		t.Run("snapshots can be read while others are fetched, "+name, func(t *testing.T) {
			r := open(t, source.Options{URL: url, CacheDir: t.TempDir()})
			snap := fetch(t, r)
			var readers sync.WaitGroup
			for range 8 {
				readers.Go(func() {
					for i := range 40 {
						name := fmt.Sprintf("p%d/x/f", i)
						f, err := snap.Files.Open(name)
						if err != nil {
							t.Error(err)
							return
						}
						data, err := io.ReadAll(f)
						if err != nil || string(data) != strings.Repeat(fmt.Sprint(i), 9000) {
							t.Errorf("%s: %d bytes, %v", name, len(data), err)
						}
						f.Close()
						if _, err := fs.Stat(snap.Files, name); err != nil {
							t.Error(err)
						}
					}
				})
			}
			readers.Go(func() {
				if _, err := r.At(t.Context(), "HEAD"); err != nil {
					t.Error(err)
				}
			})
			for i := range 3 {
				origin.commit("count", name+fmt.Sprint(i))
				holds(t, fetch(t, r), "count", name+fmt.Sprint(i))
			}
			readers.Wait()
		})
	}
}

func TestFoldersAreInMemory(t *testing.T) {
	t.Parallel()
	origin := tree(t)
	origin.commit("done", "1")
	_, address := origin.serve()
	parent := t.TempDir()
	snap := fetch(t, open(t, source.Options{URL: address, CacheDir: parent}))
	walk := func() (n int) {
		err := fs.WalkDir(snap.Files, ".", func(_ string, _ fs.DirEntry, err error) error {
			n++
			return err
		})
		if err != nil {
			t.Errorf("a walk reads objects again: %v", err)
		}
		return n
	}
	before := walk()
	truncate(t, packOf(t, cacheFolder(t, parent), ".pack"), 0)
	if after := walk(); after != before {
		t.Errorf("%d entries, then %d", before, after)
	}
}
