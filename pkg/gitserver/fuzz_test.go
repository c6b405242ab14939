package gitserver

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// FuzzListing reads any bytes as a list of refs: it ends within its limits, and an error is one short line.
func FuzzListing(f *testing.F) {
	tip := strings.Repeat("ab", 20)
	f.Add([]byte("001e# service=git-upload-pack\n0000" + "0053" + tip + " HEAD\x00side-band-64k symref=HEAD:refs/heads/m\n" + "003d" + tip + " refs/heads/main\n0000"))
	f.Add([]byte("0000"))
	f.Add([]byte("0011ERR no entry\n"))
	f.Add([]byte("0045" + tip + " HEAD\x00side-band-64k\n0035shallow " + tip + "0000"))
	limits := Limits{Refs: 50, RefBytes: 4096}
	f.Fuzz(func(t *testing.T, answer []byte) {
		m := &meter{}
		m.listing(limits)
		read := &counting{from: bytes.NewReader(answer)}
		adv := packp.NewAdvRefs()
		err := adv.Decode(metered{read, m})
		if read.n > limits.RefBytes+1 {
			t.Errorf("%d bytes were read", read.n)
		}
		if err == nil && len(adv.References)+len(adv.Peeled)+len(adv.Shallows) > limits.Refs {
			t.Errorf("%d refs", len(adv.References))
		}
		if err = explain(err); err != nil && (len(err.Error()) > 2*longestText || strings.ContainsFunc(err.Error(), unicode.IsControl)) {
			t.Errorf("the error %q", err)
		}
	})
}

type counting struct {
	from io.Reader
	n    int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// FuzzLines counts the lines of a stream in any pieces as in one.
func FuzzLines(f *testing.F) {
	f.Add([]byte("0008abcd00000005x"), 3)
	f.Add([]byte("zzzz"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		whole, parts := &lines{left: 20}, &lines{left: 20}
		fits := whole.count(stream)
		for rest := stream; len(rest) > 0; {
			n := min(max(1, piece%16), len(rest))
			parts.count(rest[:n])
			rest = rest[n:]
		}
		if fits != (parts.left >= 0) || whole.broken != parts.broken {
			t.Errorf("in one %+v, in pieces %+v", whole, parts)
		}
	})
}

func TestTextsOfServersAreShort(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"as it is", "as it is"}, {"two\nlines\x1b[0m", `two\nlines\x1b[0m`}, {strings.Repeat("x", 400), strings.Repeat("x", 300) + "..."},
	} {
		own := errors.New(c.text)
		if got := plain(own); got.Error() != c.want || !errors.Is(got, own) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := Size(3 << 20); got != "3 MiB" {
		t.Error(got)
	}
	if got := Size(1000); got != "1000 bytes" {
		t.Error(got)
	}
}
