// Package gitpack keeps the objects that a git server sends: it receives a pack within limits, makes its index, and reads
// objects out of the packs of one cache. It knows no refs and no history, and reaches no network.
package gitpack

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // git names packs by it
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

const (
	// Folder is where the packs are, below the folder of a cache.
	Folder = "objects/pack"

	// DecodedBytes bounds the objects that a set of packs keeps decoded; it is
	// there for delta bases, which are needed many times over.
	DecodedBytes = 32 * gitcache.MiByte
)

// Limits bound what a server may have a cache receive.
type Limits struct {
	PackBytes     int64 // of one pack
	Objects       int   // of one pack
	ObjectBytes   int64 // of one object, inflated
	InflatedBytes int64 // of all objects of one pack
}

// Set is the packs of one cache. Each file is open and its index is in memory, so that objects stay readable
// after the files are unlinked: the operating system frees them when no process holds them.
type Set struct {
	limits  Limits
	decoded gitcache.Object

	mu    sync.Mutex // guards what follows: packs arrive while others are read
	fs    billy.Filesystem
	list  []*packfile.Packfile // newest first; replaced, never changed
	bytes int64                // of the packs
}

// New returns the packs of a folder, of which it reads none yet.
func New(fs billy.Filesystem, limits Limits) *Set {
	return &Set{fs: fs, limits: limits, decoded: gitcache.NewObjectLRU(DecodedBytes)}
}

// Move names the folder anew.
func (p *Set) Move(fs billy.Filesystem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fs = fs
}

// Len is how many packs there are.
func (p *Set) Len() int { return len(p.all()) }

// Bytes is how large the packs are together.
func (p *Set) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Open takes in the packs of the folder. It believes none of them before their
// checksums are right.
func (p *Set) Open() error {
	infos, err := p.fs.ReadDir(Folder)
	if err != nil {
		return err
	}
	for _, info := range infos {
		name := path.Join(Folder, info.Name())
		switch {
		case strings.HasPrefix(info.Name(), "tmp_"): // of a process that was killed
			if err := p.fs.Remove(name); err != nil {
				return err
			}
		case strings.HasSuffix(name, ".pack"):
			if err := p.openOne(strings.TrimSuffix(name, ".pack")); err != nil {
				return fmt.Errorf("pack %s: %w", info.Name(), err)
			}
		}
	}
	return nil
}

