package gitserver

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/syncerdev/syncer/pkg/silence"
)

// Limits bound the calls to a server.
type Limits struct {
	List    time.Duration // to connect and receive the refs
	Fetch   time.Duration // to receive objects
	Silence time.Duration // between two bytes of either

	Refs      int   // lines of a listing
	RefBytes  int64 // of a listing
	PackBytes int64 // of an answer with objects
	Redirects int   // followed for one listing

	retries uint64
	backoff time.Duration // before the first retry, doubled each time
	longest time.Duration // between two tries
}

// DefaultLimits are those of New.
func DefaultLimits() Limits {
	return Limits{
		List: time.Minute, Fetch: 15 * time.Minute, Silence: silence.Limit,
		Refs: 500_000, RefBytes: 64 << 20, PackBytes: 1 << 30, Redirects: 5,
		retries: 3, backoff: 250 * time.Millisecond, longest: 2 * time.Second,
	}
}

// ErrLimit says that a server or a repository exceeds a limit.
var ErrLimit = errors.New("limit exceeded")

// LimitError names the limit that a server or a repository exceeds, and how it is raised. It is an ErrLimit.
type LimitError struct {
	Exceeds string // such as: the server lists more than 500000 refs
	Setting string // below source.limits; "": the limit is fixed
}

// Error implements error.
func (e *LimitError) Error() string {
	if e.Setting == "" {
		return fmt.Sprintf("%s: %s, which is as much as syncer takes", ErrLimit, e.Exceeds)
	}
	return fmt.Sprintf("%s: %s; if the repository needs more, raise source.limits.%s", ErrLimit, e.Exceeds, e.Setting)
}

// Is makes the error an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// Size writes a number of bytes as the configuration does.
func Size(n int64) string {
	for i, unit := range []string{"Gi", "Mi", "Ki"} {
		if step := int64(1) << (30 - 10*i); n >= step && n%step == 0 {
			return fmt.Sprintf("%d %sB", n/step, unit)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// The parts of a conversation that no setting bounds.
const (
	// preambleBytes are for what stands before a pack: which histories end where, and what is common.
	preambleBytes = 16 << 20
	// chatterBytes are for texts beside a pack. syncer asks for none.
	chatterBytes = 1 << 20
	// refusalBytes are read of an answer that is no success.
	refusalBytes = 64 << 10
	// headerBytes are for the header of an answer.
	headerBytes = 256 << 10
)

// meter ends the stream of a conversation at a limit, which changes with what is read.
type meter struct {
	left int64
	over *LimitError // by what exceeds the limit in force
	hit  bool

	lines *lines // counts the refs; nil: not those of a listing
}

// listing has the meter bound a listing of refs.
func (m *meter) listing(l Limits) {
	m.allow(l.RefBytes, &LimitError{"the server's list of refs has more than " + Size(l.RefBytes), "refBytes"})
	m.lines = &lines{left: l.Refs, over: &LimitError{fmt.Sprintf("the server lists more than %d refs", l.Refs), "refs"}}
}

// preamble has the meter bound what comes before a pack.
func (m *meter) preamble() {
	m.allow(preambleBytes, &LimitError{"the server sends more than " + Size(preambleBytes) + " before the pack", ""})
}

// pack has the meter bound an answer with a pack, and with what a sideband adds to it at most.
func (m *meter) pack(l Limits) {
	m.allow(l.PackBytes+l.PackBytes/50+2*chatterBytes, TooLargePack(l.PackBytes))
}

func (m *meter) allow(n int64, over *LimitError) { *m = meter{left: n, over: over} }

// TooLargePack says that the objects of one answer exceed a limit.
func TooLargePack(limit int64) *LimitError {
	return &LimitError{"the server sends a pack of more than " + Size(limit), "packBytes"}
}

// exceeded is the error that ended the stream, if one did: the libraries on the way up lose it here and there.
func (m *meter) exceeded() error {
	if m.hit {
		return m.over
	}
	return nil
}

// metered is a stream with a meter.
type metered struct {
	io.Reader
	meter *meter
}

func (r metered) Read(p []byte) (int, error) {
	m := r.meter
	if m.hit {
		return 0, m.over
	}
	if int64(len(p)) > m.left+1 {
		p = p[:m.left+1] // one more tells whether there is more
	}
	n, err := r.Reader.Read(p)
	if m.left -= int64(n); m.left < 0 {
		m.hit = true
	} else if m.lines != nil && !m.lines.count(p[:n]) {
		m.hit, m.over = true, m.lines.over
	}
	if m.hit {
		return 0, m.over
	}
	return n, err
}

// lines counts the pkt-lines of a stream. A stream that is not made of them is left to its reader, which refuses it.
type lines struct {
	left int
	over *LimitError

	header []byte // of the line that begins
	skip   int    // bytes of the present line
	broken bool
}

// count reports whether the stream is still within the limit.
func (l *lines) count(b []byte) bool {
	for len(b) > 0 && !l.broken && l.left >= 0 {
		if l.skip > 0 {
			n := min(l.skip, len(b))
			l.skip, b = l.skip-n, b[n:]
			continue
		}
		n := min(4-len(l.header), len(b))
		l.header, b = append(l.header, b[:n]...), b[n:]
		if len(l.header) < 4 {
			break
		}
		size, err := strconv.ParseUint(string(l.header), 16, 16)
		l.broken, l.header = err != nil, l.header[:0]
		l.skip = max(0, int(size)-4)
		l.left--
	}
	return l.left >= 0
}

// Chatter receives the texts of a server beside a pack, and ends the conversation when they are too many.
func Chatter() io.Writer { return &chatter{left: chatterBytes} }

type chatter struct{ left int }

func (c *chatter) Write(b []byte) (int, error) {
	const header = 5 // of the line that carries the text, which may be empty
	if c.left -= header + len(b); c.left < 0 {
		return 0, &LimitError{"the server sends more than " + Size(chatterBytes) + " of messages beside the pack", ""}
	}
	return len(b), nil
}
