package gitfiles

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// Objects is where git objects are kept: the packs of a cache, or a repository on this machine. A store calls it from one
// goroutine at a time.
type Objects interface {
	EncodedObject(plumbing.ObjectType, plumbing.Hash) (plumbing.EncodedObject, error)
	HasEncodedObject(plumbing.Hash) error
	EncodedObjectSize(plumbing.Hash) (int64, error)
	HashesWithPrefix([]byte) ([]plumbing.Hash, error)
}

// Limits bound what is read. 0 allows nothing.
type Limits struct {
	ObjectBytes int64 // of one object, inflated, for errors: Objects hold this limit
	Files       int   // of one commit
}

// Store reads objects for many goroutines at once. go-git's packs and storages
// seek in shared files and fill maps while they read, so one lock guards them.
type Store struct {
	mu      sync.Mutex
	objects Objects
	limits  Limits
	damaged bool // an object that ought to be there could not be read

	gaps    bool                       // files that are too large may be missing
	missing map[plumbing.Hash]struct{} // of those, the ones that a commit has

	// trees are the folders of the newest commit. An unchanged folder of the next commit is taken from here, and is known
	// to be complete. The map is replaced and never changed.
	trees map[plumbing.Hash]*dir
}

// NewStore returns a store of objects, of which it reads none yet.
func NewStore(objects Objects, limits Limits) *Store { return &Store{objects: objects, limits: limits} }

// Reuse has the next commit take unchanged folders from the newest one of another store of the same repository.
func (s *Store) Reuse(other *Store) {
	other.mu.Lock()
	trees := other.trees
	other.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trees = trees
}

// dir is a decoded tree with everything below it. It does not change.
type dir struct {
	hash    plumbing.Hash
	entries []entry // sorted by name
	files   int     // at any depth; one that stands in two folders counts twice
}

type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
	dir  *dir // of a folder; an empty one for a submodule
}

func (d *dir) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(d.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	if !ok {
		return entry{}, false
	}
	return d.entries[i], true
}

func (s *Store) object(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, err := s.objects.EncodedObject(kind, hash)
	if err != nil {
		if !errors.Is(err, plumbing.ErrObjectNotFound) && !errors.Is(err, gitserver.ErrLimit) {
			s.damaged = true
		}
		return nil, fmt.Errorf("object %s: %w", hash, err)
	}
	if obj.Hash() != hash {
		s.damaged = true
		return nil, fmt.Errorf("object %s: its content has the hash %s", hash, obj.Hash())
	}
	return obj, nil
}

// blob returns the content of a file; the caller may change it.
func (s *Store) blob(hash plumbing.Hash) ([]byte, error) {
	if s.isMissing(hash) {
		return nil, TooLarge(s.limits.ObjectBytes)
	}
	obj, err := s.object(plumbing.BlobObject, hash)
	if errors.Is(err, gitserver.ErrLimit) {
		return nil, err
	}
	if err != nil {
		s.Spoil()
		return nil, err
	}
	return s.content(obj)
}

// content reads an object. Reading may inflate from the file that others seek in.
func (s *Store) content(obj plumbing.EncodedObject) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := obj.Reader()
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", obj.Hash(), err)
	}
	defer r.Close() // nothing was written
	data := bytes.NewBuffer(make([]byte, 0, obj.Size()))
	if _, err := io.Copy(data, r); err != nil {
		s.damaged = true
		return nil, fmt.Errorf("object %s: %w", obj.Hash(), err)
	}
	return data.Bytes(), nil
}

func (s *Store) size(hash plumbing.Hash) (int64, error) {
	if s.isMissing(hash) {
		return 0, TooLarge(s.limits.ObjectBytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := s.objects.EncodedObjectSize(hash)
	if err != nil {
		s.damaged = true
		return 0, fmt.Errorf("object %s: %w", hash, err)
	}
	return size, nil
}

// Has reports whether an object is here.
func (s *Store) Has(hash plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects.HasEncodedObject(hash) == nil
}

// AllowGaps has a commit be whole without files that are too large.
func (s *Store) AllowGaps() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = true
}

// MayHaveGaps reports whether a commit may be whole without files that are too large.
func (s *Store) MayHaveGaps() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}

// lacks reports whether a file is missing that has to be here, and notes one that need not.
func (s *Store) lacks(hash plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects.HasEncodedObject(hash) == nil {
		return false
	}
	if s.gaps {
		if s.missing == nil {
			s.missing = map[plumbing.Hash]struct{}{}
		}
		s.missing[hash] = struct{}{}
	}
	return !s.gaps
}

func (s *Store) isMissing(hash plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.missing[hash]
	return is
}

// CountMissing is how many files are missing that commits have.
func (s *Store) CountMissing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.missing)
}

// Spoil notes that an object of a commit is gone, so that the next fetch does not rely on this store.
func (s *Store) Spoil() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = true
}

