package source_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

// The password that hostile servers are sent, in no error.
const canary = "c4nary-passw0rd"

// forged is a pack that a hostile server makes.
type forged struct {
	body  bytes.Buffer
	count uint32
	at    []int // where each entry begins
}

const (
	commitType, treeType, blobType, tagType, offsetDelta, nameDelta = 1, 2, 3, 4, 6, 7
)

var typeNames = map[int]string{commitType: "commit", treeType: "tree", blobType: "blob", tagType: "tag"}

// add puts an object into the pack and returns its name.
func (p *forged) add(kind int, content []byte) string {
	p.entry(kind, len(content), nil, deflated(content))
	return nameOf(kind, content)
}

// entry puts anything into the pack.
func (p *forged) entry(kind, size int, base, packed []byte) {
	p.at = append(p.at, 12+p.body.Len())
	p.count++
	head := byte(kind<<4) | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(head | 0x80)
		head = byte(size & 0x7f)
	}
	p.body.WriteByte(head)
	p.body.Write(base)
	p.body.Write(packed)
}

// delta makes an object from the entry with a number.
func (p *forged) delta(base int, instructions []byte) {
	p.entry(offsetDelta, len(instructions), distance(12+p.body.Len()-p.at[base]), deflated(instructions))
}

// distance is how git writes how far back a base is.
func distance(n int) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{byte(n&0x7f) | 0x80}, out...)
	}
	return out
}

func (p *forged) bytes() []byte {
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), p.count)
	out = append(out, p.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

func deflated(content []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(content)
	_ = w.Close()
	return out.Bytes()
}

// zeros deflates many zeros without holding them.
func zeros(n int64) []byte {
	var out bytes.Buffer
	w, _ := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		_, _ = w.Write(block[:min(n, int64(len(block)))])
	}
	_ = w.Close()
	return out.Bytes()
}

