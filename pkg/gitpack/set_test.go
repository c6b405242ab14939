package gitpack

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

var wide = Limits{PackBytes: 1 << 30, Objects: 1 << 20, ObjectBytes: 1 << 20, InflatedBytes: 1 << 30}

// git runs the git program in a folder.
func git(t testing.TB, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}

// history makes a repository whose files change a little from commit to commit, so that git packs differences.
func history(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "", "init", "-q", "-b", "main")
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintf(&text, "line %d of a file that is changed now and then\n", i*i)
	}
	var in strings.Builder
	for i := range 30 {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Bot <bot@example.com> %d +0000\ndata 6\nchange\n", 1700000000+i)
		for n := range 3 {
			content := strings.Replace(text.String(), "line 0", fmt.Sprintf("line %d %d", i, n), 1) + strings.Repeat(fmt.Sprintln("more", i), i)
			fmt.Fprintf(&in, "M 644 inline file%d\ndata %d\n%s\n", n, len(content), content)
		}
	}
	git(t, dir, in.String(), "fast-import", "--quiet")
	git(t, dir, "", "update-ref", "HEAD", "main")
	git(t, dir, "", "tag", "-a", "-m", "a tag", "v1")
	return dir
}

// packOf has git pack everything.
func packOf(t testing.TB, dir string, options ...string) string {
	t.Helper()
	return git(t, dir, git(t, dir, "", "rev-list", "--objects", "--all", "--no-object-names")+git(t, dir, "", "rev-parse", "v1"),
		append([]string{"pack-objects", "--stdout", "-q", "--window=50"}, options...)...)
}

