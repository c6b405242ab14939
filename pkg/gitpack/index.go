package gitpack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// keepBases bounds the objects that are kept while others are made from them. What does not fit is made again.
var keepBases = 64 * gitcache.MiByte

const (
	// leastEntry is the fewest bytes that an object takes in a pack: its header, and a zlib stream of nothing.
	leastEntry = 9
	// longestChain is how many differences may build on each other; git itself makes at most 4,095.
	longestChain = 4095
)

// errMalformed says that a pack is none.
var errMalformed = errors.New("it is malformed")

// indexer makes the index of a pack. go-git's parser holds each object in memory, however large: this one inflates an
// object into its hash, and holds only what differences are made from.
type indexer struct {
	limits  Limits
	scanner *packfile.Scanner
	left    int64 // bytes that may yet be inflated
	bases   *gitcache.BufferLRU

	entries  []entry                   // in the order of the pack
	children []children                // of each entry
	waiting  map[plumbing.Hash][]int32 // differences from an object by its name, which has not come up
	leftOut  bool
}

// entry is an object of a pack.
type entry struct {
	offset int64
	crc    uint32
	base   int32 // the entry that it is a difference from; none
	kind   plumbing.ObjectType
	state  state
	hash   plumbing.Hash // when it is done
}

// children are the differences from an entry, as a list of numbers that count from 1; 0 ends it.
type children struct{ first, next int32 }

const none = -1

type state uint8

const (
	pending state = iota
	done
	omitted // it is larger than an object may be, or a difference from such a one
)

// makeIndex reads a pack within limits. It reports whether blobs were left out of the index, which are too large.
func makeIndex(f io.ReadSeeker, limits Limits) (*idxfile.MemoryIndex, bool, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, false, err
	}
	x := &indexer{
		limits: limits, scanner: packfile.NewScanner(f), left: limits.InflatedBytes,
		bases: gitcache.NewBufferLRU(keepBases), waiting: map[plumbing.Hash][]int32{},
	}
	sum, err := x.scan(size)
	if err == nil {
		err = x.resolve()
	}
	if err != nil {
		return nil, false, err
	}
	index, err := x.write(sum)
	return index, x.leftOut, err
}

// scan reads the entries one after the other, and names those that are no differences.
func (x *indexer) scan(size int64) (plumbing.Hash, error) {
	_, count, err := x.scanner.Header()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if int64(count) > int64(x.limits.Objects) {
		return plumbing.ZeroHash, &gitserver.LimitError{Exceeds: fmt.Sprintf("the server sends a pack of more than %d objects", x.limits.Objects), Setting: "objects"}
	}
	if int64(count) > size/leastEntry {
		return plumbing.ZeroHash, fmt.Errorf("%w: it says that it has %d objects in %d bytes", errMalformed, count, size)
	}
	x.entries, x.children = make([]entry, 0, count), make([]children, count)
	for range count {
		if err := x.scanOne(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	return x.scanner.Checksum()
}

func (x *indexer) scanOne() error {
	header, err := x.scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	e := entry{offset: header.Offset, kind: header.Type, base: none}
	var named *plumbing.Hasher
	switch header.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.TagObject, plumbing.BlobObject:
		if header.Length > x.limits.ObjectBytes {
			if e.kind != plumbing.BlobObject {
				return x.tooLarge(e.kind)
			}
			e.state, x.leftOut = omitted, true
			break
		}
		h := plumbing.NewHasher(header.Type, header.Length)
		named = &h
	case plumbing.OFSDeltaObject:
		if e.base = x.find(header.OffsetReference); e.base == none {
			return fmt.Errorf("%w: an object is a difference from where none is", errMalformed)
		}
		x.adopt(e.base, int32(len(x.entries)))
	case plumbing.REFDeltaObject:
		x.waiting[header.Reference] = append(x.waiting[header.Reference], int32(len(x.entries)))
	default:
		return fmt.Errorf("%w: an object has the type %d", errMalformed, header.Type)
	}
	var into io.Writer = io.Discard
	if named != nil {
		into = named
	}
	if e.crc, err = x.inflate(header, into); err != nil {
		return err
	}
	if named != nil {
		e.hash, e.state = named.Sum(), done
	}
	x.entries = append(x.entries, e)
	return nil
}

// inflate reads the present entry.
func (x *indexer) inflate(header *packfile.ObjectHeader, into io.Writer) (crc uint32, err error) {
	if err := x.spend(header.Length); err != nil {
		return 0, err
	}
	n, crc, err := x.scanner.NextObject(into) // which ends at the length of the header
	if err == nil && n != header.Length {
		err = fmt.Errorf("%w: an object has %d bytes, and %d are announced", errMalformed, n, header.Length)
	}
	return crc, err
}

func (x *indexer) spend(n int64) error {
	if n < 0 || n > x.left {
		return &gitserver.LimitError{Exceeds: "the objects of a pack have more than " + gitserver.Size(x.limits.InflatedBytes) + " when they are inflated", Setting: "inflatedBytes"}
	}
	x.left -= n
	return nil
}

func (x *indexer) tooLarge(kind plumbing.ObjectType) error {
	return &gitserver.LimitError{Exceeds: fmt.Sprintf("the server sends a %s of more than %s", kind, gitserver.Size(x.limits.ObjectBytes)), Setting: "objectBytes"}
}

// find returns the entry at an offset.
func (x *indexer) find(offset int64) int32 {
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].offset >= offset })
	if i == len(x.entries) || x.entries[i].offset != offset {
		return none
	}
	return int32(i)
}

