package gitfiles_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitserver"
)

func TestCommitsThatAreNotRead(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	blob := r.put(plumbing.BlobObject, "x")
	lost := plumbing.ComputeHash(plumbing.BlobObject, []byte("lost"))
	many := map[string]file{}
	for i := range 1001 {
		many[strconv.Itoa(i)] = regular("x")
	}
	twice := r.put(plumbing.TreeObject, entry(0o100644, "x", blob)+entry(0o100644, "y", blob))
	for range 10 { // a folder that holds itself twice is small, and has many files
		twice = r.put(plumbing.TreeObject, entry(0o40000, "x", twice)+entry(0o40000, "y", twice))
	}
	for name, c := range map[string]struct {
		root plumbing.Hash
		want error
		says string
	}{
		"too many files":             {r.tree(many), gitserver.ErrLimit, "the commit has more than 1000 files"},
		"one folder in many places":  {twice, gitserver.ErrLimit, "the commit has more than 1000 files"},
		"folders that are too deep":  {r.tree(map[string]file{strings.Repeat("d/", 300) + "x": regular("x")}), gitserver.ErrLimit, "more than 256 folders in each other"},
		"a name that leads up":       {r.put(plumbing.TreeObject, entry(0o100644, "..", blob)), nil, `a folder with an entry named ".."`},
		"a name that stays":          {r.put(plumbing.TreeObject, entry(0o100644, ".", blob)), nil, `a folder with an entry named "."`},
		"a name with a slash":        {r.put(plumbing.TreeObject, entry(0o100644, "../x", blob)), nil, `a folder with an entry named "../x"`},
		"a folder that is a file":    {r.put(plumbing.TreeObject, entry(0o40000, "x", blob)), plumbing.ErrObjectNotFound, "object " + blob.String()},
		"a folder that is cut off":   {r.put(plumbing.TreeObject, "100644 x\x00abc"), nil, "object "},
		"a folder that is not there": {plumbing.NewHash(strings.Repeat("ab", 20)), plumbing.ErrObjectNotFound, "object abababab"},
		"a file that is not there":   {r.put(plumbing.TreeObject, entry(0o100644, "gone", lost)), plumbing.ErrObjectNotFound, "(file gone)"},
		"such a file in a folder":    {r.put(plumbing.TreeObject, entry(0o40000, "d", r.put(plumbing.TreeObject, entry(0o100644, "gone", lost)))), plumbing.ErrObjectNotFound, "(file gone)"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := r.store().Files(c.root, modified, true)
			if err == nil || !strings.Contains(err.Error(), c.says) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, error %v, want %v that says %q", files, err, c.want, c.says)
			}
		})
	}
}

// A file that a server left out as too large is no gap in the commit, and an error where it is read.
func TestGaps(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	root := r.tree(map[string]file{"large": regular("large"), "small": regular("small")})
	r.remove(plumbing.ComputeHash(plumbing.BlobObject, []byte("large")))
	store := r.store()
	if _, err := store.Files(root, modified, true); store.MayHaveGaps() || !errors.Is(err, plumbing.ErrObjectNotFound) {
		t.Fatalf("a gap that is not allowed: error %v", err)
	}
	if n := store.CountMissing(); n != 0 {
		t.Errorf("%d files count as left out", n)
	}
	store.AllowGaps()
	files, err := store.Files(root, modified, true)
	if err != nil || !store.MayHaveGaps() || store.CountMissing() != 1 {
		t.Fatalf("a gap that is allowed: error %v, %d missing", err, store.CountMissing())
	}
	_, read := fs.ReadFile(files, "large")
	_, stat := fs.Stat(files, "large")
	for _, err := range []error{read, stat} {
		var inPath *fs.PathError
		if !errors.Is(err, gitserver.ErrLimit) || !errors.As(err, &inPath) || !strings.Contains(err.Error(), "more than 100000 bytes") {
			t.Errorf("error %v", err)
		}
	}
	if data, err := fs.ReadFile(files, "small"); err != nil || string(data) != "small" {
		t.Errorf("%q, %v", data, err)
	}
	if store.Spoiled() {
		t.Error("a file that was left out spoils the store")
	}
}

// An unchanged folder is taken from the commit before, also by another store of the repository, and not read again.
func TestUnchangedFoldersAreNotReadAgain(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	deep := map[string]file{"same/deep/x": regular("1"), "other/x": regular("1")}
	before := r.store()
	if _, err := before.Files(r.tree(deep), modified, true); err != nil {
		t.Fatal(err)
	}
	next := r.tree(with(deep, map[string]file{"other/x": regular("2")}))
	r.remove(r.tree(map[string]file{"x": regular("1")})) // same/deep
	if _, err := r.store().Files(next, modified, false); err == nil {
		t.Fatal("a store without a commit before has read a folder that is not there")
	}
	after := r.store()
	after.Reuse(before)
	for name, store := range map[string]*gitfiles.Store{"another store": after, "the same store": before} {
		files, err := store.Files(next, modified, true)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if entries, err := fs.ReadDir(files, "same/deep"); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v", name, entries, err)
		}
	}
}

