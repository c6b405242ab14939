package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitpack"
	"github.com/syncerdev/syncer/pkg/gitserver"
)

// cache is a bare repository, in a folder or in memory, with the fetched objects of one remote.
type cache struct {
	dir     string // "" in memory
	disk    billy.Filesystem
	meta    *filesystem.Storage
	packs   *gitpack.Set
	store   *gitfiles.Store
	limits  Limits
	shallow []plumbing.Hash // commits whose parents were not fetched
	known   []plumbing.Hash // ends of histories that are here
	plain   bool            // the server is not asked to leave out large files
}

func newCache(dir string, disk billy.Filesystem, limits Limits) (*cache, error) {
	c := cacheOn(dir, disk, limits)
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
	if err := disk.MkdirAll(gitpack.Folder, 0o700); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	return c, nil
}

func cacheOn(dir string, disk billy.Filesystem, limits Limits) *cache {
	p := gitpack.New(disk, gitpack.Limits{
		PackBytes: limits.PackBytes, Objects: limits.Objects, ObjectBytes: limits.ObjectBytes, InflatedBytes: limits.InflatedBytes,
	})
	return &cache{
		dir:    dir,
		disk:   disk,
		meta:   filesystem.NewStorage(disk, gitcache.NewObjectLRU(0)),
		packs:  p,
		store:  gitfiles.NewStore(p, limits.ofFiles()),
		limits: limits,
	}
}

// openCache reads a cache that an earlier process left.
func openCache(dir string, disk billy.Filesystem, limits Limits) (*cache, error) {
	c := cacheOn(dir, disk, limits)
	if err := c.packs.Open(); err != nil {
		return nil, err
	}
	err := c.recallGaps()
	if err != nil {
		return nil, err
	}
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
		if c.store.Has(ref.Hash()) {
			c.known = append(c.known, ref.Hash())
		}
		return nil
	})
	return c, err
}

// usable reports whether a fetch may build on the cache.
func (c *cache) usable(most int) bool {
	return c.packs.Len() > 0 && c.packs.Len() < most && c.packs.Bytes() < c.room() && !c.store.Spoiled()
}

// room is how large a cache may become before it is fetched anew, without what is no longer used.
func (c *cache) room() int64 {
	if c.dir == "" {
		return c.limits.MemoryBytes
	}
	return c.limits.CacheBytes
}

// whole reports whether the histories in the cache go back to their roots.
func (c *cache) whole() bool { return c.packs.Len() > 0 && len(c.shallow) == 0 }

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
		hash, err := c.store.Peel(todo[0])
		if err != nil || slices.Contains(list, hash) {
			continue
		}
		commit, err := c.store.Commit(hash)
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
		if ref.Type() == plumbing.HashReference && c.store.Has(ref.Hash()) {
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
	dir    string // "" keeps everything in memory
	lock   *flock.Flock
	disk   func(folder string) billy.Filesystem
	limits Limits
	tell   func(error) // receives why the folder is not used, when that begins
	failed bool        // it was told
}

func newShelf(parent string, place gitserver.Location, limits Limits, tell func(error)) *shelf {
	s := &shelf{disk: func(folder string) billy.Filesystem { return osfs.New(folder) }, limits: limits, tell: tell}
	if parent != "" {
		s.dir = filepath.Join(parent, cacheFolder(place))
	}
	return s
}

// spare makes a cache in memory, in the place of a folder that cannot be used, and says so once.
func (s *shelf) spare(why error) (*cache, error) {
	if why != nil && !s.failed {
		s.failed = true
		s.tell(fmt.Errorf("objects are kept in memory, since the cache folder cannot be used: %w", why))
	}
	return newCache("", memfs.New(), s.limits.inMemory())
}

// open returns the cache of the folder, or an empty one. It uses memory if the folder cannot be used, because a cache
// only saves work.
func (s *shelf) open() (*cache, error) {
	if s.dir == "" {
		return s.spare(nil)
	}
	if err := s.claim(); err != nil {
		s.dir = ""
		return s.spare(err)
	}
	if _, err := os.Stat(s.dir); err == nil {
		if c, err := openCache(s.dir, s.disk(s.dir), s.limits); err == nil {
			return c, nil
		}
		// A damaged cache counts as none.
	}
	return s.spare(nil) // replaced at the first fetch, see renew
}

// errInUse says that another process has the cache folder.
var errInUse = errors.New("another process uses it")

// claim takes the lock and removes the leftovers of killed processes.
func (s *shelf) claim() error {
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return err
	}
	lock := flock.New(s.dir + ".lock")
	if ok, err := lock.TryLock(); err != nil || !ok {
		return cmp.Or(err, errInUse)
	}
	s.lock = lock
	entries, err := os.ReadDir(filepath.Dir(s.dir))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(s.dir)+".new-") {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(s.dir), e.Name())) // it costs room and nothing else
		}
	}
	return nil
}

// blank makes an empty cache beside the one in use, or in memory.
func (s *shelf) blank() (*cache, error) {
	if s.dir == "" {
		return s.spare(nil)
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), filepath.Base(s.dir)+".new-*")
	if err != nil {
		return nil, gitserver.LocalError{Err: err}
	}
	c, err := newCache(dir, s.disk(dir), s.limits)
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
	disk := s.disk(s.dir)
	c.dir, c.disk = s.dir, disk
	c.packs.Move(disk)
	s.failed = false
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
