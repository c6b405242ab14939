package source

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
)

// objects is where git objects are kept: the packs of a cache, or a repository
// on this machine.
type objects interface {
	EncodedObject(plumbing.ObjectType, plumbing.Hash) (plumbing.EncodedObject, error)
	HasEncodedObject(plumbing.Hash) error
	EncodedObjectSize(plumbing.Hash) (int64, error)
	HashesWithPrefix([]byte) ([]plumbing.Hash, error)
}

// store reads objects for many goroutines at once. go-git's packs and storages
// seek in shared files and fill maps while they read, so one lock guards them.
type store struct {
	mu      sync.Mutex
	objects objects
	limits  Limits
	damaged bool // an object that ought to be there could not be read

	gaps    bool                       // files that are too large may be missing
	missing map[plumbing.Hash]struct{} // of those, the ones that a commit has

	// trees are the folders of the newest snapshot. An unchanged folder of the next snapshot is taken from here, and is
	// known to be complete. The map is replaced and never changed.
	trees map[plumbing.Hash]*dir
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

func (s *store) object(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, err := s.objects.EncodedObject(kind, hash)
	if err != nil {
		if !errors.Is(err, plumbing.ErrObjectNotFound) && !errors.Is(err, ErrLimit) {
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
func (s *store) blob(hash plumbing.Hash) ([]byte, error) {
	if s.isMissing(hash) {
		return nil, s.limits.missing()
	}
	obj, err := s.object(plumbing.BlobObject, hash)
	if errors.Is(err, ErrLimit) {
		return nil, err
	}
	if err != nil {
		s.spoil()
		return nil, err
	}
	// Reading may inflate from the file that others seek in.
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := obj.Reader()
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", hash, err)
	}
	defer r.Close() // nothing was written
	data := bytes.NewBuffer(make([]byte, 0, obj.Size()))
	if _, err := io.Copy(data, r); err != nil {
		s.damaged = true
		return nil, fmt.Errorf("object %s: %w", hash, err)
	}
	return data.Bytes(), nil
}

func (s *store) size(hash plumbing.Hash) (int64, error) {
	if s.isMissing(hash) {
		return 0, s.limits.missing()
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

func (s *store) has(hash plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects.HasEncodedObject(hash) == nil
}

// allowGaps has a commit be whole without files that are too large.
func (s *store) allowGaps() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = true
}

func (s *store) mayHaveGaps() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}

// lacks reports whether a file is missing that has to be here, and notes one that need not.
func (s *store) lacks(hash plumbing.Hash) bool {
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

func (s *store) isMissing(hash plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.missing[hash]
	return is
}

// countMissing is how many files are missing that commits have.
func (s *store) countMissing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.missing)
}

// spoil notes that an object of a snapshot is gone, so that the next fetch does not rely on this store.
func (s *store) spoil() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = true
}

func (s *store) spoiled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged
}

func (s *store) commit(hash plumbing.Hash) (*object.Commit, error) {
	obj, err := s.object(plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeCommit(nil, obj) // its methods that read further objects are not used
}

// peel follows annotated tags to their commit.
func (s *store) peel(hash plumbing.Hash) (plumbing.Hash, error) {
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

// commitsWithPrefix lists the commits whose hash starts with the hex digits.
func (s *store) commitsWithPrefix(prefix string) ([]plumbing.Hash, error) {
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

// snapshot checks that every object of the commit exists, reading trees
// but no file. newest keeps the trees for the next call.
func (s *store) snapshot(hash plumbing.Hash, newest bool) (Snapshot, error) {
	commit, err := s.commit(hash)
	if err != nil {
		return Snapshot{}, err
	}
	s.mu.Lock()
	before := s.trees
	s.mu.Unlock()
	seen := make(map[plumbing.Hash]*dir, len(before))
	root, err := s.tree(commit.TreeHash, before, seen, 0)
	if err != nil {
		return Snapshot{}, fmt.Errorf("commit %s: %w", hash, err)
	}
	if newest {
		s.mu.Lock()
		s.trees = seen
		s.mu.Unlock()
	}
	c := describe(commit)
	return Snapshot{
		Commit: c.Hash, Author: c.Author, Subject: c.Subject, Message: c.Message, Time: c.Time,
		Files: &files{store: s, root: root, time: c.Time},
	}, nil
}

// tree reads a folder with all folders below it; before holds the folders of an earlier snapshot.
func (s *store) tree(hash plumbing.Hash, before, seen map[plumbing.Hash]*dir, depth int) (*dir, error) {
	if depth > longestPath {
		return nil, s.limits.tooDeep()
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
			return nil, s.limits.tooMany()
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

func describe(c *object.Commit) Commit {
	message := strings.ToValidUTF8(strings.TrimRight(c.Message, "\n"), "\uFFFD")
	return Commit{
		Hash:    c.Hash.String(),
		Author:  cut(strings.ToValidUTF8(c.Author.Name+" <"+c.Author.Email+">", "\uFFFD")),
		Subject: cut(subject(message)),
		Message: message,
		Time:    c.Committer.When.Round(0).Truncate(time.Second),
	}
}

// subject is the first paragraph on one line, as git log's %s.
func subject(message string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimLeft(message, "\n")) {
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " ")
}

// longestLine is the most of an author or a subject that leaves this room, in bytes: a commit may have one of megabytes, and
// every page, log line and record would carry it.
const longestLine = 1000

func cut(line string) string {
	if len(line) <= longestLine {
		return line
	}
	return strings.ToValidUTF8(line[:longestLine-len("...")], "") + "..."
}
