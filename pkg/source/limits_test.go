package source_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-git/go-billy/v5"

	"github.com/syncerdev/syncer/pkg/source"
)

// A server that can leave out large files is asked to: they are not sent, and cannot be read.
func TestServerLeavesOutLargeFiles(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.git("config", "uploadpack.allowFilter", "true")
	noise := func(seed int) string { // which does not deflate to nothing
		var b strings.Builder
		for i := range 300_000 {
			b.WriteString(strconv.Itoa((i * 7919 * seed) % 104729))
		}
		return b.String()
	}
	origin.write("large", noise(1))
	origin.commit("a", "1")
	server, address := origin.serve()
	opts := source.Options{URL: address, Branch: "main", CacheDir: t.TempDir(), Limits: source.Limits{ObjectBytes: 100_000}}
	r := open(t, opts)
	snap := fetch(t, r)
	holds(t, snap, "a", "1")
	if sent := server.sent.Load(); sent > 20_000 {
		t.Errorf("%d bytes were sent", sent)
	}
	isTooLarge := func(s source.Snapshot, name string) {
		t.Helper()
		if _, err := fs.ReadFile(s.Files, name); !errors.Is(err, source.ErrLimit) || !strings.Contains(err.Error(), "more than 100000 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
	isTooLarge(snap, "large")

	origin.write("other", noise(2))
	origin.commit("a", "2")
	snap = fetch(t, r)
	holds(t, snap, "a", "2")
	isTooLarge(snap, "other")
	packs := server.packs.Load()
	origin.commit("a", "3")
	holds(t, fetch(t, r), "a", "3")
	if n := server.packs.Load() - packs; n != 1 {
		t.Errorf("a commit without a large file costs %d fetches", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	packs = server.packs.Load()
	again := open(t, opts)
	snap = fetch(t, again)
	isTooLarge(snap, "large")
	if n := server.packs.Load() - packs; n != 0 {
		t.Errorf("the next process needs %d fetches", n)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	opts.Limits.ObjectBytes = 0
	holds(t, fetch(t, open(t, opts)), "large", noise(1))
}

// A server may offer filters and not this one.
func TestServerThatRefusesTheFilter(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.git("config", "uploadpack.allowFilter", "true")
	origin.git("config", "uploadpackfilter.blob:limit.allow", "false")
	origin.commit("a", "1")
	_, address := origin.serve()
	holds(t, fetch(t, open(t, source.Options{URL: address})), "a", "1")
}

// A repository on this machine has the same limits of what is read.
func TestLargeFilesOfALocalRepository(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.write("large", strings.Repeat("x", 100_001))
	origin.commit("a", "1")
	limits := source.Limits{ObjectBytes: 100_000, Files: 5}
	for _, form := range []string{"loose", "packed"} {
		snap := fetch(t, open(t, source.Options{URL: origin.dir, Limits: limits}))
		holds(t, snap, "a", "1")
		if _, err := fs.ReadFile(snap.Files, "large"); !errors.Is(err, source.ErrLimit) {
			t.Errorf("%s: %v", form, err)
		}
		origin.git("gc", "-q")
	}
	for i := range 5 {
		origin.commit("more/"+strconv.Itoa(i), "1")
	}
	fails(t, open(t, source.Options{URL: origin.dir, Limits: limits}), source.ErrLimit, "more than 5 files")
}

// SSH has the limits of HTTP.
func TestHostileServersOverSSH(t *testing.T) {
	t.Parallel()
	tip := strings.Repeat("ab", 20)
	first := strings.ReplaceAll(strings.ReplaceAll(pkt(tip+" HEAD\x00side-band-64k ofs-delta\n"), "\x00", `\0`), "\n", `\n`)
	line := strings.ReplaceAll(pkt(tip+" refs/heads/x\n"), "\n", `\n`)
	script := func(name, text string) string {
		return write(t, filepath.Join(t.TempDir(), name), text)
	}
	for name, c := range map[string]struct {
		script string
		says   string
	}{
		"an endless list of refs": {script("list", "printf '"+first+"'; while printf '"+line+"'; do :; done"), "source.limits.refs"},
		"an endless pack": {script("pack", "printf '"+first+line+"0000'; read x; printf '"+strings.ReplaceAll(pkt("NAK\n"), "\n", `\n`)+"'; "+
			"while printf '1004\\001'; do head -c 4095 /dev/zero; done"), "source.limits.packBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveSSH(t, t.TempDir(), "ForceCommand sh "+c.script)
			limits := source.Limits{Refs: 1000, PackBytes: 1 << 20}
			auth := source.Auth{SSHKeyFile: server.key, KnownHostsFile: server.hosts}
			fails(t, open(t, source.Options{URL: server.url("repo"), Auth: auth, Limits: limits}), source.ErrLimit, c.says)
		})
	}
}

// full is a disk on which packs find no room.
type full struct{ billy.Filesystem }

func (f full) TempFile(dir, prefix string) (billy.File, error) {
	file, err := f.Filesystem.TempFile(dir, prefix)
	return fullFile{file}, err
}

type fullFile struct{ billy.File }

func (fullFile) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "pack", Err: syscall.ENOSPC}
}

// A cache folder that cannot be used is reported once, and objects are kept in memory.
func TestCacheFolderThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	origin.commit("a", "1")
	_, address := origin.serve()
	for name, c := range map[string]struct {
		parent func(t *testing.T) string
		wrap   bool
		says   string
	}{
		"a full disk":          {func(t *testing.T) string { return t.TempDir() }, true, "no space left on device"},
		"a file for a folder":  {func(t *testing.T) string { return filepath.Join(secretFile(t, "x"), "cache") }, false, "not a directory"},
		"a read-only folder":   {readOnly, false, ""},
		"one that is taken":    {func(t *testing.T) string { return held(t, address) }, false, "another process uses it"},
		"none, which is meant": {func(*testing.T) string { return "" }, false, "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			opts := source.Options{URL: address, CacheDir: c.parent(t), Failed: func(err error) { told = append(told, err.Error()) }}
			r := open(t, opts)
			if c.wrap {
				source.WrapDisk(r, func(disk billy.Filesystem) billy.Filesystem { return full{disk} })
			}
			for _, content := range []string{"2", "3", "4"} {
				origin.commit("a", content+name)
				holds(t, fetch(t, r), "a", content+name)
			}
			switch {
			case c.says == "nothing" && len(told) > 0, c.says != "nothing" && len(told) != 1:
				t.Errorf("told %q", told)
			case c.says != "nothing" && (!strings.Contains(told[0], c.says) || !strings.Contains(told[0], "kept in memory")):
				t.Errorf("%q does not say %q", told[0], c.says)
			}
		})
	}
}

