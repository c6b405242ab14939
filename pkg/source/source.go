// Package source follows a git repository: a branch, a tag, a semver range or
// one commit. It fetches and verifies commits, keeps their objects in a cache,
// and answers what lies in the history. It touches nothing but the remote and
// its own cache folder: it writes to no repository, runs no program, and
// follows no submodule. pkg/gitfiles reads the objects and the files.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// Options name the repository, the followed ref and the credentials. The zero value of everything but URL is useful.
type Options struct {
	// URL is an https, http or ssh address (ssh://host/path or host:path), a
	// file:// address, or a local path, which is read where it is.
	URL string

	// At most one of these selects the followed ref; none means the branch of the remote's HEAD. Semver is a range over
	// tags such as ">=1.2 <2"; Commit is a full hash.
	Branch, Tag, Semver, Commit string

	// RequireFastForward refuses a branch that no longer leads back to where
	// it was (ErrNotFastForward). Only for branches.
	RequireFastForward bool

	Auth Auth

	// CacheDir is the parent folder of the caches, one per URL. When it is
	// empty, cannot be written or is in use by another process, objects are
	// kept in memory.
	CacheDir string

	// Limits bound what the repository may cost. The zero value has the defaults.
	Limits Limits

	// Failed receives the error of each try that failed and is made
	// again, and why objects are kept in memory in place of CacheDir; the
	// error of the last try is returned. It must not call the Repository.
	// Optional.
	Failed func(error)
}

// Auth names the files that hold the credentials.
type Auth = gitserver.Auth

// Commit is one commit as git log prints it.
type Commit struct {
	Hash    string
	Author  string // Name <mail>
	Subject string
	Message string    // without trailing newlines
	Time    time.Time // of the committer
}

// Snapshot is one commit and a read-only view of its files. Files stays readable after later fetches and after Close.
// Many goroutines may use it.
type Snapshot struct {
	Commit  string
	Author  string // Name <mail>
	Subject string
	Message string    // without trailing newlines
	Time    time.Time // of the committer

	// Rewound is the commit where the branch stood before, when the fetch that
	// returned this snapshot found that the branch no longer leads back to it.
	Rewound string

	Files fs.FS
}

// Repository is one git repository under one set of options. Many goroutines may call its methods. Calls to the remote
// run one at a time; the result of the latest Fetch is read beside them.
type Repository struct {
	place  gitserver.Location
	origin origin
	busy   chan struct{} // holds one token while a method runs
	closed bool
}

// origin is a repository reached over the network, or one on this machine.
type origin interface {
	held() *held // the readable part during a fetch; nil: none
	fetch(ctx context.Context) (Snapshot, error)
	at(ctx context.Context, rev revision) (Snapshot, error)
	since(ctx context.Context, from *revision, to revision) ([]Commit, error)
	log(ctx context.Context, to revision, limit int) ([]Commit, error)
	objects(ctx context.Context, to revision, reach Reach) (Objects, error)
	close() error
}

// Open checks the options. It touches neither network nor disk.
func Open(opts Options) (*Repository, error) {
	if opts.URL == "" {
		return nil, errors.New("source url is empty")
	}
	place, err := gitserver.Parse(opts.URL)
	if err != nil {
		return nil, err
	}
	follow, err := parseGoal(opts)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", place, err)
	}
	if opts.Auth.PasswordFile != "" && opts.Auth.TokenFile != "" {
		return nil, fmt.Errorf("source %s: passwordFile and tokenFile are both set: keep one", place)
	}
	if place.Kind == gitserver.OverHTTP && opts.Auth.PasswordFile != "" && cmp.Or(opts.Auth.Username, place.User) == "" {
		return nil, fmt.Errorf("source %s: passwordFile needs a username", place)
	}
	r := &Repository{place: place, busy: make(chan struct{}, 1)}
	limits := opts.Limits.orDefaults()
	if place.Kind == gitserver.OnDisk {
		r.origin = &local{path: place.Path, goal: follow, limits: limits}
		return r, nil
	}
	failed := opts.Failed
	if failed == nil {
		failed = func(error) {}
	}
	server := gitserver.New(place, opts.Auth, failed)
	server.Limits = limits.ofServer()
	r.origin = &remote{
		server:    server,
		goal:      follow,
		mostPacks: mostPacks,
		shelf:     newShelf(opts.CacheDir, place, limits, failed),
	}
	return r, nil
}

// Fetch returns the newest commit of the followed ref. It lists the remote's refs and transfers objects only if the ref
// moved; otherwise it returns the same Snapshot. After an error the last Snapshot is as good as before.
func (r *Repository) Fetch(ctx context.Context) (Snapshot, error) {
	if err := r.enter(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("fetching %s: %w", r.place, err)
	}
	defer r.leave()
	snap, err := r.origin.fetch(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("fetching %s: %w", r.place, err)
	}
	return snap, nil
}

