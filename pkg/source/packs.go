package source

import (
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
	packFolder = "objects/pack"

	// decodedBytes bounds the objects that a set of packs keeps decoded; it is
	// there for delta bases, which are needed many times over.
	decodedBytes = 32 * gitcache.MiByte
)

// packs are the pack files of one cache. Each file is open and its index is in memory, so that objects stay readable
// after the files are unlinked: the operating system frees them when no process holds them.
type packs struct {
	fs      billy.Filesystem
	decoded gitcache.Object

	mu   sync.Mutex           // guards list: packs arrive while others are read
	list []*packfile.Packfile // newest first; replaced, never changed
}

func newPacks(fs billy.Filesystem) *packs {
	return &packs{fs: fs, decoded: gitcache.NewObjectLRU(decodedBytes)}
}

// open takes in the packs of the folder. It believes none of them before their
// checksums are right.
func (p *packs) open() error {
	infos, err := p.fs.ReadDir(packFolder)
	if err != nil {
		return err
	}
	for _, info := range infos {
		name := path.Join(packFolder, info.Name())
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

func (p *packs) openOne(base string) error {
	raw, err := util.ReadFile(p.fs, base+".idx")
	if err != nil {
		return err
	}
	if _, err := trailer(bytes.NewReader(raw)); err != nil {
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
	sum, err := trailer(f)
	if err == nil && sum != plumbing.Hash(index.PackfileChecksum) {
		err = errors.New("the index belongs to another pack")
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p.use(index, f)
	return nil
}

func (p *packs) use(index idxfile.Index, f billy.File) {
	// Without a file system go-git reads objects into memory at once and never
	// opens the file a second time.
	pack := packfile.NewPackfileWithCache(index, nil, f, p.decoded, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append([]*packfile.Packfile{pack}, p.list...)
}

// receive stores a pack that comes from a server, with an index.
func (p *packs) receive(r io.Reader) (err error) {
	f, err := p.fs.TempFile(packFolder, "tmp_pack_")
	if err != nil {
		return gitserver.LocalError{Err: err}
	}
	kept := false
	defer func() {
		if !kept {
			// The error that brought us here says more than these would.
			_, _ = f.Close(), p.fs.Remove(f.Name())
		}
	}()
	size, err := io.Copy(storageWriter{f}, r)
	if err != nil {
		return err
	}
	sum, err := trailer(f)
	if err != nil {
		return fmt.Errorf("pack from the server: %w", err)
	}
	if size == emptyPack {
		return nil
	}
	index, err := indexPack(f)
	if err != nil {
		return fmt.Errorf("pack from the server: %w", err)
	}
	base := path.Join(packFolder, "pack-"+sum.String())
	if _, err := p.fs.Stat(base + ".pack"); err == nil {
		return nil // the very same pack again
	}
	var encoded bytes.Buffer
	if _, err := idxfile.NewEncoder(&encoded).Encode(index); err != nil {
		return err
	}
	if err := util.WriteFile(p.fs, base+".idx", encoded.Bytes(), 0o600); err != nil {
		return gitserver.LocalError{Err: err}
	}
	if err := p.fs.Rename(f.Name(), base+".pack"); err != nil {
		return gitserver.LocalError{Err: err}
	}
	kept = true
	p.use(index, f)
	return nil
}

// emptyPack is the size of a pack without objects: header and checksum.
const emptyPack = 12 + sha1.Size

func indexPack(f billy.File) (*idxfile.MemoryIndex, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	index := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(f), index)
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(); err != nil {
		return nil, err
	}
	return index.Index()
}

// trailer reads all of a pack or index. It returns the checksum at the end if that is the checksum of the content.
func trailer(f io.ReadSeeker) (plumbing.Hash, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if end < emptyPack {
		return plumbing.ZeroHash, io.ErrUnexpectedEOF
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return plumbing.ZeroHash, err
	}
	sum := sha1.New() //nolint:gosec // git's own checksum
	if _, err := io.CopyN(sum, f, end-sha1.Size); err != nil {
		return plumbing.ZeroHash, err
	}
	var want plumbing.Hash
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return plumbing.ZeroHash, err
	}
	if want != plumbing.Hash(sum.Sum(nil)) {
		return plumbing.ZeroHash, errors.New("the checksum does not fit the content")
	}
	return want, nil
}

func (p *packs) all() []*packfile.Packfile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list
}

func (p *packs) find(hash plumbing.Hash) (*packfile.Packfile, bool) {
	for _, pack := range p.all() {
		if ok, err := pack.Contains(hash); ok && err == nil {
			return pack, true
		}
	}
	return nil, false
}

// EncodedObject returns an object. One that the index promises and the pack
// does not hold is damage, and not plumbing.ErrObjectNotFound.
func (p *packs) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
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
func (p *packs) HasEncodedObject(hash plumbing.Hash) error {
	if _, ok := p.find(hash); !ok {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize reads the header of an object.
func (p *packs) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
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
func (p *packs) HashesWithPrefix(prefix []byte) ([]plumbing.Hash, error) {
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