// readOnly is a folder below one that nobody writes, not even root: /proc.
func readOnly(*testing.T) string { return "/proc/syncer" }

func held(t *testing.T, address string) string {
	dir := t.TempDir()
	fetch(t, open(t, source.Options{URL: address, CacheDir: dir}))
	return dir
}

// A cache is fetched anew, without what is no longer used, when it has outgrown its room.
func TestCacheHasABound(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	_, address := origin.serve()
	const room = 200_000
	for _, dir := range []string{t.TempDir(), ""} {
		r := open(t, source.Options{URL: address, Branch: "main", CacheDir: dir, Limits: source.Limits{CacheBytes: room, MemoryBytes: room}})
		for i := range 12 {
			var noise strings.Builder
			for n := range 20_000 {
				noise.WriteString(strconv.Itoa((n * 7919 * (i + 3)) % 104729))
			}
			origin.git("checkout", "-q", "--orphan", "next"+strconv.Itoa(i)+strconv.FormatBool(dir == ""))
			origin.write("a", noise.String())
			origin.git("add", "-A")
			origin.git("commit", "-q", "-m", "anew")
			origin.git("branch", "-f", "main")
			holds(t, fetch(t, r), "a", noise.String())
			if dir == "" {
				continue
			}
			if size := sizeOf(t, cacheFolder(t, dir)); size > 2*room {
				t.Errorf("the cache has %d bytes", size)
			}
		}
	}
}

func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
