// Package browser opens pages with a real Chromium, like their readers. It is a package of its own so that the rest of
// the lab, which the demo compiles too, does not compile a browser's whole protocol.
package browser

import (
	"context"
	_ "embed" // the script of checks
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed accessibility.js
var accessibility string

// Browser is a headless Chromium of its own, with a fresh profile.
type Browser struct {
	ctx  context.Context
	stop context.CancelFunc
	home string
}

// View is the way in which a page is opened.
type View struct {
	Width, Height int64
	Dark          bool
	NoScript      bool
}

// Seen is the browser's report about a page.
type Seen struct {
	Requests   []string // URLs that the page asked for, itself aside
	Complaints []string // of the console, exceptions and refused content included
	Barriers   []string // obstacles for users, by rules like those of WCAG checkers
	TooWide    bool     // it scrolls sideways
	Text       string
	Screenshot []byte // PNG of the whole page
}

// unreachable makes every name and address unresolvable, loopback included: a page's request to another host is noted,
// and never sent.
const unreachable = "MAP * ~NOTFOUND"

// Start starts Debian's chromium. dir is its home; it can reach only the hosts in reach.
func Start(ctx context.Context, dir string, reach ...string) (*Browser, error) {
	rules := unreachable
	for _, host := range reach {
		rules += ", EXCLUDE " + host
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("starting a browser: %w; `make debian` installs it", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.Flag("host-resolver-rules", rules), chromedp.Env("HOME="+dir),
		chromedp.WSURLReadTimeout(2*time.Minute)) // on a busy machine
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to sandbox for root
	}
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.WithoutCancel(ctx), options...) // it ends by Stop
	browser, cancelBrowser := chromedp.NewContext(allocator)
	b := &Browser{ctx: browser, stop: func() { cancelBrowser(); cancelAllocator() }, home: dir}
	if err := chromedp.Do(browser); err != nil {
		b.stop()
		return nil, fmt.Errorf("starting a browser: %w", err)
	}
	return b, nil
}

// Stop ends the browser, waits for its end, and removes the content of its home.
func (b *Browser) Stop() error {
	defer b.stop()
	return errors.Join(chromedp.Cancel(b.ctx), b.leave())
}

// leave removes the content of the browser's home. The browser's helpers live a moment longer than the browser, and
// still write.
func (b *Browser) leave() (err error) {
	for range 100 {
		if err = os.RemoveAll(b.home); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// Look opens a page in a tab of its own, and closes it.
func (b *Browser) Look(address string, view View) (Seen, error) {
	tab, err := b.Open(address, view)
	if err != nil {
		return Seen{}, err
	}
	defer tab.Close()
	return tab.Look()
}

// note stores the events of the browser while it shows a page.
func (s *Seen) note(address string, event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != address && !strings.HasPrefix(e.Request.URL, "data:") {
			s.Requests = append(s.Requests, e.Request.URL)
		}
	case *log.EventEntryAdded:
		s.Complaints = append(s.Complaints, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		s.Complaints = append(s.Complaints, "console."+e.Type.String())
	case *runtime.EventExceptionThrown:
		s.Complaints = append(s.Complaints, e.ExceptionDetails.Text)
	}
}

// command sends one command of the DevTools protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, c, params)
		return err
	})
}

// into stores the result of an action.
func into[T any](result *T, action chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) (err error) {
		*result, err = action(ctx, target)
		return err
	})
}

// FileURL is the address of a file.
func FileURL(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	return (&url.URL{Scheme: "file", Path: absolute}).String(), err
}