// At returns the snapshot of a commit, a branch, a tag, an abbreviated hash (four digits or more), or HEAD, the followed
// ref; each may have ~N and ^N after it. It fetches missing history, at most all of it. It does not change the commit
// that the next Fetch compares with.
func (r *Repository) At(ctx context.Context, rev string) (Snapshot, error) {
	parsed, err := parseRevision(rev)
	if err != nil {
		return Snapshot{}, err
	}
	if held := r.origin.held(); held != nil {
		if snap, ok := held.at(parsed); ok {
			return snap, nil
		}
	}
	if err := r.enter(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("reading %s of %s: %w", rev, r.place, err)
	}
	defer r.leave()
	snap, err := r.origin.at(ctx, parsed)
	if err != nil {
		return Snapshot{}, fmt.Errorf("reading %s of %s: %w", rev, r.place, err)
	}
	return snap, nil
}

// Since returns the commits that are reachable from one revision (to) and not
// from another (from), newest first. It reaches as far back as the fetched
// history does: an empty from, or one that is not in it, as after a force push,
// gives just the commit to.
func (r *Repository) Since(ctx context.Context, from, to string) ([]Commit, error) {
	end, err := parseRevision(to)
	if err != nil {
		return nil, err
	}
	var start *revision
	if from != "" {
		parsed, err := parseRevision(from)
		if err != nil {
			return nil, err
		}
		start = &parsed
	}
	if held := r.origin.held(); held != nil {
		if commits, ok := held.since(start, end); ok {
			return commits, nil
		}
	}
	if err := r.enter(ctx); err != nil {
		return nil, fmt.Errorf("listing commits of %s: %w", r.place, err)
	}
	defer r.leave()
	commits, err := r.origin.since(ctx, start, end)
	if err != nil {
		return nil, fmt.Errorf("listing commits of %s up to %s: %w", r.place, to, err)
	}
	return commits, nil
}

// Log lists at most limit commits that are reachable from a revision, with it,
// newest first by their committers' clocks, as far back as the fetched history
// reaches. It fetches only the revision itself.
func (r *Repository) Log(ctx context.Context, to string, limit int) ([]Commit, error) {
	end, err := parseRevision(to)
	if err != nil {
		return nil, err
	}
	if held := r.origin.held(); held != nil {
		if commits, ok := held.log(end, limit); ok {
			return commits, nil
		}
	}
	if err := r.enter(ctx); err != nil {
		return nil, fmt.Errorf("listing commits of %s: %w", r.place, err)
	}
	defer r.leave()
	commits, err := r.origin.log(ctx, end, limit)
	if err != nil {
		return nil, fmt.Errorf("listing commits of %s up to %s: %w", r.place, to, err)
	}
	return commits, nil
}

// Close lets go of the cache folder and of idle connections. Snapshots stay
// readable.
func (r *Repository) Close() error {
	r.busy <- struct{}{}
	defer r.leave()
	if r.closed {
		return nil
	}
	r.closed = true
	return r.origin.close()
}

func (r *Repository) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r.busy <- struct{}{}:
	}
	if r.closed {
		r.leave()
		return os.ErrClosed
	}
	return nil
}

func (r *Repository) leave() { <-r.busy }

// goal selects the followed ref. At most one of the strings is set.
type goal struct {
	branch, tag, commit string
	semver              *semver.Constraints
	semverText          string
	fastForward         bool
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

func parseGoal(opts Options) (goal, error) {
	var set []string
	for _, key := range []struct{ name, value string }{
		{"branch", opts.Branch}, {"tag", opts.Tag}, {"semver", opts.Semver}, {"commit", opts.Commit},
	} {
		if key.value != "" {
			set = append(set, key.name)
		}
	}
	if len(set) > 1 {
		return goal{}, fmt.Errorf("%s are set: keep one", strings.Join(set, " and "))
	}
	g := goal{
		branch:      strings.TrimPrefix(opts.Branch, "refs/heads/"),
		tag:         strings.TrimPrefix(opts.Tag, "refs/tags/"),
		commit:      strings.ToLower(opts.Commit),
		semverText:  opts.Semver,
		fastForward: opts.RequireFastForward,
	}
	if g.commit != "" && !fullHash.MatchString(g.commit) {
		return goal{}, fmt.Errorf("commit %q is not a full hash of 40 digits", opts.Commit)
	}
	if opts.Semver != "" {
		constraint, err := semver.NewConstraint(opts.Semver)
		if err != nil {
			return goal{}, fmt.Errorf("semver range %q: %w", opts.Semver, err)
		}
		g.semver = constraint
	}
	if g.fastForward && (g.tag != "" || g.commit != "" || g.semver != nil) {
		return goal{}, fmt.Errorf("requireFastForward is for branches, and %s is set", set[0])
	}
	return g, nil
}
