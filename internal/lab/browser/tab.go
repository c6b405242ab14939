package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Tab is a page that stays open for the actions of a reader.
type Tab struct {
	ctx   context.Context
	close func()
	view  View

	mu   sync.Mutex
	seen Seen
}

// lifetime is the longest that a tab may take, so that a page that hangs fails its test.
const lifetime = 10 * time.Minute

// Open opens a page in a tab of its own and waits until it is loaded.
func (b *Browser) Open(address string, view View) (*Tab, error) {
	ctx, cancel := chromedp.NewContext(b.ctx)
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		cancel()
		return nil, fmt.Errorf("opening %s: %w", address, err)
	}
	ctx, expire := context.WithTimeout(ctx, lifetime)
	t := &Tab{ctx: ctx, close: func() { expire(); cancel() }, view: view}
	err := chromedp.Listen(ctx, func(event any) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seen.note(address, event)
	})
	if err != nil {
		t.close()
		return nil, fmt.Errorf("opening %s: %w", address, err)
	}
	scheme := "light"
	if view.Dark {
		scheme = "dark"
	}
	err = chromedp.Do(ctx,
		command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), command(runtime.Enable, cdp.Empty{}),
		chromedp.EmulateViewport(view.Width, view.Height),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
		scripts(!view.NoScript), chromedp.Navigate(address),
	)
	if err != nil {
		t.close()
		return nil, fmt.Errorf("opening %s: %w", address, err)
	}
	return t, nil
}

// Close closes the tab.
func (t *Tab) Close() { t.close() }

// Look measures the present page. The browser's events are all since the page was opened.
func (t *Tab) Look() (Seen, error) {
	var seen Seen
	var barriers string
	err := chromedp.Do(t.ctx,
		scripts(true),
		into(&seen.TooWide, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`)),
		into(&seen.Text, chromedp.Evaluate[string](`document.body.innerText`)),
		into(&barriers, chromedp.Evaluate[string](accessibility)),
		into(&seen.Screenshot, chromedp.FullScreenshot(100)),
		scripts(!t.view.NoScript),
	)
	if err != nil {
		return Seen{}, fmt.Errorf("looking at a page: %w", err)
	}
	if err := json.Unmarshal([]byte(barriers), &seen.Barriers); err != nil {
		return Seen{}, fmt.Errorf("checking a page: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	seen.Requests, seen.Complaints = slices.Clone(t.seen.Requests), slices.Clone(t.seen.Complaints)
	return seen, nil
}

// Ask gives the value of an expression of JavaScript, which is a string.
func (t *Tab) Ask(expression string) (string, error) {
	var answer string
	if err := chromedp.Do(t.ctx, scripts(true), into(&answer, chromedp.Evaluate[string](expression)), scripts(!t.view.NoScript)); err != nil {
		return "", fmt.Errorf("asking a page for %s: %w", expression, err)
	}
	return answer, nil
}

// errNever says that a page did not reach the expected state.
var errNever = errors.New("it did not come true")

// Until waits until an expression of JavaScript is true. The page itself evaluates it repeatedly, so that a policy
// against the evaluation of text is no obstacle.
func (t *Tab) Until(expression string, within time.Duration) error {
	wait := fmt.Sprintf(`new Promise((resolve) => {
  const end = performance.now() + %d;
  const look = () => ((%s) ? resolve(true) : performance.now() > end ? resolve(false) : setTimeout(look, 10));
  look();
})`, within.Milliseconds(), expression)
	var came bool
	err := chromedp.Do(t.ctx, into(&came, chromedp.Evaluate[bool](wait, chromedp.EvalAwaitPromise)))
	if err == nil && !came {
		err = errNever
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", expression, err)
	}
	return nil
}

// Type presses keys, one after the other: "\t" and "\r" are Tab and Enter.
func (t *Tab) Type(keys string) error {
	if err := chromedp.Do(t.ctx, chromedp.KeyEvent(keys)); err != nil {
		return fmt.Errorf("typing %q: %w", keys, err)
	}
	return nil
}

// Follow presses keys that lead to another page, and waits until that page is loaded.
func (t *Tab) Follow(keys string) error {
	if _, err := chromedp.RunResponse(t.ctx, chromedp.KeyEvent(keys)); err != nil {
		return fmt.Errorf("following %q: %w", keys, err)
	}
	return nil
}

// scripts lets the scripts of pages run, or not.
func scripts(run bool) chromedp.Action[chromedp.Void] {
	return command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run})
}