func memory(t testing.TB, limits Limits) *Set {
	t.Helper()
	fs := memfs.New()
	if err := fs.MkdirAll(Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return New(fs, limits)
}

// The index of a pack is the one that git makes, whichever way differences name what they are made from.
func TestIndexIsThatOfGit(t *testing.T) {
	dir := history(t)
	for name, options := range map[string][]string{
		"by name": nil, "by distance": {"--delta-base-offset"}, "in long chains": {"--delta-base-offset", "--depth=200"}, "without differences": {"--depth=0"},
	} {
		t.Run(name, func(t *testing.T) {
			pack := packOf(t, dir, options...)
			file := filepath.Join(t.TempDir(), "pack")
			if err := os.WriteFile(file+".pack", []byte(pack), 0o600); err != nil {
				t.Fatal(err)
			}
			git(t, dir, "", "index-pack", file+".pack")
			theirs := entriesOf(t, file+".idx")
			index, leftOut, err := makeIndex(osFile(t, file+".pack"), wide)
			if err != nil || leftOut {
				t.Fatalf("%v, left out: %v", err, leftOut)
			}
			ours, err := entries(index)
			if err != nil {
				t.Fatal(err)
			}
			if len(ours) < 100 || len(ours) != len(theirs) {
				t.Errorf("%d objects, and git has %d", len(ours), len(theirs))
			}
			for hash, e := range theirs {
				if ours[hash] != e {
					t.Errorf("%s: %v, and git has %v", hash, ours[hash], e)
				}
			}
		})
	}
}

func osFile(t testing.TB, name string) io.ReadSeeker {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func entriesOf(t testing.TB, file string) map[plumbing.Hash]idxfile.Entry {
	t.Helper()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(osFile(t, file)).Decode(index); err != nil {
		t.Fatal(err)
	}
	all, err := entries(index)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func entries(index idxfile.Index) (map[plumbing.Hash]idxfile.Entry, error) {
	all := map[plumbing.Hash]idxfile.Entry{}
	iter, err := index.Entries()
	if err != nil {
		return nil, err
	}
	for {
		e, err := iter.Next()
		if err != nil {
			return all, nil //nolint:nilerr // the end
		}
		all[e.Hash] = *e
	}
}

// Objects of a pack are read as git has them, also by a process that opens the folder later.
func TestObjectsAreReadAsTheyAre(t *testing.T) {
	dir := history(t)
	folder := osfs.New(t.TempDir())
	if err := folder.MkdirAll(Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	first := New(folder, wide)
	pack := packOf(t, dir, "--delta-base-offset")
	for range 2 { // the very same pack again is no second one
		if leftOut, err := first.Receive(strings.NewReader(pack)); err != nil || leftOut {
			t.Fatalf("%v, left out: %v", err, leftOut)
		}
	}
	later := New(folder, wide)
	if err := later.Open(); err != nil {
		t.Fatal(err)
	}
	for _, set := range []*Set{first, later} {
		if set.Len() != 1 || set.Bytes() != int64(len(pack)) {
			t.Errorf("%d packs with %d bytes", set.Len(), set.Bytes())
		}
		for _, line := range strings.Split(strings.TrimSpace(git(t, dir, "", "cat-file", "--batch-all-objects", "--batch-check")), "\n") {
			var name, kind string
			var size int64
			if _, err := fmt.Sscan(line, &name, &kind, &size); err != nil {
				t.Fatal(err)
			}
			hash := plumbing.NewHash(name)
			obj, err := set.EncodedObject(plumbing.AnyObject, hash)
			if err != nil || obj.Hash() != hash || obj.Type().String() != kind || obj.Size() != size {
				t.Errorf("%s: %v, %v", line, obj, err)
			}
			if n, err := set.EncodedObjectSize(hash); err != nil || n != size {
				t.Errorf("%s: %d, %v", line, n, err)
			}
			if found, err := set.HashesWithPrefix(hash[:4]); err != nil || len(found) == 0 {
				t.Errorf("%s: by its beginning %v, %v", line, found, err)
			}
			if _, err := set.EncodedObject(plumbing.TagObject, hash); (err == nil) != (kind == "tag") {
				t.Errorf("%s as a tag: %v", line, err)
			}
		}
		unknown := plumbing.NewHash(strings.Repeat("ab", 20))
		if set.HasEncodedObject(unknown) == nil {
			t.Error("an object that nobody made")
		}
		if _, err := set.EncodedObjectSize(unknown); err == nil {
			t.Error("the size of an object that nobody made")
		}
		if _, err := set.EncodedObject(plumbing.AnyObject, unknown); !errors.Is(err, plumbing.ErrObjectNotFound) {
			t.Error(err)
		}
	}
}

// Each limit is an error of its own, which names its setting.
func TestLimits(t *testing.T) {
	pack := packOf(t, history(t), "--delta-base-offset")
	for setting, limits := range map[string]Limits{
		"packBytes":     {PackBytes: 1000, Objects: 1 << 20, ObjectBytes: 1 << 20, InflatedBytes: 1 << 30},
		"objects":       {PackBytes: 1 << 30, Objects: 10, ObjectBytes: 1 << 20, InflatedBytes: 1 << 30},
		"objectBytes":   {PackBytes: 1 << 30, Objects: 1 << 20, ObjectBytes: 100, InflatedBytes: 1 << 30}, // a commit has more
		"inflatedBytes": {PackBytes: 1 << 30, Objects: 1 << 20, ObjectBytes: 1 << 20, InflatedBytes: 10_000},
	} {
		set := memory(t, limits)
		_, err := set.Receive(strings.NewReader(pack))
		if !errors.Is(err, gitserver.ErrLimit) || !strings.Contains(err.Error(), "raise source.limits."+setting) {
			t.Errorf("%s: %v", setting, err)
		}
		if left, err := set.fs.ReadDir(Folder); err != nil || len(left) != 0 || set.Len() != 0 {
			t.Errorf("%s: %d files stay, %v", setting, len(left), err)
		}
	}
	set := memory(t, Limits{PackBytes: 1 << 30, Objects: 1 << 20, ObjectBytes: 10_000, InflatedBytes: 1 << 30})
	if leftOut, err := set.Receive(strings.NewReader(pack)); err != nil || !leftOut {
		t.Errorf("files of 20 KB: %v, left out: %v", err, leftOut)
	}
}

// Objects that need more than is kept are made again.
func TestBasesThatAreNotKept(t *testing.T) {
	pack := packOf(t, history(t), "--delta-base-offset", "--depth=200")
	file := filepath.Join(t.TempDir(), "pack")
	if err := os.WriteFile(file, []byte(pack), 0o600); err != nil {
		t.Fatal(err)
	}
	want, _, err := makeIndex(osFile(t, file), wide)
	if err != nil {
		t.Fatal(err)
	}
	keep := keepBases
	keepBases = 1000
	defer func() { keepBases = keep }()
	got, _, err := makeIndex(osFile(t, file), wide)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := entries(want)
	b, _ := entries(got)
	if len(a) == 0 || len(a) != len(b) {
		t.Errorf("%d objects, and %d", len(a), len(b))
	}
	for hash := range a {
		if a[hash] != b[hash] {
			t.Errorf("%s: %v and %v", hash, a[hash], b[hash])
		}
	}
}

// What arrives damaged is not stored.
func TestDamagedPacks(t *testing.T) {
	pack := packOf(t, history(t))
	for name, damaged := range map[string]string{
		"nothing": "", "cut short": pack[:len(pack)/2], "a wrong bit": pack[:100] + "x" + pack[101:], "garbage": strings.Repeat("garbage", 100),
		"more after its end": pack + "more",
	} {
		set := memory(t, wide)
		if _, err := set.Receive(strings.NewReader(damaged)); err == nil || set.Len() != 0 {
			t.Errorf("%s: %v, %d packs", name, err, set.Len())
		}
	}
}

// FuzzReceive gives the index of a pack any bytes: it ends with an error or with objects that have their names, and asks
// for no more memory than the limits allow.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{}, uint32(0))
	limits := Limits{PackBytes: 1 << 20, Objects: 10_000, ObjectBytes: 1 << 16, InflatedBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, body []byte, count uint32) {
		set := memory(t, limits)
		if _, err := set.Receive(bytes.NewReader(sealed(body, count))); err != nil {
			return
		}
		for _, pack := range set.all() {
			all, err := entries(pack.Index)
			if err != nil {
				t.Fatal(err)
			}
			for hash := range all {
				obj, err := set.EncodedObject(plumbing.AnyObject, hash)
				if err != nil || obj.Hash() != hash || obj.Size() > limits.ObjectBytes {
					t.Errorf("%s: %v, %v", hash, obj, err)
				}
			}
		}
	})
}

// sealed makes a pack of some bytes, with the header and the checksum that it has to have.
func sealed(body []byte, count uint32) []byte {
	pack := append(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count), body...)
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}
