package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

const (
	branches = "refs/heads/"
	tags     = "refs/tags/"
)

// refs are the refs that a repository lists.
type refs struct {
	hashes map[string]plumbing.Hash // by full name
	peeled map[string]plumbing.Hash // commits of annotated tags, where told
	head   string                   // the ref that HEAD names, "HEAD" when it names a commit
}

// target is the ref that a goal selects at one moment, and its tip.
type target struct {
	name string        // full name of the ref; empty for a bare commit
	tip  plumbing.Hash // a commit, or the object of an annotated tag
}

func (t target) isBranch() bool { return t.name == "HEAD" || strings.HasPrefix(t.name, branches) }

// advertised reads the listing of a server, without names that git refuses to make: they could not be written into a
// cache or a log.
func advertised(adv *packp.AdvRefs) refs {
	r := refs{hashes: adv.References, peeled: adv.Peeled, head: "HEAD"}
	for name := range r.hashes {
		if !isName(name) {
			delete(r.hashes, name)
		}
	}
	if adv.Head != nil {
		r.hashes["HEAD"] = *adv.Head
	}
	for _, symref := range adv.Capabilities.Get(capability.SymRef) {
		if name, ok := strings.CutPrefix(symref, "HEAD:"); ok && isName(name) {
			r.head = name
		}
	}
	return r
}

func isName(ref string) bool {
	const longest = 1024
	return len(ref) <= longest && plumbing.ReferenceName(ref).Validate() == nil && utf8.ValidString(ref) && !strings.ContainsFunc(ref, unicode.IsControl)
}

// pick finds the target of a goal.
func (r refs) pick(g goal) (target, error) {
	switch {
	case g.commit != "":
		return target{tip: plumbing.NewHash(g.commit)}, nil
	case len(r.hashes) == 0:
		return target{}, gitserver.ErrNoCommit
	case g.tag != "":
		if hash, ok := r.hashes[tags+g.tag]; ok {
			return target{name: tags + g.tag, tip: hash}, nil
		}
		return target{}, fmt.Errorf("%w: %q; %s", ErrTagNotFound, g.tag, r.have("tags", tags))
	case g.semver != nil:
		return r.newest(g)
	case g.branch != "":
		if hash, ok := r.hashes[branches+g.branch]; ok {
			return target{name: branches + g.branch, tip: hash}, nil
		}
		return target{}, fmt.Errorf("%w: %q; %s", ErrBranchNotFound, g.branch, r.have("branches", branches))
	}
	if hash, ok := r.hashes["HEAD"]; ok {
		return target{name: r.head, tip: hash}, nil
	}
	return target{}, fmt.Errorf("%w: the repository's HEAD names a branch that does not exist: set branch; %s",
		ErrBranchNotFound, r.have("branches", branches))
}

// newest is the tag with the highest version in the range. Tags are versions
// when they have all three numbers, so that a moving v1 or a date is none.
func (r refs) newest(g goal) (target, error) {
	var best *semver.Version
	var found target
	for _, name := range slices.Sorted(maps.Keys(r.hashes)) {
		short, ok := strings.CutPrefix(name, tags)
		if !ok {
			continue
		}
		version, err := semver.StrictNewVersion(strings.TrimPrefix(short, "v"))
		if err != nil || !g.semver.Check(version) {
			continue
		}
		if best == nil || version.GreaterThan(best) {
			best, found = version, target{name: name, tip: r.hashes[name]}
		}
	}
	if best == nil {
		return target{}, fmt.Errorf("%w %q; %s", ErrNoVersion, g.semverText, r.have("tags", tags))
	}
	return found, nil
}

// have lists some names, for an error about one that is not there.
func (r refs) have(what, prefix string) string {
	const few = 5
	var names []string
	for name := range r.hashes {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, short)
		}
	}
	if len(names) == 0 {
		return "the repository has no " + what
	}
	slices.Sort(names)
	more := ""
	if len(names) > few {
		more = fmt.Sprintf(" and %d more", len(names)-few)
		names = names[:few]
	}
	return fmt.Sprintf("the repository has the %s %s%s", what, strings.Join(names, ", "), more)
}

// lookup finds a name by git's rules: as it is, then as a tag, then as a
// branch, then as a remote branch.
func (r refs) lookup(name string) (plumbing.Hash, bool) {
	for _, prefix := range []string{"", "refs/", tags, branches, "refs/remotes/"} {
		if hash, ok := r.hashes[prefix+name]; ok {
			return hash, true
		}
	}
	return plumbing.ZeroHash, false
}

// tips are the ends of all branches and tags.
func (r refs) tips() []plumbing.Hash {
	var list []plumbing.Hash
	for name, hash := range r.hashes {
		if strings.HasPrefix(name, branches) || strings.HasPrefix(name, tags) || name == "HEAD" {
			list = append(list, hash)
		}
	}
	slices.SortFunc(list, func(a, b plumbing.Hash) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(list)
}
