package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitserver"
)

const (
	// shallowDepth is how much history a first fetch brings: enough for a look
	// back over some days of merges, and cheap.
	shallowDepth = 50
	// deeperDepth is tried before all of history when it has to be decided
	// whether a branch still leads back to where it was.
	deeperDepth = 1000
	// allHistory asks for everything.
	allHistory = 0
)

// mostPacks is how many packs a cache gathers, one per fetch that brought something. The fetch after that starts with an
// empty cache, which also drops old history.
const mostPacks = 64

// remote is a repository reached over http or ssh.
type remote struct {
	server *gitserver.Server
	goal   goal
	shelf  *shelf
	cache  *cache // nil before its first use

	mostPacks int // bounds the packs of a cache

	listed refs // as of the latest listing

	// The result of the latest fetch; good is false before the first one.
	good    bool
	target  target
	last    Snapshot
	refused refusal // since then

	shown atomic.Pointer[held] // as of the end of the latest fetch; nil: there was none, or it is closed
}

func (r *remote) held() *held { return r.shown.Load() }

func (r *remote) fetch(ctx context.Context) (Snapshot, error) {
	snap, err := r.newest(ctx)
	if err == nil {
		r.shown.Store(r.holding())
	}
	return snap, err
}

func (r *remote) newest(ctx context.Context) (Snapshot, error) {
	if err := r.prepare(); err != nil {
		return Snapshot{}, err
	}
	if r.goal.commit != "" && r.settled(target{tip: plumbing.NewHash(r.goal.commit)}) {
		return r.last, nil // a commit does not move
	}
	var snap Snapshot
	err := r.call(ctx, func(ctx context.Context, c *conn) error {
		t, err := c.refs.pick(r.goal)
		if err != nil {
			return err
		}
		if r.settled(t) {
			r.target, snap = t, r.last
			return nil
		}
		if r.refused.err != nil && r.refused.tip == t.tip && time.Since(r.refused.at) < refusedFor {
			return r.refused.err
		}
		snap, err = r.follow(ctx, c, t)
		if r.refused = (refusal{}); errors.Is(err, ErrLimit) {
			r.refused = refusal{tip: t.tip, err: err, at: time.Now()}
		}
		return err
	})
	return snap, err
}

// refusal is a commit whose objects exceed a limit. They are not received again at each poll.
type refusal struct {
	tip plumbing.Hash
	err error
	at  time.Time
}

// refusedFor is how long a commit counts as refused: the server may mend what it sends.
const refusedFor = 10 * time.Minute

// settled reports whether the last snapshot is still the answer.
func (r *remote) settled(t target) bool {
	return r.good && t.tip == r.target.tip && !r.last.Files.(*gitfiles.FS).Spoiled()
}

// follow moves on to a ref that moved.
func (r *remote) follow(ctx context.Context, c *conn, t target) (Snapshot, error) {
	old, oldCache := r.stood(t), r.cache
	snap, err := r.obtain(ctx, c, t)
	if err != nil {
		return Snapshot{}, err
	}
	if t.isBranch() && !old.IsZero() && old.String() != snap.Commit {
		if snap, err = r.judge(ctx, c, t, snap, old, oldCache); err != nil {
			return Snapshot{}, err
		}
	}
	if err := r.cache.stand(t); err != nil {
		r.cache.store.Spoil() // a cache that cannot be written is replaced at the next fetch
	}
	if r.good && snap.Commit == r.last.Commit && !r.last.Files.(*gitfiles.FS).Spoiled() {
		snap.Files = r.last.Files // another tag for the same commit
	}
	r.good, r.target, r.last = true, t, snap
	r.last.Rewound = ""
	return snap, nil
}

// stood is where a ref was when it was last followed.
func (r *remote) stood(t target) plumbing.Hash {
	if r.good && r.target.name == t.name {
		return r.target.tip
	}
	hash, _ := r.cache.standing(t.name) // zero when not known
	return hash
}

// obtain makes sure that a target with all its files is in the cache.
func (r *remote) obtain(ctx context.Context, c *conn, t target) (Snapshot, error) {
	if snap, err := r.read(t.tip); err == nil {
		return snap, nil
	}
	if t.name == "" {
		return r.obtainCommit(ctx, c, t.tip)
	}
	return r.bring(ctx, c, t.tip)
}

// read takes a snapshot out of the cache, if all of it is there.
func (r *remote) read(tip plumbing.Hash) (Snapshot, error) {
	if r.cache.store.Spoiled() {
		return Snapshot{}, errBeyond
	}
	hash, err := r.cache.store.Peel(tip)
	if err != nil {
		return Snapshot{}, err
	}
	return historyOf(r.cache.store).snapshot(hash, true)
}

