package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitpack"
)

// local is a repository on this machine, read where it is. Nothing is copied
// and nothing is written.
type local struct {
	path   string
	goal   goal
	limits Limits

	store  *gitfiles.Store // of the latest look
	listed refs

	good   bool
	target target
	last   Snapshot
}

// held returns nothing: a read of a repository on this machine does not wait.
func (l *local) held() *held { return nil }

func (l *local) fetch(context.Context) (Snapshot, error) {
	if err := l.look(); err != nil {
		return Snapshot{}, err
	}
	t, err := l.listed.pick(l.goal)
	if err != nil {
		return Snapshot{}, err
	}
	if l.good && t.tip == l.target.tip && !l.last.Files.(*gitfiles.FS).Spoiled() {
		l.target = t
		return l.last, nil
	}
	snap, err := l.follow(t)
	if err != nil {
		return Snapshot{}, err
	}
	l.good, l.target, l.last = true, t, snap
	l.last.Rewound = ""
	return snap, nil
}

func (l *local) follow(t target) (Snapshot, error) {
	if !l.store.Has(t.tip) {
		return Snapshot{}, fmt.Errorf("%w: %s", ErrCommitNotFound, t.tip)
	}
	hash, err := l.store.Peel(t.tip)
	if err != nil {
		return Snapshot{}, err
	}
	if l.good && hash.String() == l.last.Commit && !l.last.Files.(*gitfiles.FS).Spoiled() {
		return l.last, nil // another tag for the same commit
	}
	snap, err := historyOf(l.store).snapshot(hash, true)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%w: %w: is this a partial clone, or damaged? git fsck tells", ErrIncomplete, err)
	}
	if !l.good || !t.isBranch() || t.name != l.target.name {
		return snap, nil
	}
	old := l.target.tip
	older, err := historyOf(l.store).ancestors(old)
	if err != nil {
		older = nil
	}
	verdict, err := historyOf(l.store).compare(t.tip, old, older)
	if err != nil {
		return Snapshot{}, err
	}
	return rule(l.goal, t, snap, old, verdict)
}

func (l *local) at(_ context.Context, rev revision) (Snapshot, error) {
	if err := l.look(); err != nil {
		return Snapshot{}, err
	}
	hash, err := l.find(rev)
	if err != nil {
		return Snapshot{}, err
	}
	return historyOf(l.store).snapshot(hash, false)
}

func (l *local) find(rev revision) (plumbing.Hash, error) {
	hash, err := historyOf(l.store).resolve(rev, l.listed, l.goal)
	if errors.Is(err, errBeyond) {
		return hash, fmt.Errorf("%w: the repository does not have it", ErrCommitNotFound)
	}
	return hash, err
}

func (l *local) since(_ context.Context, from *revision, to revision) ([]Commit, error) {
	if err := l.look(); err != nil {
		return nil, err
	}
	end, err := l.find(to)
	if err != nil {
		return nil, err
	}
	return historyOf(l.store).since(from, end, l.listed, l.goal)
}

func (l *local) log(_ context.Context, to revision, limit int) ([]Commit, error) {
	if err := l.look(); err != nil {
		return nil, err
	}
	end, err := l.find(to)
	if err != nil {
		return nil, err
	}
	return historyOf(l.store).log(end, limit)
}

func (l *local) close() error { return nil }

// look opens the repository as it is now.
func (l *local) look() error {
	disk, err := gitFolder(l.path)
	if err != nil {
		return err
	}
	kept := &diskObjects{limits: l.limits, open: func() *filesystem.Storage {
		return filesystem.NewStorageWithOptions(disk, gitcache.NewObjectLRU(gitpack.DecodedBytes), filesystem.Options{
			KeepDescriptors: true,
			AlternatesFS:    osfs.New("/"),
		})
	}}
	kept.Storage = kept.open()
	listed, err := l.list(kept.Storage)
	if err != nil {
		return err
	}
	s := gitfiles.NewStore(kept, l.limits.ofFiles())
	if l.store != nil {
		s.Reuse(l.store)
	}
	l.store, l.listed = s, listed
	return nil
}

