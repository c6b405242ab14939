package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/gofrs/flock"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// cache is a bare repository, in a folder or in memory, with the fetched objects of one remote.
type cache struct {
	dir     string // "" in memory
	meta    *filesystem.Storage
	packs   *packs
	store   *store
	shallow []plumbing.Hash // commits whose parents were not fetched
	known   []plumbing.Hash // ends of histories that are here
}

func newCache(dir string) (*cache, error) {
	var disk billy.Filesystem = memfs.New()
	if dir != "" {
		disk = osfs.New(dir)
	}
	c := cacheOn(dir, disk)
	if err := c.meta.Init(); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	config, err := c.meta.Config()
	if err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	config.Core.IsBare = true
	if err := c.meta.SetConfig(config); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	if err := c.meta.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.Main)); err != nil {
		return nil, gitserver.LocalError{Err: err} // without a HEAD, git does not take it for a repository
	}
	if err := disk.MkdirAll(packFolder, 0o700); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	return c, nil
}

func cacheOn(dir string, disk billy.Filesystem) *cache {
	p := newPacks(disk)
	return &cache{
		dir:   dir,
		meta:  filesystem.NewStorage(disk, gitcache.NewObjectLRU(0)),
		packs: p,
		store: &store{objects: p},
	}
}

// openCache reads a cache that an earlier process left.
func openCache(dir string) (*cache, error) {
	c := cacheOn(dir, osfs.New(dir))
	if err := c.packs.open(); err != nil {
		return nil, err
	}
	var err error
	if c.shallow, err = c.meta.Shallow(); err != nil {
		return nil, err
	}
	names, err := c.meta.IterReferences()
	if err != nil {
		return nil, err
	}
	err = names.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference {
			return nil
		}
		if c.store.has(ref.Hash()) {
			c.known = append(c.known, ref.Hash())
		}
		return nil
	})
	return c, err
}

// usable reports whether a fetch may build on the cache.
func (c *cache) usable(most int) bool {
	return len(c.packs.all()) > 0 && len(c.packs.all()) < most && !c.store.spoiled()
}

// whole reports whether the histories in the cache go back to their roots.
func (c *cache) whole() bool { return len(c.packs.all()) > 0 && len(c.shallow) == 0 }

// standing is the commit where a ref stood when it was last followed.
func (c *cache) standing(name string) (plumbing.Hash, bool) {
	ref, err := c.meta.Reference(plumbing.ReferenceName(name))
	if err != nil || ref.Type() != plumbing.HashReference {
		return plumbing.ZeroHash, false // an unreadable ref is one that we do not know
	}
	return ref.Hash(), true
}

// stand notes where a ref stands.
func (c *cache) stand(t target) error {
	name := plumbing.ReferenceName(t.name)
	if t.name == "" || t.name == "HEAD" { // a bare commit
		name = "refs/heads/syncer"
	}
	if err := c.meta.SetReference(plumbing.NewHashReference(name, t.tip)); err != nil {
		return gitserver.LocalError{Err: err}
	}
	if err := c.meta.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, name)); err != nil {
		return gitserver.LocalError{Err: err}
	}
	c.learn(t.tip)
	return nil
}

func (c *cache) learn(tip plumbing.Hash) {
	if !slices.Contains(c.known, tip) {
		c.known = append(c.known, tip)
	}
}

// haves lists commits of the cache, so that a server sends only new objects: the known ends, and some commits before
// them in case the server lost an end.
func (c *cache) haves() []plumbing.Hash {
	const enough = 64
	var list []plumbing.Hash
	todo := slices.Clone(c.known)
	slices.Reverse(todo) // the latest first
	for ; len(todo) > 0 && len(list) < enough; todo = todo[1:] {
		hash, err := c.store.peel(todo[0])
		if err != nil || slices.Contains(list, hash) {
			continue
		}
		commit, err := c.store.commit(hash)
		if err != nil {
			continue
		}
		list = append(list, hash)
		todo = append(todo, commit.ParentHashes...)
	}
	return list
}

