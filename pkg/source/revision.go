package source

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// revision is the written name of a commit: a base, and the hops from there.
type revision struct {
	base string
	hops []hop
}

// hop goes to a parent: the nth ('^'), or the first one n times ('~').
type hop struct {
	kind byte
	n    int
}

var (
	revisionForm = regexp.MustCompile(`^([^~^:\s\\?*\[]+)((?:[~^]\d*|\^\{(?:commit)?\})*)$`)
	hopForm      = regexp.MustCompile(`([~^])(\d*)(\{(?:commit)?\})?`)
	abbreviation = regexp.MustCompile(`^[0-9a-fA-F]{4,39}$`)
)

// errBeyond says that a commit has a parent which was not fetched.
var errBeyond = errors.New("beyond the fetched history")

func parseRevision(text string) (revision, error) {
	m := revisionForm.FindStringSubmatch(text)
	if m == nil || strings.Contains(m[1], "@{") || strings.Contains(m[1], "..") {
		return revision{}, fmt.Errorf("%w: %q: give a commit, a branch, a tag or HEAD, perhaps with ~N or ^N", ErrRevision, text)
	}
	rev := revision{base: m[1]}
	if rev.base == "@" {
		rev.base = "HEAD"
	}
	if lower := strings.ToLower(rev.base); fullHash.MatchString(lower) {
		rev.base = lower
	}
	for _, h := range hopForm.FindAllStringSubmatch(m[2], -1) {
		n := 1
		if h[3] != "" {
			n = 0
		}
		if h[2] != "" {
			var err error
			if n, err = strconv.Atoi(h[2]); err != nil {
				return revision{}, fmt.Errorf("%w: %q: %w", ErrRevision, text, err)
			}
		}
		rev.hops = append(rev.hops, hop{h[1][0], n})
	}
	return rev, nil
}

// isHash reports whether the base is a full hash.
func (r revision) isHash() bool { return fullHash.MatchString(r.base) }

// locate goes from an object to the commit that the revision names. The error
// is errBeyond when fetching more could help.
func (h history) locate(start plumbing.Hash, rev revision) (plumbing.Hash, error) {
	if !h.store.Has(start) {
		return plumbing.ZeroHash, errBeyond
	}
	hash, err := h.store.Peel(start)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for _, each := range rev.hops {
		count, parent := each.n, 1
		if each.kind == '^' {
			count, parent = min(each.n, 1), each.n
		}
		for range count {
			if hash, err = h.parent(hash, parent); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	return hash, nil
}

func (h history) parent(hash plumbing.Hash, n int) (plumbing.Hash, error) {
	commit, err := h.store.Commit(hash)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if n > len(commit.ParentHashes) {
		return plumbing.ZeroHash, fmt.Errorf("%w: %s has %d parents", ErrCommitNotFound, hash, len(commit.ParentHashes))
	}
	parent := commit.ParentHashes[n-1]
	if !h.store.Has(parent) {
		return plumbing.ZeroHash, errBeyond
	}
	return parent, nil
}

// abbreviated finds the one commit whose hash starts so.
func (h history) abbreviated(prefix string) (plumbing.Hash, error) {
	found, err := h.store.CommitsWithPrefix(strings.ToLower(prefix))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	switch len(found) {
	case 0:
		return plumbing.ZeroHash, errBeyond
	case 1:
		return found[0], nil
	default:
		return plumbing.ZeroHash, fmt.Errorf("%w: %q stands for %d commits: give more digits", ErrRevision, prefix, len(found))
	}
}

// resolve finds a revision in a store, given the refs.
func (h history) resolve(rev revision, known refs, g goal) (plumbing.Hash, error) {
	start, ok := plumbing.NewHash(rev.base), rev.isHash()
	if !ok && rev.base == "HEAD" {
		t, err := known.pick(g)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		start, ok = t.tip, true
	}
	if !ok {
		start, ok = known.lookup(rev.base)
	}
	if !ok {
		if !abbreviation.MatchString(rev.base) {
			return plumbing.ZeroHash, fmt.Errorf("%w: %q is no branch, tag or commit; %s",
				ErrCommitNotFound, rev.base, known.have("branches", branches))
		}
		var err error
		if start, err = h.abbreviated(rev.base); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	return h.locate(start, rev)
}
