package source_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

	t.Run("links lead to files and folders, through links and folders", func(t *testing.T) {
		for _, name := range []string{"to-file", "to-folder/app.yaml", "through-folder", "overlay/base/app.yaml", "chain1", "self-folder/self-folder/to-file"} {
			if got, err := fs.ReadFile(onDisk, name); err != nil || string(got) != "kind: Job\n" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		entries, err := fs.ReadDir(onDisk, "overlay/base")
		if err != nil || len(entries) != 2 {
			t.Errorf("%v, %v", entries, err)
		}
		info, err := fs.Stat(onDisk, "to-file")
		if err != nil || info.Mode() != 0o444 || info.Size() != 10 || info.Name() != "to-file" {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("an executable file is one", func(t *testing.T) {
		if info, err := fs.Stat(onDisk, "run.sh"); err != nil || info.Mode() != 0o555 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("folders are sorted", func(t *testing.T) {
		entries, err := fs.ReadDir(onDisk, ".")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
			t.Errorf("%v", entries)
		}
	})
	t.Run("what is not there does not exist", func(t *testing.T) {
		for _, name := range []string{"nothing", "base/nothing", "empty/nothing", "nothing/nothing"} {
			if _, err := onDisk.Open(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("a changed copy of a file changes nothing", func(t *testing.T) {
		for range 2 {
			data, err := fs.ReadFile(onDisk, "base/app.yaml")
			if err != nil || string(data) != "kind: Job\n" {
				t.Fatalf("%q, %v", data, err)
			}
			clear(data)
		}
	})
}

// Paths lead to the same identity where they lead to the same content, in one commit and in another.
func TestIdentity(t *testing.T) {
	t.Parallel()
	type identified interface {
		Identity(name string) (id string, folder bool, err error)
	}
	r := tree(t)
	r.write("copy/app.yaml", "kind: Job\n")
	r.write("copy/deep/er/x", "deep")
	r.write("other/app.yaml", "kind: Job\n")
	r.write("other/deep/er/y", "deep")
	r.link("../../outside", "out/up")
	r.commit("done", "1")
	repository := open(t, source.Options{URL: r.dir})
	before := fetch(t, repository).Files
	r.write("a/x", "2")
	r.commit("base/deep/er/x", "deeper")
	after := fetch(t, repository).Files

	type place struct {
		files fs.FS
		name  string
	}
	var places []place
	held := map[place]string{} // what stands there, in words
	for _, files := range []fs.FS{before, after} {
		for _, name := range []string{
			"base", "copy", "other", "a", "a-b", "base/deep", "copy/deep", "to-folder", "overlay", "overlay/base",
			"base/app.yaml", "copy/app.yaml", "other/app.yaml", "to-file", "chain1", "to-folder/app.yaml", "overlay/base/deep/er/x",
			"a/x", "a-b/x", "a.txt", "empty", "large", "run.sh", "base/deep/er/x", "copy/deep/er/x", "other/deep/er/y", "done",
		} {
			at := place{files, name}
			places = append(places, at)
			info, err := fs.Stat(files, name)
			if err != nil {
				t.Fatal(err)
			}
			if held[at] = "a folder"; !info.IsDir() {
				data, err := fs.ReadFile(files, name)
				if err != nil {
					t.Fatal(err)
				}
				held[at] = "a file of " + string(data)
				continue
			}
			sub, err := fs.Sub(files, name)
			if err != nil {
				t.Fatal(err)
			}
			held[at] += fmt.Sprint(contents(t, sub))
		}
	}
	for _, a := range places {
		for _, b := range places {
			idOfA, folderA, err := a.files.(identified).Identity(a.name)
			if err != nil || folderA != strings.HasPrefix(held[a], "a folder") {
				t.Fatalf("%s: folder: %v, %v", a.name, folderA, err)
			}
			idOfB, _, err := b.files.(identified).Identity(b.name)
			if err != nil || (idOfA == idOfB) != (held[a] == held[b]) {
				t.Errorf("%s and %s: %s and %s, %v", a.name, b.name, idOfA, idOfB, err)
			}
		}
	}
	for name, want := range map[string]error{"nothing": fs.ErrNotExist, "empty/nothing": fs.ErrNotExist, "out/up": source.ErrOutside, "/base": fs.ErrInvalid} {
		if _, _, err := before.(identified).Identity(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
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

// realPather is what pkg/render asks of files.
type realPather interface {
	RealPath(name string) (string, error)
}

func TestRealPath(t *testing.T) {
	t.Parallel()
	r := tree(t)
	r.write(".hidden/.file", "1")
	r.link("../.hidden", "a/to-hidden")
	r.commit("done", "1")
	files := fetch(t, open(t, source.Options{URL: r.dir})).Files.(realPather)
	for name, want := range map[string]string{
		".": ".", "base": "base", "base/app.yaml": "base/app.yaml", "to-file": "base/app.yaml", "to-folder": "base", "chain1": "base/app.yaml",
		"through-folder": "base/app.yaml", "overlay/base/deep": "base/deep", "self-folder": ".", "self-folder/self-folder/a/x": "a/x",
		".hidden": ".hidden", "a/to-hidden/.file": ".hidden/.file",
	} {
		if got, err := files.RealPath(name); err != nil || got != want {
			t.Errorf("%s leads to %q, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"none", "base/none", "base/app.yaml/x", "../base", ""} {
		if got, err := files.RealPath(name); err == nil {
			t.Errorf("%q leads to %q, want an error", name, got)
		}
	}
}

func TestLinksThatLeadNowhere(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("in/file", "1")
	r.link("/etc/passwd", "absolute")
	r.link("../outside", "up")
	r.link("../../outside/x", "in/up-and-out")
	r.link("../..", "in/parent")
	r.link("in/up-and-out", "chain-out")
	r.link(".", "here")
	r.link("here/../x", "sly") // the words stay inside, the way does not
	r.link("gone", "dangling")
	r.link("loop2", "loop1")
	r.link("loop1", "loop2")
	r.link("endless/x", "endless")
	r.commit("done", "1")
	files := fetch(t, open(t, source.Options{URL: r.dir})).Files

	for name, c := range map[string]struct {
		want error
		says string
	}{
		"absolute":       {source.ErrOutside, "absolute points to /etc/passwd"},
		"up":             {source.ErrOutside, "up points to ../outside"},
		"up/further":     {source.ErrOutside, "up points to ../outside"},
		"in/up-and-out":  {source.ErrOutside, "in/up-and-out points to ../../outside/x"},
		"in/parent/repo": {source.ErrOutside, "in/parent points to ../.."},
		"chain-out":      {source.ErrOutside, "in/up-and-out points to ../../outside/x"},
		"sly":            {source.ErrOutside, "sly points to here/../x"},
		"dangling":       {fs.ErrNotExist, "dangling"},
		"loop1":          {nil, "too many symbolic links"},
		"endless":        {nil, "too many symbolic links"},
	} {
		t.Run(name, func(t *testing.T) {
			_, open := files.Open(name)
			_, read := fs.ReadFile(files, name)
			_, stat := fs.Stat(files, name)
			_, list := fs.ReadDir(files, name)
			_, real := files.(realPather).RealPath(name)
			for _, err := range []error{open, read, stat, list, real} {
				var inPath *fs.PathError
				if !errors.As(err, &inPath) || inPath.Path != name || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v, want one about %s that says %q", err, name, c.says)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
			}
		})
	}
	t.Run("the link itself can be looked at", func(t *testing.T) {
		if target, err := fs.ReadLink(files, "up"); err != nil || target != "../outside" {
			t.Errorf("%q, %v", target, err)
		}
		if info, err := fs.Lstat(files, "up"); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("%v, %v", info, err)
		}
	})
}

func TestSubmodule(t *testing.T) {
	t.Parallel()
	inner := newRepo(t)
	commit := inner.commit("kustomization.yaml", "secret of the submodule")
	r := newRepo(t)
	r.write("own", "1")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+commit+",vendored/sub")
	r.link("vendored/sub", "to-sub")
	r.git("add", "own", "to-sub")
	r.git("commit", "-q", "-m", "with a submodule")
	_, address := r.serve()
	files := fetch(t, open(t, source.Options{URL: address})).Files

	t.Run("it stands there as a folder", func(t *testing.T) {
		info, err := fs.Stat(files, "vendored/sub")
		if err != nil || !info.IsDir() {
			t.Errorf("%v, %v", info, err)
		}
		f, err := files.Open("vendored/sub")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.(fs.ReadDirFile).ReadDir(-1); !errors.Is(err, source.ErrSubmodule) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("reading it says why there is nothing", func(t *testing.T) {
		_, list := fs.ReadDir(files, "vendored/sub")
		_, read := fs.ReadFile(files, "vendored/sub/kustomization.yaml")
		_, linked := fs.ReadFile(files, "to-sub/kustomization.yaml")
		for _, err := range []error{list, read, linked} {
			isError(t, err, source.ErrSubmodule, "submodule", "does not follow", "sub")
		}
	})
	t.Run("the rest is readable", func(t *testing.T) {
		if data, err := fs.ReadFile(files, "own"); err != nil || string(data) != "1" {
			t.Errorf("%q, %v", data, err)
		}
	})
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