// Spoiled reports whether an object that ought to be there could not be read.
func (s *Store) Spoiled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged
}

// Commit reads a commit. Those of its methods that read further objects do not work.
func (s *Store) Commit(hash plumbing.Hash) (*object.Commit, error) {
	obj, err := s.object(plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeCommit(nil, obj)
}

// CommitText is the content of a commit object, byte for byte.
func (s *Store) CommitText(hash plumbing.Hash) ([]byte, error) {
	obj, err := s.object(plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return s.content(obj)
}

// Peel follows annotated tags to their commit.
func (s *Store) Peel(hash plumbing.Hash) (plumbing.Hash, error) {
	const deep = 16 // a tag of a tag is rare already
	for range deep {
		obj, err := s.object(plumbing.AnyObject, hash)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		switch obj.Type() {
		case plumbing.CommitObject:
			return hash, nil
		case plumbing.TagObject:
			tag, err := object.DecodeTag(nil, obj)
			if err != nil {
				return plumbing.ZeroHash, fmt.Errorf("tag object %s: %w", hash, err)
			}
			hash = tag.Target
		default:
			return plumbing.ZeroHash, fmt.Errorf("%w: %s is a %s", ErrCommitNotFound, hash, obj.Type())
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("%w: %s is a chain of more than %d tags", ErrCommitNotFound, hash, deep)
}

// CommitsWithPrefix lists the commits whose hash starts with the hex digits.
func (s *Store) CommitsWithPrefix(prefix string) ([]plumbing.Hash, error) {
	whole, err := hex.DecodeString(prefix[:len(prefix)/2*2])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	hashes, err := s.objects.HashesWithPrefix(whole)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var commits []plumbing.Hash
	for _, hash := range hashes {
		if !strings.HasPrefix(hash.String(), prefix) || slices.Contains(commits, hash) {
			continue
		}
		if obj, err := s.object(plumbing.AnyObject, hash); err == nil && obj.Type() == plumbing.CommitObject {
			commits = append(commits, hash)
		}
	}
	return commits, nil
}

// Files returns the files below the root folder of a commit, all with the time that is given. It checks that every object
// below it exists: it reads the trees and no file. newest keeps the trees for the next call.
func (s *Store) Files(root plumbing.Hash, modified time.Time, newest bool) (*FS, error) {
	s.mu.Lock()
	before := s.trees
	s.mu.Unlock()
	seen := make(map[plumbing.Hash]*dir, len(before))
	top, err := s.tree(root, before, seen, 0)
	if err != nil {
		return nil, err
	}
	if newest {
		s.mu.Lock()
		s.trees = seen
		s.mu.Unlock()
	}
	return &FS{store: s, root: top, time: modified}, nil
}

// tree reads a folder with all folders below it; before holds the folders of an earlier commit.
func (s *Store) tree(hash plumbing.Hash, before, seen map[plumbing.Hash]*dir, depth int) (*dir, error) {
	if depth > longestPath {
		return nil, tooDeep()
	}
	if d, ok := seen[hash]; ok {
		return d, nil
	}
	if d, ok := before[hash]; ok {
		keep(d, seen)
		return d, nil
	}
	obj, err := s.object(plumbing.TreeObject, hash)
	if err != nil {
		return nil, err
	}
	tree, err := object.DecodeTree(nil, obj)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", hash, err)
	}
	d := &dir{hash: hash, entries: make([]entry, 0, len(tree.Entries))}
	for _, e := range tree.Entries {
		if e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") {
			return nil, fmt.Errorf("object %s: a folder with an entry named %q", hash, e.Name)
		}
		item := entry{name: e.Name, mode: e.Mode, hash: e.Hash}
		switch {
		case e.Mode == filemode.Dir:
			if item.dir, err = s.tree(e.Hash, before, seen, depth+1); err != nil {
				return nil, err
			}
			d.files += item.dir.files
		case e.Mode == filemode.Submodule:
			item.dir = &dir{hash: e.Hash}
		case s.lacks(e.Hash):
			return nil, fmt.Errorf("object %s (file %s): %w", e.Hash, e.Name, plumbing.ErrObjectNotFound)
		}
		d.entries = append(d.entries, item)
		if d.files++; d.files > s.limits.Files {
			return nil, tooMany(s.limits.Files)
		}
	}
	// git sorts a folder as if its name ended in a slash.
	slices.SortStableFunc(d.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	seen[hash] = d
	return d, nil
}

// keep notes a folder and all below it.
func keep(d *dir, seen map[plumbing.Hash]*dir) {
	if _, ok := seen[d.hash]; ok {
		return
	}
	seen[d.hash] = d
	for _, e := range d.entries {
		if e.mode == filemode.Dir {
			keep(e.dir, seen)
		}
	}
}