func TestPeel(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	commit := r.commit("one")
	tag := r.tag(plumbing.CommitObject, commit)
	chain := tag
	for range 20 {
		chain = r.tag(plumbing.TagObject, chain)
	}
	blob := r.put(plumbing.BlobObject, "x")
	for name, c := range map[string]struct {
		from plumbing.Hash
		want error // nil: the commit is found
		says string
	}{
		"a commit":               {commit, nil, ""},
		"a tag":                  {tag, nil, ""},
		"a tag of a tag":         {r.tag(plumbing.TagObject, tag), nil, ""},
		"a long chain of tags":   {chain, gitfiles.ErrCommitNotFound, "chain of more than 16 tags"},
		"a file":                 {blob, gitfiles.ErrCommitNotFound, "is a blob"},
		"a tag of a file":        {r.tag(plumbing.BlobObject, blob), gitfiles.ErrCommitNotFound, "is a blob"},
		"an object that is lost": {plumbing.NewHash("abab"), plumbing.ErrObjectNotFound, "object "},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := r.store().Peel(c.from)
			switch {
			case c.want == nil && (err != nil || got != commit):
				t.Errorf("%s, error %v, want %s", got, err, commit)
			case c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	hash := r.commit("one\n\ntwo")
	store := r.store()
	commit, err := store.Commit(hash)
	if err != nil || commit.Hash != hash || commit.Author.Name != "Ada" || commit.Message != "one\n\ntwo\n" {
		t.Errorf("%+v, %v", commit, err)
	}
	text, err := store.CommitText(hash)
	if err != nil || plumbing.ComputeHash(plumbing.CommitObject, text) != hash {
		t.Errorf("the text does not have the hash %s: %q, %v", hash, text, err)
	}
	blob := r.put(plumbing.BlobObject, "x")
	if _, err := store.CommitText(blob); !errors.Is(err, plumbing.ErrObjectNotFound) {
		t.Errorf("a file as a commit: error %v", err)
	}
}

func TestCommitsWithPrefix(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	all := map[string][]plumbing.Hash{}
	for i := range 40 {
		hash := r.commit(fmt.Sprint(i))
		for _, digits := range []int{1, 2, 3, 4, 39} {
			all[hash.String()[:digits]] = append(all[hash.String()[:digits]], hash)
		}
		r.put(plumbing.BlobObject, fmt.Sprint(i)) // has a hash too
	}
	inOrder := func(a, b plumbing.Hash) int { return strings.Compare(a.String(), b.String()) }
	for prefix, want := range all {
		got, err := r.store().CommitsWithPrefix(prefix)
		slices.SortFunc(got, inOrder)
		slices.SortFunc(want, inOrder)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", prefix, got, err, want)
		}
	}
	if got, err := r.store().CommitsWithPrefix("no hash"); err == nil {
		t.Errorf("%v", got)
	}
}

// flawed is a repository whose disk fails when fault is set.
type flawed struct {
	gitfiles.Objects
	fault string
	other plumbing.Hash
}

var errDisk = errors.New("the disk is broken")

func (f *flawed) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	switch f.fault {
	case "cannot be found":
		return nil, plumbing.ErrObjectNotFound
	case "cannot be opened":
		return nil, errDisk
	case "is another one":
		hash = f.other
	}
	object, err := f.Objects.EncodedObject(kind, hash)
	if err == nil && f.fault == "cannot be read" {
		object = torn{object}
	}
	return object, err
}

// torn is an object whose content ends with an error.
type torn struct{ plumbing.EncodedObject }

func (torn) Reader() (io.ReadCloser, error) { return io.NopCloser(tornReader{}), nil }

type tornReader struct{}

func (tornReader) Read([]byte) (int, error) { return 0, errDisk }

// A store whose objects cannot be read says so, and the commit read before it stays a file system.
func TestDamage(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	root := r.tree(map[string]file{"a": regular("1"), "b": regular("2")})
	other := plumbing.ComputeHash(plumbing.BlobObject, []byte("2"))
	for fault, want := range map[string]string{
		"cannot be found":  "object not found",
		"cannot be opened": "the disk is broken",
		"cannot be read":   "the disk is broken",
		"is another one":   "its content has the hash " + other.String(),
	} {
		t.Run("a file "+fault, func(t *testing.T) {
			objects := &flawed{Objects: r.storage, other: other}
			store := gitfiles.NewStore(objects, gitfiles.Limits{ObjectBytes: 1000, Files: 10})
			files, err := store.Files(root, modified, true)
			if err != nil || files.Spoiled() {
				t.Fatalf("spoiled: %v, error %v", files.Spoiled(), err)
			}
			objects.fault = fault
			if data, err := fs.ReadFile(files, "a"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q, error %v, want one that says %q", data, err, want)
			}
			if !store.Spoiled() || !files.Spoiled() {
				t.Error("the store does not count as spoiled")
			}
			objects.fault = ""
			if data, err := fs.ReadFile(files, "a"); err != nil || string(data) != "1" {
				t.Errorf("later: %q, %v", data, err)
			}
		})
	}
	t.Run("an unknown commit is no damage", func(t *testing.T) {
		store := r.store()
		if _, err := store.Commit(plumbing.NewHash("abab")); !errors.Is(err, plumbing.ErrObjectNotFound) || store.Spoiled() {
			t.Errorf("error %v, spoiled: %v", err, store.Spoiled())
		}
		if store.Spoil(); !store.Spoiled() {
			t.Error("a store that was spoiled does not count as spoiled")
		}
	})
}
