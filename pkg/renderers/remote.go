package renderers

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/syncerdev/syncer/pkg/render"
)

// remote is the files of a pool as its worker sees them: each path is asked for once a build. One goroutine uses it.
type remote struct {
	ask  func(question) (look, error)
	kept *contents
	seen map[string]look
}

var (
	_ fs.StatFS     = (*remote)(nil)
	_ fs.ReadFileFS = (*remote)(nil)
	_ fs.ReadDirFS  = (*remote)(nil)
)

func newRemote(ask func(question) (look, error), kept *contents) *remote {
	return &remote{ask: ask, kept: kept, seen: map[string]look{}}
}

// look looks at a path. The pool is asked if it did not tell yet.
func (r *remote) look(q question) (look, error) {
	l, ok := r.seen[q.Name]
	if ok && (!q.Entries || l.HasEntries || l.ListError != nil) && !q.Content {
		return l, nil
	}
	l, err := r.ask(q)
	if err != nil {
		return look{}, err
	}
	if l.HasContent {
		r.kept.add(l.Identity, l.Size, l.Content)
	}
	r.seen[q.Name] = l
	return l, nil
}

// Identity names a file as the pool's files do.
func (r *remote) Identity(name string) (id string, folder bool, err error) {
	l, err := r.look(question{Name: name})
	switch {
	case err != nil:
		return "", false, err
	case l.Kind == render.IsNothing:
		return "", false, fs.ErrNotExist
	case l.Kind != render.IsFile && l.Kind != render.IsFolder:
		return "", false, &arrived{text: l.Kind}
	}
	return l.Identity, l.Kind == render.IsFolder, nil
}

// RealPath is the path without links.
func (r *remote) RealPath(name string) (string, error) {
	l, err := r.look(question{Name: name})
	if err != nil {
		return "", err
	}
	if l.RealError != nil {
		return "", l.RealError.err()
	}
	return l.Real, nil
}

// Open implements fs.FS.
func (r *remote) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid} // a build reads files whole
}

// Stat implements fs.StatFS.
func (r *remote) Stat(name string) (fs.FileInfo, error) {
	l, err := r.look(question{Name: name})
	if err != nil {
		return nil, err
	}
	if l.StatError != nil {
		return nil, l.StatError.err()
	}
	return info{name: path.Base(name), size: l.Size, kind: kindMode(l.Kind)}, nil
}

// ReadFile implements fs.ReadFileFS.
func (r *remote) ReadFile(name string) ([]byte, error) {
	l, err := r.look(question{Name: name})
	if err != nil {
		return nil, err
	}
	if l.StatError != nil {
		return nil, l.StatError.err()
	}
	if l.Kind == render.IsFolder {
		return nil, &fs.PathError{Op: "readfile", Path: name, Err: fmt.Errorf("is a directory")}
	}
	if content, ok := r.kept.byIdentity[l.Identity]; ok {
		return content[:len(content):len(content)], nil
	}
	if l.HasContent {
		return l.Content, nil
	}
	if l, err = r.look(question{Name: name, Content: true}); err != nil {
		return nil, err
	}
	switch {
	case l.ReadError != nil:
		return nil, l.ReadError.err()
	case !l.HasContent:
		return nil, &fs.PathError{Op: "readfile", Path: name, Err: errWithheld}
	}
	return l.Content, nil
}

// ReadDir implements fs.ReadDirFS.
func (r *remote) ReadDir(name string) ([]fs.DirEntry, error) {
	l, err := r.look(question{Name: name, Entries: true})
	switch {
	case err != nil:
		return nil, err
	case l.StatError != nil:
		return nil, l.StatError.err()
	case l.ListError != nil:
		return nil, l.ListError.err()
	case l.Kind == render.IsFile:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fmt.Errorf("not a directory")}
	}
	entries := make([]fs.DirEntry, len(l.Entries))
	for i, e := range l.Entries {
		entries[i] = fs.FileInfoToDirEntry(info{name: e.Name, kind: e.Type})
	}
	return entries, nil
}

func kindMode(kind string) fs.FileMode {
	if kind == render.IsFolder {
		return fs.ModeDir
	}
	return 0
}

// info describes a path. The zero time is that of every file.
type info struct {
	name string
	size int64
	kind fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.kind | 0o444 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.kind.IsDir() }
func (i info) Sys() any           { return nil }

// errWithheld is met only where the pool and render judge the size of a file differently.
var errWithheld = errors.New("the pool does not send the file: it is too large")
