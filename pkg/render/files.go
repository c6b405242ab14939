package render

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// repository shows a read-only fs.FS to kustomize as the root of its file system. It inspects each kustomization as
// kustomize reads it. kustomize loads only files and folders that such a file names, so that a remote one is always
// refused before it is loaded.
//
// One repository serves one build and is not safe for concurrent use.
type repository struct {
	files    fs.FS
	limits   Limits
	found    map[string]int64 // by file that was read: its bytes
	bytes    int64            // of them all
	data     map[string]bool  // files that generators take as they are
	alone    bool             // no other build runs, so kustomize's schema may be replaced
	refused  error            // the first refusal; after it nothing more is read
	last     string           // the file read last
	nameless error            // explains the last object that was read and has generateName in place of a name
}

var _ filesys.FileSystem = (*repository)(nil)

func newRepository(files fs.FS, limits Limits) *repository {
	return &repository{files: files, limits: limits, found: map[string]int64{}, data: map[string]bool{}}
}

// read returns the content of a file, within the limits.
func (r *repository) read(name string) ([]byte, error) {
	info, err := fs.Stat(r.files, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > r.limits.FileBytes {
		return nil, r.tooLarge(name, info.Size())
	}
	data, err := readWhole(r.files, name)
	if err != nil {
		return nil, err
	}
	if size := int64(len(data)); size > r.limits.FileBytes {
		return nil, r.tooLarge(name, size)
	}
	if _, again := r.found[name]; !again {
		r.found[name] = int64(len(data))
		r.bytes += int64(len(data))
	}
	switch {
	case int64(len(r.found)) > r.limits.Files:
		return nil, &Limited{Place: name, What: fmt.Sprintf("the overlay reads more than %d files", r.limits.Files), Setting: "render.files", Limit: fmt.Sprint(r.limits.Files)}
	case r.bytes > r.limits.Bytes:
		return nil, &Limited{Place: name, What: "the overlay reads files of more than " + Bytes(r.limits.Bytes) + " bytes", Setting: "render.bytes", Limit: Bytes(r.limits.Bytes)}
	}
	return data, nil
}

// tooLarge is the error of a file that is not read. Its identity decides it.
func (r *repository) tooLarge(name string, size int64) error {
	if rec, ok := r.files.(*recorder); ok {
		rec.note(rec.reads.read, name, IdentityOf(rec.files, name))
	}
	return &Limited{Place: name, What: "the file has " + Bytes(size) + " bytes", Setting: "render.fileBytes", Limit: Bytes(r.limits.FileBytes)}
}

// Local turns one of kustomize's absolute paths into a path of the fs.FS. A path that climbs above the repository ends
// at its root, where there is no such file.
func Local(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/")
	if name == "" {
		return "."
	}
	return name
}

func (r *repository) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(r.files, Local(name))
	return info, r.note(err)
}

// note remembers an error that is more than a missing file, such as a symbolic link that leaves the repository:
// kustomize would go on to say that it found nothing.
func (r *repository) note(err error) error {
	if err != nil && r.refused == nil && !errors.Is(err, fs.ErrNotExist) {
		r.refused = err
	}
	return err
}

// ReadFile implements filesys.FileSystem.
func (r *repository) ReadFile(name string) ([]byte, error) {
	if r.refused != nil {
		return nil, r.refused
	}
	name = Local(name)
	if info, err := r.stat(name); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder", name)
	}
	data, err := r.read(name)
	if err != nil {
		return nil, r.note(err)
	}
	r.last = name
	if err := r.inspect(name, data); err != nil {
		r.refused = err
		return nil, err
	}
	return data, nil
}

// Exists implements filesys.FileSystem.
func (r *repository) Exists(name string) bool {
	_, err := r.stat(name)
	return err == nil
}

// IsDir implements filesys.FileSystem.
func (r *repository) IsDir(name string) bool {
	info, err := r.stat(name)
	return err == nil && info.IsDir()
}

// CleanedAbs implements filesys.FileSystem. As on a disk, the result has no symbolic link in it: kustomize takes the
// paths of a kustomization from there.
func (r *repository) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	info, err := r.stat(name)
	if err != nil {
		return "", "", err
	}
	real, err := RealPath(r.files, Local(name))
	if err != nil {
		return "", "", r.note(err)
	}
	full := path.Join("/", real)
	if info.IsDir() {
		return filesys.ConfirmedDir(full), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(full)), path.Base(full), nil
}

// ReadDir implements filesys.FileSystem.
func (r *repository) ReadDir(name string) ([]string, error) {
	entries, err := fs.ReadDir(r.files, Local(name))
	if err != nil {
		return nil, r.note(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

// Glob implements filesys.FileSystem.
func (r *repository) Glob(pattern string) ([]string, error) {
	matches, err := fs.Glob(r.files, Local(pattern))
	for i := range matches {
		matches[i] = "/" + matches[i]
	}
	return matches, r.note(err)
}

// Walk implements filesys.FileSystem.
func (r *repository) Walk(root string, visit filepath.WalkFunc) error {
	return fs.WalkDir(r.files, Local(root), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return visit("/"+name, nil, err)
		}
		info, err := entry.Info()
		return visit("/"+name, info, err)
	})
}

var errReadOnly = fmt.Errorf("a snapshot is read-only: %w", os.ErrPermission)

// Open implements filesys.FileSystem. kustomize opens files only to write them.
func (r *repository) Open(string) (filesys.File, error) { return nil, errReadOnly }

// Create implements filesys.FileSystem.
func (r *repository) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir implements filesys.FileSystem.
func (r *repository) Mkdir(string) error { return errReadOnly }

// MkdirAll implements filesys.FileSystem.
func (r *repository) MkdirAll(string) error { return errReadOnly }

// RemoveAll implements filesys.FileSystem.
func (r *repository) RemoveAll(string) error { return errReadOnly }

// WriteFile implements filesys.FileSystem.
func (r *repository) WriteFile(string, []byte) error { return errReadOnly }
