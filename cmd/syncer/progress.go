package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

// progress shows the progress of a pass: one line that is rewritten on a terminal, a plain line for each finished target
// where stderr is piped. It is safe for concurrent use.
type progress struct {
	w        io.Writer
	terminal bool

	mu                        sync.Mutex
	total, running, done, bad int
	shown                     bool
	last                      time.Time
}

func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// redraw bounds how often the line on a terminal changes; faster is only flicker.
const redraw = 50 * time.Millisecond

func (p *progress) step(s commands.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = s.Total
	if s.Result == nil {
		p.running++
	} else {
		p.running--
		p.done++
		if s.Result.Result == reconcile.Failed {
			p.bad++
		}
	}
	switch {
	case p.terminal && time.Since(p.last) > redraw:
		p.last, p.shown = time.Now(), true
		fmt.Fprintf(p.w, "\r\x1b[K%d/%d targets done, %d running, %d failed", p.done, p.total, p.running, p.bad)
	case !p.terminal && s.Result != nil:
		fmt.Fprintf(p.w, "syncer: %d/%d %s %s\n", p.done, p.total, manifest.Visible(s.Target.String()), s.Result.Result)
	}
}

// end removes the line from the terminal, so that the result stands alone.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