func nameOf(kind int, content []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", typeNames[kind], len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

func raw(name string) string {
	b, err := hex.DecodeString(name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func file(name, hash string) string   { return "100644 " + name + "\x00" + raw(hash) }
func folder(name, hash string) string { return "40000 " + name + "\x00" + raw(hash) }

// commit puts a commit of a tree into the pack.
func (p *forged) commit(tree string) string {
	return p.add(commitType, []byte("tree "+tree+"\nauthor A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\n\nhostile\n"))
}

// good is a pack with one file.
func good(content string) (tip string, pack []byte) {
	p := &forged{}
	tree := p.add(treeType, []byte(file("a", p.add(blobType, []byte(content)))))
	return p.commit(tree), p.bytes()
}

func pkt(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// listingOf is a list of refs with main at a commit.
func listingOf(tip, more string) string {
	const able = "side-band-64k ofs-delta shallow no-progress symref=HEAD:refs/heads/main"
	return pkt("# service=git-upload-pack\n") + "0000" + pkt(tip+" HEAD\x00"+able+more+"\n") + pkt(tip+" refs/heads/main\n")
}

// packed is an answer with a pack on the first band.
func packed(pack []byte) string {
	var out strings.Builder
	out.WriteString(pkt("NAK\n"))
	for len(pack) > 0 {
		n := min(len(pack), 60_000)
		out.WriteString(pkt("\x01" + string(pack[:n])))
		pack = pack[n:]
	}
	return out.String() + "0000"
}

// hostile is a git server that does what a test says, and counts.
type hostile struct {
	*httptest.Server
	list, pack   atomic.Pointer[http.HandlerFunc]
	lists, packs atomic.Int32
	sent         atomic.Int64
	bare         atomic.Bool // says nothing of its own
}

func beHostile(t testing.TB) *hostile {
	t.Helper()
	s := &hostile{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, count := s.pack.Load(), &s.packs
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			handler, count = s.list.Load(), &s.lists
		}
		count.Add(1)
		if asked, _ := io.ReadAll(r.Body); bytes.Contains(asked, []byte("deepen")) && !s.bare.Load() {
			_, _ = io.WriteString(w, "0000") // where the history ends: at its root
		}
		(*handler)(&counter{w, &s.sent}, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// endless repeats a text until nobody listens.
func endless(first, text string) http.HandlerFunc {
	block := strings.Repeat(text, max(1, 64<<10/len(text)))
	return func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, first); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}
}

func (s *hostile) does(list, pack http.HandlerFunc) {
	s.list.Store(&list)
	s.pack.Store(&pack)
}

// offers has the server offer a commit with a pack.
func (s *hostile) offers(tip string, pack []byte) {
	s.does(says(listingOf(tip, "")+"0000"), says(packed(pack)))
}

// address has the canary in it.
func (s *hostile) address() string {
	return strings.Replace(s.URL, "://", "://bob:"+canary+"@", 1) + "/repo.git"
}

// small are limits that a test meets quickly.
var small = source.Limits{
	Refs: 1000, RefBytes: 1 << 20, Redirects: 3, PackBytes: 4 << 20, Objects: 2000, ObjectBytes: 256 << 10, InflatedBytes: 16 << 20, Files: 5000,
}

var someTip = strings.Repeat("ab", 20)

// Each hostile server fails a fetch alone: the error says why, the last commit stays readable, no credentials are in an
// error, little is read and held, and the next good commit is fetched.
func TestHostileServers(t *testing.T) {
	const mostSent = 24 << 20 // with what the buffers of a connection hold
	for _, c := range []struct {
		name  string
		list  http.HandlerFunc
		pack  http.HandlerFunc
		want  error
		says  []string
		lists int32 // at most
		packs int32
	}{
		{"an endless list of refs", endless(listingOf(someTip, ""), pkt(someTip+" refs/heads/"+strings.Repeat("x", 2000)+"\n")), nil, source.ErrLimit, []string{"1 MiB", "source.limits.refBytes"}, 1, 0},
		{"an endless list of short refs", endless(listingOf(someTip, ""), pkt(someTip+" refs/heads/x\n")), nil, source.ErrLimit, []string{"1000 refs", "source.limits.refs"}, 1, 0},
		{"an endless list of empty lines", endless(listingOf(someTip, ""), pkt("# \n")), nil, source.ErrLimit, []string{"source.limits.refs"}, 1, 0},
		{"an endless line", endless("", "f"), nil, source.ErrRepositoryNotFound, nil, 1, 0},
		{"a list that inflates", inflates(1 << 30), nil, source.ErrLimit, []string{"refBytes"}, 1, 0},
		{"an endless error", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			endless("", "no ")(w, r)
		}, nil, source.ErrAuth, nil, 1, 0},
		{"an error that quotes the credentials", func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			_, _ = io.WriteString(w, pkt("ERR wrong: "+r.Header.Get("Authorization")+" "+password))
		}, nil, nil, []string{"quotes the credentials"}, 1, 0},
		{"an error in many lines and colours", says(pkt("ERR \x1b[31mred\nnext line " + strings.Repeat("x", 5000))), nil, nil, []string{`\x1b[31mred\nnext line`}, 1, 0},
		{"a redirect loop", redirects("/repo.git/info/refs?service=git-upload-pack&token=" + canary), nil, source.ErrLimit, []string{"3 times", "source.limits.redirects"}, 4, 0},
		{"a redirect to another host", redirects("http://bob:" + canary + "@elsewhere.example.com/repo.git/info/refs?token=" + canary), nil, source.ErrRedirect, []string{`"elsewhere.example.com"`, "redirectHosts"}, 1, 0},
		{"a redirect to a metadata service", redirects("http://169.254.169.254/info/refs"), nil, source.ErrRedirect, []string{`"169.254.169.254"`}, 1, 0},
		{"a redirect to a file", redirects("file:///etc/passwd"), nil, source.ErrRedirect, []string{"neither http nor https"}, 1, 0},
		{"a redirect to another page", redirects("/login?token=" + canary), says("<html>"), source.ErrRedirect, nil, 1, 1},
		{"a redirect of the request for objects", says(listingOf(someTip, "") + "0000"), redirects("/elsewhere"), source.ErrRedirect, []string{"mend source.url"}, 1, 1},
		{"an endless pack", says(listingOf(someTip, "") + "0000"), endless(pkt("NAK\n"), pkt("\x01"+strings.Repeat("x", 60_000))), source.ErrLimit, []string{"4 MiB", "source.limits.packBytes"}, 1, 1},
		{"endless progress", says(listingOf(someTip, "") + "0000"), endless(pkt("NAK\n"), pkt("\x02working\r")), source.ErrLimit, []string{"messages"}, 1, 1},
		{"endless signs of life", says(listingOf(someTip, "") + "0000"), endless(pkt("NAK\n"), pkt("\x01")), source.ErrLimit, []string{"packBytes"}, 1, 1},
		{"an endless list of ends of history", says(listingOf(someTip, "") + "0000"), endless("", pkt("shallow "+someTip)), source.ErrLimit, []string{"before the pack"}, 2, 2},
		{"an error amid the pack", says(listingOf(someTip, "") + "0000"), says(pkt("NAK\n") + pkt("\x03fatal: \x1b[2J"+canary+strings.Repeat("y", 5000))), nil, []string{"quotes the credentials"}, 2, 2},
		{"a pack of garbage", says(listingOf(someTip, "") + "0000"), says(packed([]byte(strings.Repeat("garbage", 99)))), nil, []string{"checksum"}, 2, 2},
		{"another commit than the listed one", says(listingOf(someTip, "") + "0000"), says(packed(second(good("x")))), source.ErrIncomplete, nil, 2, 2},
		{"a pack that says it is full", says(listingOf(someTip, "") + "0000"), says(packed((&forged{count: 1 << 31}).bytes())), source.ErrLimit, []string{"2000 objects", "source.limits.objects"}, 1, 1},
		{"a pack that is emptier than it says", says(listingOf(someTip, "") + "0000"), says(packed((&forged{count: 1999}).bytes())), nil, []string{"malformed", "1999 objects"}, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := beHostile(t)
			tip, pack := good("1")
			s.offers(tip, pack)
			var told []error
			r := open(t, source.Options{URL: s.address(), Limits: small, Failed: func(err error) { told = append(told, err) }})
			snap := fetch(t, r)

			s.does(c.list, c.pack)
			s.bare.Store(strings.Contains(c.name, "ends of history"))
			s.lists.Store(0)
			s.packs.Store(0)
			s.sent.Store(0)
			_, err := r.Fetch(t.Context())
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v does not say %q", err, text)
				}
			}
			for _, err := range append(told, err) {
				if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "Ym9i") || strings.ContainsAny(err.Error(), "\x1b\n\r") || len(err.Error()) > 1000 {
					t.Errorf("the error %q", err)
				}
			}
			if lists, packs := s.lists.Load(), s.packs.Load(); lists > c.lists || packs > c.packs {
				t.Errorf("%d lists and %d packs were asked for", lists, packs)
			}
			if sent := s.sent.Load(); sent > mostSent {
				t.Errorf("the server could send %d bytes", sent)
			}
			holds(t, snap, "a", "1")
			if at, err := r.At(t.Context(), tip); err != nil || at.Commit != tip {
				t.Errorf("the last commit: %v", err)
			}
			s.bare.Store(false)
			next, pack := good("2")
			s.offers(next, pack)
			holds(t, fetch(t, r), "a", "2")
		})
	}
}

