// Package gitfiles reads the objects of a git repository for many goroutines at once, and gives the files of a commit as a
// read-only fs.FS straight over them, without a working directory. It knows no refs and no history, reaches no server, and
// writes nothing.
package gitfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

var errLinkLoop = errors.New("too many symbolic links: is it a loop?")

// FS is a commit as a file system. Folders are in memory; a file is read when it is opened.
type FS struct {
	store *Store
	root  *dir
	time  time.Time
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// Spoiled reports whether an object of the store that it reads from ought to be there and could not be read.
func (f *FS) Spoiled() bool { return f.store.Spoiled() }

// Open opens a file or a folder. Links are followed.
func (f *FS) Open(name string) (fs.File, error) {
	e, err := f.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	info := f.info(path.Base(name), e)
	if e.dir != nil {
		return &openDir{files: f, info: info, name: name}, nil
	}
	return &openFile{info: info, name: name}, nil
}

// ReadFile returns the content of a file. Links are followed.
func (f *FS) ReadFile(name string) ([]byte, error) {
	e, err := f.resolve("readfile", name, true)
	if err != nil {
		return nil, err
	}
	if e.dir != nil {
		return nil, &fs.PathError{Op: "readfile", Path: name, Err: errors.New("is a directory")}
	}
	data, err := f.store.blob(e.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readfile", Path: name, Err: err}
	}
	return data, nil
}

// ReadDir lists a folder, sorted by name. Links in it are listed as links.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.resolve("readdir", name, true)
	if err != nil {
		return nil, err
	}
	return f.list(name, e)
}

func (f *FS) list(name string, e entry) ([]fs.DirEntry, error) {
	if e.dir == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	if e.mode == filemode.Submodule {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: ErrSubmodule}
	}
	list := make([]fs.DirEntry, len(e.dir.entries))
	for i, item := range e.dir.entries {
		list[i] = f.info(item.name, item)
	}
	return list, nil
}

// Stat describes the target of a path. It follows links.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes a path. It does not follow a link at its end.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := f.resolve(op, name, follow)
	if err != nil {
		return nil, err
	}
	return f.info(path.Base(name), e).Info()
}

// Identity names the target of a path by git's own hash, without reading it. It follows links. Two files have the same
// identity if and only if they hold the same bytes. Two folders of one identity hold the same at any depth, where a link
// counts as its text.
func (f *FS) Identity(name string) (id string, folder bool, err error) {
	e, err := f.resolve("identity", name, true)
	if err != nil {
		return "", false, err
	}
	if e.dir != nil {
		return e.dir.hash.String(), true, nil
	}
	return e.hash.String(), false, nil
}

// RealPath is the path of a path's target, without a symbolic link in it.
func (f *FS) RealPath(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: "realpath", Path: name, Err: fs.ErrInvalid}
	}
	_, names, err := f.walk(name, true)
	if err != nil {
		return "", &fs.PathError{Op: "realpath", Path: name, Err: err}
	}
	return path.Join(append([]string{"."}, names...)...), nil
}