// list reads the refs, packed or not.
func (l *local) list(storage *filesystem.Storage) (refs, error) {
	if _, err := git.Open(storage, nil); err != nil { // knows which formats go-git cannot read
		if errors.Is(err, git.ErrRepositoryNotExists) {
			return refs{}, fmt.Errorf("%w: no git repository at this path", ErrRepositoryNotFound)
		}
		if config, read := storage.Config(); read == nil && config.Raw.Section("extensions").Option("objectformat") == "sha256" {
			return refs{}, ErrObjectFormat
		}
		return refs{}, err
	}
	r := refs{hashes: map[string]plumbing.Hash{}, head: "HEAD"}
	iter, err := storage.IterReferences()
	if err != nil {
		return refs{}, err
	}
	err = iter.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference {
			r.hashes[ref.Name().String()] = ref.Hash()
		}
		return nil
	})
	if err != nil {
		return refs{}, err
	}
	head, err := storage.Reference(plumbing.HEAD)
	if err != nil {
		return refs{}, err
	}
	if head.Type() == plumbing.SymbolicReference {
		r.head = head.Target().String()
		if hash, ok := r.hashes[r.head]; ok {
			r.hashes["HEAD"] = hash
		}
	}
	return r, nil
}

// gitFolder finds the folder with the objects: the path itself if it is a bare repository, its .git, or the target of a
// .git file (a worktree, a submodule).
func gitFolder(path string) (*dotgit.RepositoryFilesystem, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%w: no folder at this path", ErrRepositoryNotFound)
	}
	if err != nil {
		return nil, err
	}
	folder := path
	dot := filepath.Join(path, ".git")
	switch info, err := os.Stat(dot); {
	case err == nil && info.IsDir():
		folder = dot
	case err == nil:
		if folder, err = pointer(dot, "gitdir:", path); err != nil {
			return nil, err
		}
	}
	shared, err := pointer(filepath.Join(folder, "commondir"), "", folder)
	if errors.Is(err, fs.ErrNotExist) {
		return dotgit.NewRepositoryFilesystem(osfs.New(folder), nil), nil
	}
	if err != nil {
		return nil, err
	}
	return dotgit.NewRepositoryFilesystem(osfs.New(folder), osfs.New(shared)), nil
}

// pointer reads a file that holds a path.
func pointer(file, prefix, base string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(data)), prefix)
	if !ok {
		return "", fmt.Errorf("%w: %s does not say %q", ErrRepositoryNotFound, file, prefix)
	}
	text = strings.TrimSpace(text)
	if !filepath.IsAbs(text) {
		text = filepath.Join(base, text)
	}
	return text, nil
}

// diskObjects reads objects of a repository that other programs write to. It searches once more for an object that a
// repack moved, so that snapshots stay readable.
type diskObjects struct {
	*filesystem.Storage
	limits Limits
	open   func() *filesystem.Storage
}

func (d *diskObjects) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, err := d.load(kind, hash)
	if err != nil && !errors.Is(err, ErrLimit) {
		d.Storage = d.open()
		obj, err = d.load(kind, hash)
	}
	return obj, err
}

// load reads the content at once: go-git would open the file again later.
func (d *diskObjects) load(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if size, err := d.Storage.EncodedObjectSize(hash); err == nil && size > d.limits.ObjectBytes {
		return nil, gitfiles.TooLarge(d.limits.ObjectBytes)
	}
	obj, err := d.Storage.EncodedObject(kind, hash)
	if err != nil {
		return nil, err
	}
	if _, ok := obj.(*plumbing.MemoryObject); ok {
		return obj, nil
	}
	return inMemory(obj)
}

func (d *diskObjects) HasEncodedObject(hash plumbing.Hash) error {
	if d.Storage.HasEncodedObject(hash) == nil {
		return nil
	}
	_, err := d.Storage.EncodedObject(plumbing.AnyObject, hash) // also looks into alternates
	return err
}

func (d *diskObjects) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	if size, err := d.Storage.EncodedObjectSize(hash); err == nil {
		return size, nil
	}
	obj, err := d.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return 0, err
	}
	return obj.Size(), nil
}

func inMemory(obj plumbing.EncodedObject) (plumbing.EncodedObject, error) {
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close() // nothing was written
	memory := &plumbing.MemoryObject{}
	memory.SetType(obj.Type())
	if _, err := io.Copy(memory, r); err != nil {
		return nil, err
	}
	return memory, nil
}
