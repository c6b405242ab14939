package source

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// Object is a commit object as git keeps it, by which its signature is checked.
type Object struct {
	Hash    string
	Parents []string
	Raw     []byte
}

// Reach says which commits Objects lists.
type Reach struct {
	// Without leaves out these commits and those that are reachable from them. The commit at which the list begins stays.
	Without []string
	// FirstParent follows only the first parent of each commit.
	FirstParent bool
	// Most is the number of commits after which the list ends.
	Most int
}

// Objects are the commits that are reachable from one, which is the first.
type Objects struct {
	Commits []Object
	// Missing is a parent that the repository does not have, as where the history of the server is shallow; empty: there is
	// none.
	Missing string
	// Unknown are those of Reach.Without that the repository does not have: it is not known what leads to them.
	Unknown []string
	// More says that there are more commits than were asked for, or more bytes than are read.
	More bool
}

// mostObjectBytes bounds the bytes that Objects reads: commit messages may be long.
const mostObjectBytes = 64 << 20

// Objects lists the commits that are reachable from a revision, with it. Unless it follows first parents only, it fetches missing
// history, at most all of it.
func (r *Repository) Objects(ctx context.Context, to string, reach Reach) (Objects, error) {
	end, err := parseRevision(to)
	if err != nil {
		return Objects{}, err
	}
	if held := r.origin.held(); held != nil {
		if hash, ok := held.find(end); ok {
			if found, err := historyOf(held.store).reachable(hash, reach); err == nil && (found.Missing == "" || reach.FirstParent) {
				return found, nil
			}
		}
	}
	if err := r.enter(ctx); err != nil {
		return Objects{}, fmt.Errorf("reading commits of %s: %w", r.place, err)
	}
	defer r.leave()
	found, err := r.origin.objects(ctx, end, reach)
	if err != nil {
		return Objects{}, fmt.Errorf("reading commits of %s up to %s: %w", r.place, to, err)
	}
	return found, nil
}

func (l *local) objects(_ context.Context, to revision, reach Reach) (Objects, error) {
	if err := l.look(); err != nil {
		return Objects{}, err
	}
	end, err := l.find(to)
	if err != nil {
		return Objects{}, err
	}
	return historyOf(l.store).reachable(end, reach)
}

func (r *remote) objects(ctx context.Context, to revision, reach Reach) (Objects, error) {
	end, err := r.find(ctx, to)
	if err != nil {
		return Objects{}, err
	}
	found, err := historyOf(r.cache.store).reachable(end, reach)
	for _, depth := range []int{deeperDepth, allHistory} {
		if err != nil || found.Missing == "" || reach.FirstParent || r.cache.whole() {
			break
		}
		if err = r.call(ctx, func(ctx context.Context, c *conn) error { return r.deepen(ctx, c, end, depth) }); err != nil {
			return Objects{}, err
		}
		if r.shown.Load() != nil {
			r.shown.Store(r.holding())
		}
		found, err = historyOf(r.cache.store).reachable(end, reach)
	}
	return found, err
}

// deepen fetches more history of a commit.
func (r *remote) deepen(ctx context.Context, c *conn, of plumbing.Hash, depth int) error {
	if !slices.Contains(c.refs.tips(), of) {
		return r.bringAll(ctx, c) // the ref has moved on
	}
	return r.renew(ctx, c, []plumbing.Hash{of}, depth)
}

// reachable lists commits as far as the store goes.
func (h history) reachable(from plumbing.Hash, reach Reach) (Objects, error) {
	var out Objects
	seen, err := h.without(reach.Without)
	if err != nil {
		return Objects{}, err
	}
	for _, known := range reach.Without {
		if !h.store.Has(plumbing.NewHash(known)) {
			out.Unknown = append(out.Unknown, known)
		}
	}
	delete(seen, from)
	size := 0
	for todo := []plumbing.Hash{from}; len(todo) > 0; todo = todo[1:] {
		hash := todo[0]
		if seen[hash] {
			continue
		}
		seen[hash] = true
		if !h.store.Has(hash) {
			out.Missing = hash.String()
			continue
		}
		if out.More = len(out.Commits) >= reach.Most || size > mostObjectBytes; out.More {
			break
		}
		each, parents, err := h.whole(hash)
		if err != nil {
			return Objects{}, err
		}
		size += len(each.Raw)
		out.Commits = append(out.Commits, each)
		if reach.FirstParent && len(parents) > 1 {
			parents = parents[:1]
		}
		todo = append(todo, parents...)
	}
	return out, nil
}

// without collects commits and what is reachable from them, as far as the store goes.
func (h history) without(commits []string) (map[plumbing.Hash]bool, error) {
	out := map[plumbing.Hash]bool{}
	for _, each := range commits {
		hash := plumbing.NewHash(each)
		if out[hash] {
			continue
		}
		older, err := h.ancestors(hash)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, older)
		out[hash] = true
	}
	return out, nil
}

// whole reads a commit object.
func (h history) whole(hash plumbing.Hash) (Object, []plumbing.Hash, error) {
	commit, err := h.store.Commit(hash)
	if err != nil {
		return Object{}, nil, err
	}
	out := Object{Hash: hash.String()}
	if out.Raw, err = h.store.CommitText(hash); err != nil {
		return Object{}, nil, err
	}
	for _, parent := range commit.ParentHashes {
		out.Parents = append(out.Parents, parent.String())
	}
	return out, commit.ParentHashes, nil
}