// inherit takes over where the refs of an older cache stood.
func (c *cache) inherit(older *cache) error {
	names, err := older.meta.IterReferences()
	if err != nil {
		return nil // the older one is damaged: then where they stood is not known
	}
	return names.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference && c.store.has(ref.Hash()) {
			c.learn(ref.Hash())
		}
		if err := c.meta.SetReference(ref); err != nil {
			return gitserver.LocalError{Err: err}
		}
		return nil
	})
}

// bound replaces the list of commits whose parents are not here.
func (c *cache) bound(shallow []plumbing.Hash) error {
	if slices.Equal(shallow, c.shallow) {
		return nil
	}
	if err := c.meta.SetShallow(shallow); err != nil {
		return gitserver.LocalError{Err: err}
	}
	c.shallow = shallow
	return nil
}

// shelf is the place of one remote's cache under the parent folder, and the
// lock on it.
type shelf struct {
	dir  string // "" keeps everything in memory
	lock *flock.Flock
}

func newShelf(parent string, place gitserver.Location) *shelf {
	if parent == "" {
		return &shelf{}
	}
	return &shelf{dir: filepath.Join(parent, cacheFolder(place))}
}

// open returns the cache of the folder, or an empty one. It uses memory if the folder cannot be used, because a cache
// only saves work.
func (s *shelf) open() (*cache, error) {
	if !s.claim() {
		s.dir = ""
		return newCache("")
	}
	if _, err := os.Stat(s.dir); err == nil {
		if c, err := openCache(s.dir); err == nil {
			return c, nil
		}
		// A damaged cache counts as none.
	}
	return newCache("") // replaced at the first fetch, see renew
}

// claim takes the lock and removes the leftovers of killed processes.
func (s *shelf) claim() bool {
	if s.dir == "" {
		return false
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return false
	}
	lock := flock.New(s.dir + ".lock")
	if ok, err := lock.TryLock(); err != nil || !ok {
		return false
	}
	s.lock = lock
	entries, err := os.ReadDir(filepath.Dir(s.dir))
	if err != nil {
		return true
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(s.dir)+".new-") {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(s.dir), e.Name())) // it costs room and nothing else
		}
	}
	return true
}

// blank makes an empty cache beside the one in use, or in memory.
func (s *shelf) blank() (*cache, error) {
	if s.dir == "" {
		return newCache("")
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), filepath.Base(s.dir)+".new-*")
	if err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	c, err := newCache(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// replace puts a new cache in the place of the old one, whose packs stay
// readable for the snapshots that hold them.
func (s *shelf) replace(c *cache) error {
	if c.dir == "" {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return gitserver.LocalError{Err: err}
	}
	if err := os.Rename(c.dir, s.dir); err != nil {
		return gitserver.LocalError{Err: err}
	}
	disk := osfs.New(s.dir)
	c.dir, c.packs.fs = s.dir, disk
	c.meta = filesystem.NewStorage(disk, gitcache.NewObjectLRU(0))
	return nil
}

// discard removes a cache that was not used.
func (c *cache) discard() {
	if c.dir != "" {
		_ = os.RemoveAll(c.dir) // the next process clears it away
	}
}

func (s *shelf) close() error {
	if s.lock == nil {
		return nil
	}
	// The lock file stays: removing it would let two processes hold two locks.
	return s.lock.Unlock()
}

var unreadable = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// cacheFolder names the cache of a location: readable, and unlike any other. The
// user and the password do not count, so that a rotated one keeps the cache.
func cacheFolder(l gitserver.Location) string {
	sum := sha256.Sum256([]byte(l.String()))
	path := strings.TrimSuffix(strings.TrimSuffix(strings.Trim(l.Path, "/"), ".git"), "/")
	name := strings.Trim(unreadable.ReplaceAllString(l.Host+"-"+path, "-"), "-.")
	if len(name) > 80 {
		name = name[len(name)-80:]
	}
	return name + "-" + hex.EncodeToString(sum[:6])
}