func second(_ string, pack []byte) []byte { return pack }

func redirects(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// inflates answers with a list of refs that is small on the way.
func inflates(size int) http.HandlerFunc {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	line := pkt(someTip + " refs/heads/" + strings.Repeat("x", 60_000) + "\n")
	_, _ = io.WriteString(w, listingOf(someTip, ""))
	for n := 0; n < size/16; n += len(line) {
		_, _ = io.WriteString(w, line)
	}
	_ = w.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body.Bytes())
	}
}

// allocated is how many bytes a piece of work asks for, whether they are needed at once or not.
func allocated(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A file that is too large costs nothing but its place in the pack. What does not read it is served.
func TestFilesThatAreTooLarge(t *testing.T) {
	large := make([]byte, 300<<10)
	copyAll := []byte{0x80 | 0x70, 0, 0, 1} // 64 KiB of the base
	for name, forge := range map[string]func(p *forged) (hash string){
		"a blob that inflates": func(p *forged) string {
			p.entry(blobType, 12<<20, nil, zeros(12<<20))
			return nameOf(blobType, make([]byte, 12<<20))
		},
		"a difference that grows": func(p *forged) string {
			p.add(blobType, large[:64<<10])
			p.delta(len(p.at)-1, append([]byte{0x80, 0x80, 4, 0x80, 0x80, 20}, bytes.Repeat(copyAll, 5)...))
			return nameOf(blobType, make([]byte, 5*64<<10))
		},
		"a difference from what is too large": func(p *forged) string {
			p.add(blobType, large)
			p.delta(len(p.at)-1, []byte{0x80, 0xa0 | 0x80, 18, 1, 1, 'x'})
			return nameOf(blobType, []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := beHostile(t)
			p := &forged{}
			hash := forge(p)
			tree := p.add(treeType, []byte(file("a", p.add(blobType, []byte("1")))+file("large", hash)))
			tip := p.commit(tree)
			s.offers(tip, p.bytes())
			dir := t.TempDir()
			opts := source.Options{URL: s.address(), Limits: small, CacheDir: dir}
			r := open(t, opts)
			var snap source.Snapshot
			if n := allocated(func() { snap = fetch(t, r) }); n > 6<<20 {
				t.Errorf("%d bytes were asked for", n)
			}
			holds(t, snap, "a", "1")
			_, err := fs.ReadFile(snap.Files, "large")
			if !errors.Is(err, source.ErrLimit) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "256 KiB") || !strings.Contains(err.Error(), "source.limits.objectBytes") {
				t.Errorf("error %v", err)
			}
			if _, err := fs.Stat(snap.Files, "large"); !errors.Is(err, source.ErrLimit) {
				t.Errorf("its size: %v", err)
			}
			if again := fetch(t, r); s.packs.Load() != 1 || again.Commit != tip {
				t.Errorf("%d packs were fetched", s.packs.Load())
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			holds(t, fetch(t, open(t, opts)), "a", "1")
			if s.packs.Load() != 1 {
				t.Errorf("the next process fetched all of it again: %d packs", s.packs.Load())
			}
		})
	}
}

// What no commit can do without has the limits of files, and fails the commit.
func TestCommitsThatAreTooLarge(t *testing.T) {
	const most = 160 << 20 // the race detector has pools forget, so that more is asked for
	for name, c := range map[string]struct {
		forge func(p *forged) (tip string)
		says  []string
	}{
		"a commit": {func(p *forged) string {
			p.entry(commitType, 300<<10, nil, zeros(300<<10))
			return someTip
		}, []string{"a commit of more than 256 KiB", "source.limits.objectBytes"}},
		"a folder": {func(p *forged) string {
			p.entry(treeType, 12<<20, nil, zeros(12<<20))
			return p.commit(someTip)
		}, []string{"a tree of more than 256 KiB"}},
		"many blobs that inflate": {func(p *forged) string {
			for range 3 {
				p.entry(blobType, 12<<20, nil, zeros(12<<20))
			}
			return p.commit(someTip)
		}, []string{"16 MiB when they are inflated", "source.limits.inflatedBytes"}},
		"many differences that inflate": {func(p *forged) string {
			p.add(blobType, make([]byte, 64<<10))
			for range 500 {
				p.delta(0, append([]byte{0x80, 0x80, 4, 0x80, 0x80, 12}, bytes.Repeat([]byte{0x80 | 0x70, 0, 0, 1}, 3)...))
			}
			return p.commit(someTip)
		}, []string{"source.limits.inflatedBytes"}},
		"files by the billion": {func(p *forged) string {
			tree := p.add(treeType, []byte(file("f", p.add(blobType, []byte("lol")))))
			for range 9 {
				var entries string
				for i := range 10 {
					entries += folder(fmt.Sprintf("d%d", i), tree)
				}
				tree = p.add(treeType, []byte(entries))
			}
			return p.commit(tree)
		}, []string{"more than 5000 files", "source.limits.files"}},
		"folders without an end": {func(p *forged) string {
			tree := p.add(treeType, nil)
			for range 300 {
				tree = p.add(treeType, []byte(folder("d", tree)))
			}
			return p.commit(tree)
		}, []string{"folders in each other"}},
		"an object that is longer than it says": {func(p *forged) string {
			p.entry(blobType, 10, nil, deflated(make([]byte, 1<<20)))
			return p.commit(someTip)
		}, []string{"declared size"}},
		"an object that is shorter than it says": {func(p *forged) string {
			p.entry(blobType, 1000, nil, deflated([]byte("x")))
			return p.commit(someTip)
		}, []string{"malformed"}},
		"a difference from nothing": {func(p *forged) string {
			p.entry(offsetDelta, 3, distance(5), deflated([]byte{1, 1, 0}))
			return p.commit(someTip)
		}, []string{"malformed"}},
		"differences from each other": {func(p *forged) string {
			p.entry(nameDelta, 3, []byte(raw(someTip)), deflated([]byte{1, 1, 0}))
			return p.commit(someTip)
		}, []string{"not in it"}},
		"an unknown type": {func(p *forged) string {
			p.entry(5, 1, nil, deflated([]byte("x")))
			return p.commit(someTip)
		}, []string{"type 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := beHostile(t)
			tip, pack := good("1")
			s.offers(tip, pack)
			r := open(t, source.Options{URL: s.address(), Limits: small})
			snap := fetch(t, r)
			p := &forged{}
			bad := c.forge(p)
			s.offers(bad, p.bytes())
			var err error
			if n := allocated(func() { _, err = r.Fetch(t.Context()) }); n > most {
				t.Errorf("%d bytes were asked for", n)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v does not say %q", err, text)
				}
			}
			holds(t, snap, "a", "1")
			packs := s.packs.Load()
			if _, again := r.Fetch(t.Context()); errors.Is(err, source.ErrLimit) && (again == nil || again.Error() != err.Error() || s.packs.Load() != packs) {
				t.Errorf("%d packs more, and %v, at the next poll", s.packs.Load()-packs, again)
			}
		})
	}
}

// Names that git does not make are not followed, shown or written.
func TestNamesOfHostileRefs(t *testing.T) {
	s := beHostile(t)
	tip, pack := good("1")
	var lines string
	for _, name := range []string{"refs/heads/a\x1b[31m", "refs/heads/../../config", "refs/heads/a..b", "refs/heads/" + strings.Repeat("x", 3000), "refs/heads/.lock", "config", "refs/heads/ok"} {
		lines += pkt(tip + " " + name + "\n")
	}
	s.does(says(listingOf(tip, " symref=HEAD:refs/heads/../../../evil")+lines+"0000"), says(packed(pack)))
	holds(t, fetch(t, open(t, source.Options{URL: s.address(), CacheDir: t.TempDir()})), "a", "1")
	fails(t, open(t, source.Options{URL: s.address(), Branch: "none"}), source.ErrBranchNotFound, "has the branches main, ok")
}