func (p *Set) openOne(base string) error {
	raw, err := util.ReadFile(p.fs, base+".idx")
	if err != nil {
		return err
	}
	if _, _, err := trailer(bytes.NewReader(raw)); err != nil {
		return err
	}
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(bytes.NewReader(raw)).Decode(index); err != nil {
		return err
	}
	f, err := p.fs.Open(base + ".pack")
	if err != nil {
		return err
	}
	sum, size, err := trailer(f)
	if err == nil && sum != plumbing.Hash(index.PackfileChecksum) {
		err = errors.New("the index belongs to another pack")
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p.use(index, f, size)
	return nil
}

func (p *Set) use(index idxfile.Index, f billy.File, size int64) {
	// Without a file system go-git reads objects into memory at once and never
	// opens the file a second time.
	pack := packfile.NewPackfileWithCache(index, nil, f, p.decoded, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append([]*packfile.Packfile{pack}, p.list...)
	p.bytes += size
}

// Receive stores a pack that comes from a server, with an index. It reports whether it left out blobs that are larger than
// an object may be.
func (p *Set) Receive(r io.Reader) (leftOut bool, err error) {
	f, err := p.fs.TempFile(Folder, "tmp_pack_")
	if err != nil {
		return false, gitserver.LocalError{Err: err}
	}
	kept := false
	defer func() {
		if !kept {
			// The error that brought us here says more than these would.
			_, _ = f.Close(), p.fs.Remove(f.Name())
		}
	}()
	size, err := io.Copy(storageWriter{f}, io.LimitReader(r, p.limits.PackBytes+1))
	if err != nil {
		return false, err
	}
	if size > p.limits.PackBytes {
		return false, gitserver.TooLargePack(p.limits.PackBytes)
	}
	sum, _, err := trailer(f)
	if err != nil {
		return false, fmt.Errorf("pack from the server: %w", err)
	}
	index, leftOut, err := makeIndex(f, p.limits)
	if err != nil {
		return false, fmt.Errorf("pack from the server: %w", err)
	}
	if size == emptyPack {
		return false, nil
	}
	base := path.Join(Folder, "pack-"+sum.String())
	if _, err := p.fs.Stat(base + ".pack"); err == nil {
		return leftOut, nil // the very same pack again
	}
	if err := p.writeIndex(base+".idx", index); err != nil {
		return false, gitserver.LocalError{Err: err}
	}
	if err := p.fs.Rename(f.Name(), base+".pack"); err != nil {
		return false, gitserver.LocalError{Err: err}
	}
	kept = true
	p.use(index, f, size)
	return leftOut, nil
}

func (p *Set) writeIndex(name string, index *idxfile.MemoryIndex) error {
	f, err := p.fs.Create(name)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(f)
	_, err = idxfile.NewEncoder(buffered).Encode(index)
	return errors.Join(err, buffered.Flush(), f.Close())
}

// emptyPack is the size of a pack without objects: header and checksum.
const emptyPack = 12 + sha1.Size

// trailer reads all of a pack or index. It returns the checksum at the end if that is the checksum of the content,
// and the size.
func trailer(f io.ReadSeeker) (plumbing.Hash, int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return plumbing.ZeroHash, 0, err
	}
	if end < emptyPack {
		return plumbing.ZeroHash, 0, io.ErrUnexpectedEOF
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return plumbing.ZeroHash, 0, err
	}
	sum := sha1.New() //nolint:gosec // git's own checksum
	if _, err := io.CopyN(sum, f, end-sha1.Size); err != nil {
		return plumbing.ZeroHash, 0, err
	}
	var want plumbing.Hash
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return plumbing.ZeroHash, 0, err
	}
	if want != plumbing.Hash(sum.Sum(nil)) {
		return plumbing.ZeroHash, 0, errors.New("the checksum does not fit the content")
	}
	return want, end, nil
}

func (p *Set) all() []*packfile.Packfile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list
}

func (p *Set) find(hash plumbing.Hash) (*packfile.Packfile, bool) {
	for _, pack := range p.all() {
		if ok, err := pack.Contains(hash); ok && err == nil {
			return pack, true
		}
	}
	return nil, false
}

// EncodedObject returns an object. One that the index promises and the pack
// does not hold is damage, and not plumbing.ErrObjectNotFound.
func (p *Set) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	pack, ok := p.find(hash)
	if !ok {
		return nil, plumbing.ErrObjectNotFound
	}
	obj, err := pack.Get(hash)
	if err != nil {
		return nil, fmt.Errorf("damaged cache: %v", err) // without the chain, on purpose
	}
	if kind != plumbing.AnyObject && obj.Type() != kind {
		return nil, plumbing.ErrObjectNotFound
	}
	return obj, nil
}

// HasEncodedObject looks into the indexes only.
func (p *Set) HasEncodedObject(hash plumbing.Hash) error {
	if _, ok := p.find(hash); !ok {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize reads the header of an object.
func (p *Set) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	pack, ok := p.find(hash)
	if !ok {
		return 0, plumbing.ErrObjectNotFound
	}
	offset, err := pack.FindOffset(hash)
	if err != nil {
		return 0, err
	}
	return pack.GetSizeByOffset(offset)
}

// HashesWithPrefix lists the objects whose hash starts with the bytes.
func (p *Set) HashesWithPrefix(prefix []byte) ([]plumbing.Hash, error) {
	var found []plumbing.Hash
	for _, pack := range p.all() {
		entries, err := pack.Entries()
		if err != nil {
			return nil, err
		}
		for {
			e, err := entries.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			if bytes.HasPrefix(e.Hash[:], prefix) {
				found = append(found, e.Hash)
			}
		}
	}
	return found, nil
}

// storageWriter distinguishes a full disk from a broken connection.
type storageWriter struct{ w io.Writer }

func (w storageWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		return n, gitserver.LocalError{Err: err}
	}
	return n, nil
}