// ReadLink returns where a link points.
func (f *FS) ReadLink(name string) (string, error) {
	e, err := f.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := f.link(e)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

// longestLink is the most of a link's text, in bytes, as in Linux.
const longestLink = 4096

// link is the text of a link.
func (f *FS) link(e entry) ([]byte, error) {
	target, err := f.store.blob(e.hash)
	if err == nil && len(target) > longestLink {
		return nil, fmt.Errorf("a symbolic link has more than %d bytes", longestLink)
	}
	return target, err
}

// resolve walks a path from the root as a kernel does: ".." in the target of a
// link is the parent of the folder where the walk stands.
func (f *FS) resolve(op, name string, follow bool) (entry, error) {
	if !fs.ValidPath(name) {
		return entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if e, ok := f.direct(name); ok {
		return e, nil
	}
	e, _, err := f.walk(name, follow)
	if err != nil {
		return entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

// direct resolves a path without links, which is most of them, without memory of its own. It reports false for all other
// paths.
func (f *FS) direct(name string) (entry, bool) {
	at := entry{mode: filemode.Dir, dir: f.root}
	for part := range strings.SplitSeq(name, "/") {
		if part == "." {
			continue
		}
		if at.dir == nil || at.mode == filemode.Submodule {
			return entry{}, false
		}
		next, ok := at.dir.find(part)
		if !ok || next.mode == filemode.Symlink {
			return entry{}, false
		}
		at = next
	}
	return at, true
}

// walk also returns the names on the way from the root, without links.
func (f *FS) walk(name string, follow bool) (at entry, names []string, err error) {
	stack := []entry{{mode: filemode.Dir, dir: f.root}} // the folders walked through, then the current thing
	todo := steps(name, "")
	for links := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		here := stack[len(stack)-1]
		if here.mode == filemode.Submodule {
			return entry{}, nil, fmt.Errorf("%s %w", strings.Join(names, "/"), ErrSubmodule)
		}
		if here.dir == nil { // a file in the middle of a path
			return entry{}, nil, fs.ErrNotExist
		}
		switch next.name {
		case "", ".":
			continue
		case "..":
			if len(names) == 0 {
				return entry{}, nil, fmt.Errorf("%w: %s", ErrOutside, next.link)
			}
			stack, names = stack[:len(stack)-1], names[:len(names)-1]
			continue
		}
		e, ok := here.dir.find(next.name)
		if !ok {
			return entry{}, nil, fs.ErrNotExist
		}
		if e.mode != filemode.Symlink || (len(todo) == 0 && !follow) {
			stack, names = append(stack, e), append(names, next.name)
			continue
		}
		if links++; links > maxLinks {
			return entry{}, nil, errLinkLoop
		}
		target, err := f.link(e)
		if err != nil {
			return entry{}, nil, err
		}
		link := fmt.Sprintf("%s points to %s", path.Join(append(names[:len(names):len(names)], next.name)...), target)
		if bytes.HasPrefix(target, []byte("/")) {
			return entry{}, nil, fmt.Errorf("%w: %s", ErrOutside, link)
		}
		todo = append(steps(string(target), link), todo...)
	}
	return stack[len(stack)-1], names, nil
}

// step is one name on a path, with the link whose target it comes from.
type step struct{ name, link string }

func steps(name, link string) []step {
	var list []step
	for part := range strings.SplitSeq(name, "/") {
		list = append(list, step{part, link})
	}
	return list
}

func (f *FS) info(name string, e entry) *fileInfo {
	return &fileInfo{files: f, name: name, entry: e}
}

// fileInfo is both a directory entry and, with its size known, a FileInfo.
type fileInfo struct {
	files *FS
	name  string
	entry entry
	size  int64
}

func (i *fileInfo) Name() string               { return i.name }
func (i *fileInfo) Size() int64                { return i.size }
func (i *fileInfo) ModTime() time.Time         { return i.files.time }
func (i *fileInfo) IsDir() bool                { return i.entry.dir != nil }
func (i *fileInfo) Sys() any                   { return nil }
func (i *fileInfo) Type() fs.FileMode          { return i.Mode().Type() }
func (i *fileInfo) String() string             { return fs.FormatDirEntry(i) }
func (i *fileInfo) Info() (fs.FileInfo, error) { return i.sized() }

func (i *fileInfo) Mode() fs.FileMode {
	switch i.entry.mode {
	case filemode.Dir, filemode.Submodule:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Executable:
		return 0o555
	default:
		return 0o444
	}
}

func (i *fileInfo) sized() (*fileInfo, error) {
	if i.entry.dir != nil {
		return i, nil
	}
	size, err := i.files.store.size(i.entry.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: i.name, Err: err}
	}
	sized := *i
	sized.size = size
	return &sized, nil
}

// openFile reads its content at the first Read.
type openFile struct {
	info    *fileInfo
	name    string
	content *bytes.Reader
	closed  bool
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info.sized() }

func (f *openFile) Read(b []byte) (int, error) {
	if f.closed {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrClosed}
	}
	if f.content == nil {
		data, err := f.info.files.store.blob(f.info.entry.hash)
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
		}
		f.content = bytes.NewReader(data)
	}
	return f.content.Read(b)
}

func (f *openFile) Close() error {
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed, f.content = true, nil
	return nil
}

type openDir struct {
	files  *FS
	info   *fileInfo
	name   string
	next   int
	closed bool
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDir) Close() error {
	if d.closed {
		return &fs.PathError{Op: "close", Path: d.name, Err: fs.ErrClosed}
	}
	d.closed = true
	return nil
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: fs.ErrClosed}
	}
	all, err := d.files.list(d.name, d.info.entry)
	if err != nil {
		return nil, err
	}
	rest := all[d.next:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.next += len(rest)
	return rest, nil
}