// adopt makes an entry a difference from another.
func (x *indexer) adopt(base, child int32) {
	x.children[child].next, x.children[base].first = x.children[base].first, child+1
}

// resolve names the differences, each after what it is made from.
func (x *indexer) resolve() error {
	type step struct {
		entry int32
		depth int
	}
	for root := range x.entries {
		if x.entries[root].base != none || x.entries[root].kind.IsDelta() {
			continue
		}
		x.claim(int32(root))
		todo := []step{{int32(root), 0}}
		for len(todo) > 0 {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if at.depth > longestChain {
				return fmt.Errorf("%w: more than %d differences build on each other", errMalformed, longestChain)
			}
			if err := x.resolveOne(at.entry); err != nil {
				return err
			}
			for child := x.children[at.entry].first; child != 0; child = x.children[child-1].next {
				todo = append(todo, step{child - 1, at.depth + 1})
			}
		}
	}
	for i := range x.entries {
		if x.entries[i].state == pending && !x.leftOut { // else it may be a difference from what was left out
			return fmt.Errorf("%w: an object is a difference from one that is not in it", errMalformed)
		}
	}
	return nil
}

// claim gives an entry that has a name the differences that wait for it.
func (x *indexer) claim(at int32) {
	if x.entries[at].state != done || len(x.waiting) == 0 {
		return
	}
	hash := x.entries[at].hash
	for _, child := range x.waiting[hash] {
		x.entries[child].base = at
		x.adopt(at, child)
	}
	delete(x.waiting, hash)
}

// resolveOne names a difference of which the base has a name.
func (x *indexer) resolveOne(at int32) error {
	e := &x.entries[at]
	if e.base == none || e.state != pending {
		return nil
	}
	base := &x.entries[e.base]
	e.kind = base.kind // of the root: the bases have theirs already
	if base.state == omitted {
		e.state = omitted
		return nil
	}
	content, err := x.content(at)
	if errors.Is(err, errTooLarge) && e.kind == plumbing.BlobObject {
		e.state, x.leftOut = omitted, true
		return nil
	}
	if errors.Is(err, errTooLarge) {
		return x.tooLarge(e.kind)
	}
	if err != nil {
		return err
	}
	e.hash, e.state = plumbing.ComputeHash(e.kind, content), done
	x.claim(at)
	if x.children[at].first != 0 {
		x.bases.Put(int64(at), content)
	}
	return nil
}

// errTooLarge says that a difference makes more than an object may have.
var errTooLarge = errors.New("the object is too large")

// content makes an object, by way of those that it is made from.
func (x *indexer) content(at int32) ([]byte, error) {
	var content []byte
	var chain []int32
	for ; ; at = x.entries[at].base {
		if kept, ok := x.bases.Get(int64(at)); ok {
			content = kept
			break
		}
		if x.entries[at].base == none {
			whole, err := x.data(at)
			if err != nil {
				return nil, err
			}
			x.bases.Put(int64(at), whole)
			content = whole
			break
		}
		chain = append(chain, at)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		delta, err := x.data(chain[i])
		if err != nil {
			return nil, err
		}
		if content, err = x.apply(content, delta); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// data inflates an entry of the pack into memory.
func (x *indexer) data(at int32) ([]byte, error) {
	header, err := x.scanner.SeekObjectHeader(x.entries[at].offset)
	if err != nil {
		return nil, err
	}
	if header.Length > x.limits.ObjectBytes {
		return nil, errTooLarge
	}
	var into bytes.Buffer
	into.Grow(int(min(header.Length, 1<<20))) // what is announced need not come
	if _, err := x.inflate(header, &into); err != nil {
		return nil, err
	}
	return into.Bytes(), nil
}

// apply makes an object from a base and a difference, which begins with the sizes of both.
func (x *indexer) apply(base, delta []byte) ([]byte, error) {
	_, rest := varint(delta)
	size, _ := varint(rest)
	if size > uint64(x.limits.ObjectBytes) {
		return nil, errTooLarge
	}
	if err := x.spend(int64(size)); err != nil {
		return nil, err
	}
	return packfile.PatchDelta(base, delta)
}

// varint reads a number of a difference, as large as it is written; what is none is left to the library.
func varint(b []byte) (n uint64, rest []byte) {
	const most = 9 // groups of seven bits
	for i, c := range b {
		if i == most {
			return 1 << 63, nil
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return n, b[i+1:]
		}
	}
	return n, nil
}

// write makes the index of what has a name.
func (x *indexer) write(sum plumbing.Hash) (*idxfile.MemoryIndex, error) {
	named := 0
	for i := range x.entries {
		if x.entries[i].state == done {
			named++
		}
	}
	index := new(idxfile.Writer)
	if err := index.OnHeader(uint32(named)); err != nil {
		return nil, err
	}
	for _, e := range x.entries {
		if e.state == done {
			index.Add(e.hash, uint64(e.offset), e.crc)
		}
	}
	if err := index.OnFooter(sum); err != nil {
		return nil, err
	}
	return index.Index()
}
