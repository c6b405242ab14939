package source

import (
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/syncerdev/syncer/pkg/gitfiles"
)

// history walks the commits of a store.
//
// A store may hold a shallow history, which ends at a commit without its parent. A walk cannot always prove that a commit
// is not an ancestor: it may return unknown.
type history struct{ store *gitfiles.Store }

func historyOf(store *gitfiles.Store) history { return history{store: store} }

// snapshot reads a commit with its folders, and checks that every object of it exists. newest keeps the folders for the
// next call.
func (h history) snapshot(hash plumbing.Hash, newest bool) (Snapshot, error) {
	commit, err := h.store.Commit(hash)
	if err != nil {
		return Snapshot{}, err
	}
	c := describe(commit)
	files, err := h.store.Files(commit.TreeHash, c.Time, newest)
	if err != nil {
		return Snapshot{}, fmt.Errorf("commit %s: %w", hash, err)
	}
	return Snapshot{Commit: c.Hash, Author: c.Author, Subject: c.Subject, Message: c.Message, Time: c.Time, Files: files}, nil
}

// ancestors are the commits reachable from one, with itself, as far as the
// store goes.
func (h history) ancestors(from plumbing.Hash) (map[plumbing.Hash]bool, error) {
	seen := map[plumbing.Hash]bool{}
	for todo := []plumbing.Hash{from}; len(todo) > 0; {
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[hash] || !h.store.Has(hash) {
			continue
		}
		commit, err := h.store.Commit(hash)
		if err != nil {
			return nil, err
		}
		seen[hash] = true
		todo = append(todo, commit.ParentHashes...)
	}
	return seen, nil
}

type lineage int

const (
	leadsBack lineage = iota // the old commit is an ancestor
	rewound                  // it is not
	unknown                  // the fetched history ends too early to tell
)

// compare reports whether the history of a commit leads back to an old one.
// older holds the ancestors of the old commit, as far as known: none of them
// can have it as an ancestor, so the walk stops there, and a history that was
// rewritten near its end is judged without its far end.
func (h history) compare(now, old plumbing.Hash, older map[plumbing.Hash]bool) (lineage, error) {
	seen := map[plumbing.Hash]bool{}
	result := rewound
	for todo := []plumbing.Hash{now}; len(todo) > 0; todo = todo[1:] { // breadth first: the old one is near
		hash := todo[0]
		if hash == old {
			return leadsBack, nil
		}
		if seen[hash] || older[hash] {
			continue
		}
		seen[hash] = true
		if !h.store.Has(hash) {
			result = unknown
			continue
		}
		commit, err := h.store.Commit(hash)
		if err != nil {
			return unknown, err
		}
		todo = append(todo, commit.ParentHashes...)
	}
	return result, nil
}

// between lists the commits reachable from one and not among the excluded,
// newest first and children before their parents.
func (h history) between(excluded map[plumbing.Hash]bool, to plumbing.Hash) ([]Commit, error) {
	commits := map[plumbing.Hash]*object.Commit{}
	children := map[plumbing.Hash]int{} // how many of the listed commits have it as a parent
	for todo := []plumbing.Hash{to}; len(todo) > 0; {
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if commits[hash] != nil || excluded[hash] || !h.store.Has(hash) {
			continue
		}
		commit, err := h.store.Commit(hash)
		if err != nil {
			return nil, err
		}
		commits[hash] = commit
		for _, parent := range commit.ParentHashes {
			children[parent]++
			todo = append(todo, parent)
		}
	}
	var list []Commit
	var ready []*object.Commit // all children listed; the newest last
	if first := commits[to]; first != nil {
		ready = append(ready, first)
	}
	for len(ready) > 0 {
		commit := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		list = append(list, describe(commit))
		for _, parent := range commit.ParentHashes {
			if children[parent]--; children[parent] > 0 || commits[parent] == nil {
				continue
			}
			at, _ := slices.BinarySearchFunc(ready, commits[parent], func(a, b *object.Commit) int {
				return a.Committer.When.Compare(b.Committer.When)
			})
			ready = slices.Insert(ready, at, commits[parent])
		}
	}
	return list, nil
}

// log lists commits reachable from one, newest first, at most so many.
func (h history) log(from plumbing.Hash, limit int) ([]Commit, error) {
	var list []Commit
	var ready []*object.Commit // seen and not listed; the newest last
	seen := map[plumbing.Hash]bool{}
	see := func(hash plumbing.Hash) error {
		if seen[hash] || !h.store.Has(hash) {
			return nil
		}
		seen[hash] = true
		commit, err := h.store.Commit(hash)
		if err != nil {
			return err
		}
		at, _ := slices.BinarySearchFunc(ready, commit, func(a, b *object.Commit) int {
			return a.Committer.When.Compare(b.Committer.When)
		})
		ready = slices.Insert(ready, at, commit)
		return nil
	}
	if err := see(from); err != nil {
		return nil, err
	}
	for len(ready) > 0 && len(list) < limit {
		commit := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		list = append(list, describe(commit))
		for _, parent := range commit.ParentHashes {
			if err := see(parent); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// since lists the commits up to one that are not reachable from a revision; only that one where the revision is not in
// the store.
func (h history) since(from *revision, end plumbing.Hash, known refs, g goal) ([]Commit, error) {
	if from == nil {
		commit, err := h.store.Commit(end)
		if err != nil {
			return nil, err
		}
		return []Commit{describe(commit)}, nil
	}
	start, err := h.resolve(*from, known, g)
	if err != nil {
		// History was rewritten, and the commit is gone. The other commits were listed earlier.
		return h.since(nil, end, known, g)
	}
	excluded, err := h.ancestors(start)
	if err != nil {
		return nil, err
	}
	return h.between(excluded, end)
}
