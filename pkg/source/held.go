package source

import (
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/syncerdev/syncer/pkg/gitfiles"
)

// held is the fetched part of a remote, as of the end of the latest fetch. It answers without the remote, also during a
// fetch, so that a slow server blocks no reader of the local history. It does not change.
type held struct {
	store  *gitfiles.Store
	listed refs
	goal   goal

	good bool // last is there
	tip  plumbing.Hash
	last Snapshot
}

// find resolves revisions that do not move: hashes, and HEAD as it was fetched.
func (h *held) find(rev revision) (plumbing.Hash, bool) {
	if h.store.Spoiled() {
		return plumbing.ZeroHash, false
	}
	start := plumbing.NewHash(rev.base)
	switch {
	case rev.isHash():
	case rev.base == "HEAD" && h.good:
		start = h.tip
	case abbreviation.MatchString(rev.base):
		if _, isRef := h.listed.lookup(rev.base); isRef {
			return plumbing.ZeroHash, false
		}
		var err error
		if start, err = historyOf(h.store).abbreviated(rev.base); err != nil {
			return plumbing.ZeroHash, false
		}
	default:
		return plumbing.ZeroHash, false
	}
	hash, err := historyOf(h.store).locate(start, rev)
	return hash, err == nil
}

// at reads a revision; false: the remote has to be asked.
func (h *held) at(rev revision) (Snapshot, bool) {
	hash, ok := h.find(rev)
	if !ok {
		return Snapshot{}, false
	}
	if h.good && hash.String() == h.last.Commit {
		return h.last, true
	}
	snap, err := historyOf(h.store).snapshot(hash, false)
	return snap, err == nil
}

// since and log list commits; false: the remote has to be asked.
func (h *held) since(from *revision, to revision) ([]Commit, bool) {
	end, ok := h.find(to)
	if !ok {
		return nil, false
	}
	commits, err := historyOf(h.store).since(from, end, h.listed, h.goal)
	return commits, err == nil
}

func (h *held) log(to revision, limit int) ([]Commit, bool) {
	end, ok := h.find(to)
	if !ok {
		return nil, false
	}
	commits, err := historyOf(h.store).log(end, limit)
	return commits, err == nil
}