// bring fetches the tip of a ref. It fetches only new objects if the cache can be built on. Otherwise, or if the objects
// do not fit together, it fetches all of them into a new cache.
func (r *remote) bring(ctx context.Context, c *conn, tip plumbing.Hash) (Snapshot, error) {
	if r.cache.usable(r.mostPacks) {
		depth := shallowDepth
		if r.cache.whole() {
			depth = allHistory
		}
		missed := r.cache.store.CountMissing()
		err := c.receive(ctx, r.cache, []plumbing.Hash{tip}, depth)
		if err == nil {
			// A file that is missing may be too large, or lost: a fetch of everything tells.
			snap, err := r.read(tip)
			if (err == nil || isExplained(err)) && r.cache.store.CountMissing() == missed {
				r.cache.learn(tip)
				return snap, err
			}
		} else if isFinal(err) {
			return Snapshot{}, err
		}
	}
	if err := r.renew(ctx, c, []plumbing.Hash{tip}, shallowDepth); err != nil {
		return Snapshot{}, err
	}
	return r.readNew(tip)
}

// isFinal reports whether asking again without the cache makes no sense.
func isFinal(err error) bool {
	return errors.Is(err, ErrAuth) || errors.Is(err, ErrUnreachable) || errors.Is(err, gitserver.ErrRedirect) || errors.Is(err, ErrLimit) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (r *remote) readNew(tip plumbing.Hash) (Snapshot, error) {
	snap, err := r.read(tip)
	if err == nil || isExplained(err) {
		return snap, err
	}
	return Snapshot{}, fmt.Errorf("%w: the server left something out: %w", ErrIncomplete, err)
}

// obtainCommit fetches a commit by its hash. Servers need not grant that
// (git's own does not, as configured from the start); then all of history is
// fetched.
func (r *remote) obtainCommit(ctx context.Context, c *conn, hash plumbing.Hash) (Snapshot, error) {
	if slices.Contains(c.refs.tips(), hash) || grantsHashes(c.server.Advertised()) {
		snap, err := r.bring(ctx, c, hash)
		if err == nil || isFinal(err) {
			return snap, err
		}
	}
	if err := r.bringAll(ctx, c); err != nil {
		return Snapshot{}, err
	}
	if !r.cache.store.Has(hash) {
		return Snapshot{}, fmt.Errorf("%w: no branch or tag of the repository leads to %s", ErrCommitNotFound, hash)
	}
	return r.readNew(hash)
}

func grantsHashes(adv *packp.AdvRefs) bool {
	return adv.Capabilities.Supports(capability.AllowReachableSHA1InWant) ||
		adv.Capabilities.Supports(capability.AllowTipSHA1InWant)
}

// bringAll fetches the whole history of all branches and tags.
func (r *remote) bringAll(ctx context.Context, c *conn) error {
	tips := c.refs.tips()
	if r.cache.whole() && r.cache.usable(r.mostPacks) {
		tips = slices.DeleteFunc(tips, r.cache.store.Has)
		if len(tips) == 0 {
			return nil
		}
		if err := c.receive(ctx, r.cache, tips, allHistory); err == nil || isFinal(err) {
			return err
		}
		tips = c.refs.tips()
	}
	return r.renew(ctx, c, tips, allHistory)
}

// judge finds out whether a branch still leads back to where it stood, with as
// much history as that takes, and notes or refuses it when it does not.
func (r *remote) judge(ctx context.Context, c *conn, t target, snap Snapshot, old plumbing.Hash, oldCache *cache) (Snapshot, error) {
	older, err := historyOf(oldCache.store).ancestors(old)
	if err != nil {
		older = nil // the old cache is damaged: the question takes more history then
	}
	verdict, err := historyOf(r.cache.store).compare(t.tip, old, older)
	for _, depth := range []int{deeperDepth, allHistory} {
		if err != nil || verdict != unknown {
			break
		}
		if err := r.renew(ctx, c, []plumbing.Hash{t.tip}, depth); err != nil {
			return Snapshot{}, err
		}
		if snap, err = r.readNew(t.tip); err != nil {
			return Snapshot{}, err
		}
		verdict, err = historyOf(r.cache.store).compare(t.tip, old, older)
	}
	if err != nil {
		return Snapshot{}, err
	}
	return rule(r.goal, t, snap, old, verdict)
}

// rule applies the verdict on a branch that moved. The verdict can stay unknown where the server's own history is
// shallow: then the branch counts as rewound.
func rule(g goal, t target, snap Snapshot, old plumbing.Hash, verdict lineage) (Snapshot, error) {
	if verdict == leadsBack {
		return snap, nil
	}
	if g.fastForward {
		return Snapshot{}, fmt.Errorf("%w: %s stood at %s and is now at %s, which does not lead back to it; "+
			"put the branch back, or set requireFastForward to false to follow", ErrNotFastForward, strings.TrimPrefix(t.name, branches), old, snap.Commit)
	}
	snap.Rewound = old.String()
	return snap, nil
}

// at reads a revision, at first without the network where it can be.
func (r *remote) at(ctx context.Context, rev revision) (Snapshot, error) {
	hash, err := r.find(ctx, rev)
	if err != nil {
		return Snapshot{}, err
	}
	if r.good && hash.String() == r.last.Commit {
		return r.last, nil
	}
	if snap, err := historyOf(r.cache.store).snapshot(hash, false); err == nil {
		return snap, nil
	}
	// The commit is in the cache and some of its files are not: fetch it alone.
	err = r.call(ctx, func(ctx context.Context, c *conn) error {
		r.cache.store.Spoil()
		_, err := r.obtainCommit(ctx, c, hash)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	return historyOf(r.cache.store).snapshot(hash, false)
}

// find resolves a revision to a commit that is in the cache.
func (r *remote) find(ctx context.Context, rev revision) (plumbing.Hash, error) {
	if err := r.prepare(); err != nil {
		return plumbing.ZeroHash, err
	}
	if hash, ok := r.holding().find(rev); ok {
		return hash, nil
	}
	var hash plumbing.Hash
	err := r.call(ctx, func(ctx context.Context, c *conn) (err error) {
		hash, err = r.findThere(ctx, c, rev)
		return err
	})
	return hash, err
}

// holding is the local part as of now.
func (r *remote) holding() *held {
	return &held{store: r.cache.store, listed: r.listed, goal: r.goal, good: r.good, tip: r.target.tip, last: r.last}
}

// findThere resolves a revision with the help of the server.
func (r *remote) findThere(ctx context.Context, c *conn, rev revision) (plumbing.Hash, error) {
	if !r.cache.store.Spoiled() {
		hash, err := historyOf(r.cache.store).resolve(rev, c.refs, r.goal)
		if !errors.Is(err, errBeyond) {
			return hash, err
		}
	}
	tip, isRef := c.refs.lookup(rev.base)
	if rev.base == "HEAD" {
		t, err := c.refs.pick(r.goal)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tip, isRef = t.tip, t.name != ""
	}
	if isRef && !r.cache.store.Has(tip) {
		if _, err := r.bring(ctx, c, tip); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	if rev.isHash() && !r.cache.store.Has(plumbing.NewHash(rev.base)) {
		if _, err := r.obtainCommit(ctx, c, plumbing.NewHash(rev.base)); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	hash, err := historyOf(r.cache.store).resolve(rev, c.refs, r.goal)
	if !errors.Is(err, errBeyond) {
		return hash, err
	}
	if err := r.bringAll(ctx, c); err != nil {
		return plumbing.ZeroHash, err
	}
	hash, err = historyOf(r.cache.store).resolve(rev, c.refs, r.goal)
	if errors.Is(err, errBeyond) {
		return hash, fmt.Errorf("%w: no branch or tag of the repository leads to it", ErrCommitNotFound)
	}
	return hash, err
}

func (r *remote) since(ctx context.Context, from *revision, to revision) ([]Commit, error) {
	end, err := r.find(ctx, to)
	if err != nil {
		return nil, err
	}
	return historyOf(r.cache.store).since(from, end, r.listed, r.goal)
}

func (r *remote) log(ctx context.Context, to revision, limit int) ([]Commit, error) {
	end, err := r.find(ctx, to)
	if err != nil {
		return nil, err
	}
	return historyOf(r.cache.store).log(end, limit)
}

func (r *remote) close() error {
	r.shown.Store(nil)
	r.server.Close()
	return r.shelf.close()
}

// prepare opens the cache at its first use.
func (r *remote) prepare() (err error) {
	if r.cache == nil {
		r.cache, err = r.shelf.open()
	}
	return err
}

// renew fetches into an empty cache and puts that in the place of the present
// one. A disk that refuses is no reason to stop: there is memory.
func (r *remote) renew(ctx context.Context, c *conn, wants []plumbing.Hash, depth int) error {
	fresh, err := r.shelf.blank()
	if err == nil {
		if err = fill(ctx, c, fresh, r.cache, wants, depth); err == nil {
			err = r.shelf.replace(fresh)
		}
		if err == nil {
			r.cache = fresh
			return nil
		}
		fresh.discard()
	}
	if !errors.As(err, new(gitserver.LocalError)) {
		return err
	}
	if fresh, err = r.shelf.spare(err); err != nil {
		return err
	}
	if err := fill(ctx, c, fresh, r.cache, wants, depth); err != nil {
		return err
	}
	r.cache = fresh
	return nil
}

// fill fetches commits into a fresh cache, which then takes over what an older one knows.
func fill(ctx context.Context, c *conn, fresh, older *cache, wants []plumbing.Hash, depth int) error {
	if err := c.receive(ctx, fresh, wants, depth); err != nil {
		return err
	}
	for _, tip := range wants {
		fresh.learn(tip)
	}
	return fresh.inherit(older)
}
