package gitfiles_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/syncerdev/syncer/pkg/gitfiles"
)

// example is a folder with every kind of file and links of all lengths.
func example() map[string]file {
	return map[string]file{
		"base/app.yaml":  regular("kind: Job\n"),
		"base/deep/er/x": regular("deep"),
		"a-b/x":          regular("1"), // sorts before "a" as git sees a folder
		"a/x":            regular("1"),
		"a.txt":          regular("1"),
		"empty":          regular(""),
		"large":          regular(strings.Repeat("0123456789abcdef", 5000)),
		"run.sh":         {filemode.Executable, "#!/bin/sh\n"},
		"to-file":        link("base/app.yaml"),
		"to-folder":      link("base"),
		"through-folder": link("to-folder/deep/../app.yaml"),
		"overlay/base":   link("../to-folder"),
		"chain1":         link("./chain2"),
		"chain2":         link("to-file"),
		"self-folder":    link("."),
		"done":           regular("1"),
	}
}

// with adds files to others.
func with(files, more map[string]file) map[string]file {
	all := maps.Clone(files)
	maps.Copy(all, more)
	return all
}

func TestFiles(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	files := r.files(r.tree(example()))

	t.Run("is a file system by the book", func(t *testing.T) {
		err := fstest.TestFS(files, "base/app.yaml", "base/deep/er/x", "a-b/x", "a/x", "empty", "large", "run.sh", "to-file", "overlay/base")
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("files have the time of the commit", func(t *testing.T) {
		if info, err := fs.Stat(files, "base/app.yaml"); err != nil || !info.ModTime().Equal(modified) {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("links lead to files and folders, through links and folders", func(t *testing.T) {
		for _, name := range []string{"to-file", "to-folder/app.yaml", "through-folder", "overlay/base/app.yaml", "chain1", "self-folder/self-folder/to-file"} {
			if got, err := fs.ReadFile(files, name); err != nil || string(got) != "kind: Job\n" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		entries, err := fs.ReadDir(files, "overlay/base")
		if err != nil || len(entries) != 2 {
			t.Errorf("%v, %v", entries, err)
		}
		info, err := fs.Stat(files, "to-file")
		if err != nil || info.Mode() != 0o444 || info.Size() != 10 || info.Name() != "to-file" {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("an executable file is one", func(t *testing.T) {
		if info, err := fs.Stat(files, "run.sh"); err != nil || info.Mode() != 0o555 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("folders are sorted", func(t *testing.T) {
		entries, err := fs.ReadDir(files, ".")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
			t.Errorf("%v", entries)
		}
	})
	t.Run("what is not there does not exist", func(t *testing.T) {
		for _, name := range []string{"nothing", "base/nothing", "empty/nothing", "nothing/nothing"} {
			if _, err := files.Open(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("a changed copy of a file changes nothing", func(t *testing.T) {
		for range 2 {
			data, err := fs.ReadFile(files, "base/app.yaml")
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
	r := newRepo(t)
	base := with(example(), map[string]file{
		"copy/app.yaml":   regular("kind: Job\n"),
		"copy/deep/er/x":  regular("deep"),
		"other/app.yaml":  regular("kind: Job\n"),
		"other/deep/er/y": regular("deep"),
		"out/up":          link("../../outside"),
	})
	before := r.files(r.tree(base))
	after := r.files(r.tree(with(base, map[string]file{"a/x": regular("2"), "base/deep/er/x": regular("deeper")})))

	type place struct {
		files *gitfiles.FS
		name  string
	}
	var places []place
	held := map[place]string{} // what stands there, in words
	for _, files := range []*gitfiles.FS{before, after} {
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
			idOfA, folderA, err := a.files.Identity(a.name)
			if err != nil || folderA != strings.HasPrefix(held[a], "a folder") {
				t.Fatalf("%s: folder: %v, %v", a.name, folderA, err)
			}
			idOfB, _, err := b.files.Identity(b.name)
			if err != nil || (idOfA == idOfB) != (held[a] == held[b]) {
				t.Errorf("%s and %s: %s and %s, %v", a.name, b.name, idOfA, idOfB, err)
			}
		}
	}
	for name, want := range map[string]error{"nothing": fs.ErrNotExist, "empty/nothing": fs.ErrNotExist, "out/up": gitfiles.ErrOutside, "/base": fs.ErrInvalid} {
		if _, _, err := before.Identity(name); !errors.Is(err, want) {
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

func TestRealPath(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	files := r.files(r.tree(with(example(), map[string]file{".hidden/.file": regular("1"), "a/to-hidden": link("../.hidden")})))
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
	files := r.files(r.tree(map[string]file{
		"in/file":       regular("1"),
		"absolute":      link("/etc/passwd"),
		"up":            link("../outside"),
		"in/up-and-out": link("../../outside/x"),
		"in/parent":     link("../.."),
		"chain-out":     link("in/up-and-out"),
		"here":          link("."),
		"sly":           link("here/../x"), // the words stay inside, the way does not
		"dangling":      link("gone"),
		"loop1":         link("loop2"),
		"loop2":         link("loop1"),
		"endless":       link("endless/x"),
		"long":          link(strings.Repeat("x", 4097)),
	}))

	for name, c := range map[string]struct {
		want error
		says string
	}{
		"absolute":       {gitfiles.ErrOutside, "absolute points to /etc/passwd"},
		"up":             {gitfiles.ErrOutside, "up points to ../outside"},
		"up/further":     {gitfiles.ErrOutside, "up points to ../outside"},
		"in/up-and-out":  {gitfiles.ErrOutside, "in/up-and-out points to ../../outside/x"},
		"in/parent/repo": {gitfiles.ErrOutside, "in/parent points to ../.."},
		"chain-out":      {gitfiles.ErrOutside, "in/up-and-out points to ../../outside/x"},
		"sly":            {gitfiles.ErrOutside, "sly points to here/../x"},
		"dangling":       {fs.ErrNotExist, "dangling"},
		"loop1":          {nil, "too many symbolic links"},
		"endless":        {nil, "too many symbolic links"},
		"long":           {nil, "a symbolic link has more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, open := files.Open(name)
			_, read := fs.ReadFile(files, name)
			_, stat := fs.Stat(files, name)
			_, list := fs.ReadDir(files, name)
			_, real := files.RealPath(name)
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
	r := newRepo(t)
	files := r.files(r.tree(map[string]file{
		"own":          regular("1"),
		"vendored/sub": {filemode.Submodule, strings.Repeat("ab", 20)},
		"to-sub":       link("vendored/sub"),
	}))

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
		if _, err := f.(fs.ReadDirFile).ReadDir(-1); !errors.Is(err, gitfiles.ErrSubmodule) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("reading it says why there is nothing", func(t *testing.T) {
		_, list := fs.ReadDir(files, "vendored/sub")
		_, read := fs.ReadFile(files, "vendored/sub/kustomization.yaml")
		_, linked := fs.ReadFile(files, "to-sub/kustomization.yaml")
		for _, err := range []error{list, read, linked} {
			if !errors.Is(err, gitfiles.ErrSubmodule) || !strings.Contains(err.Error(), "vendored/sub is a git submodule, which syncer does not follow") &&
				!strings.Contains(err.Error(), "vendored/sub: is a git submodule, which syncer does not follow") {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("the rest is readable", func(t *testing.T) {
		if data, err := fs.ReadFile(files, "own"); err != nil || string(data) != "1" {
			t.Errorf("%q, %v", data, err)
		}
	})
}
