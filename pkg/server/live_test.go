package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/browser"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// soon is how long a reader waits for a change that was published.
const soon = time.Second

// patience is how long a test waits for what has no such promise, on a busy machine.
const patience = 2 * time.Minute

func open(t *testing.T, chromium *browser.Browser, address string, v browser.View) *browser.Tab {
	t.Helper()
	tab, err := chromium.Open(address, v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Close)
	return tab
}

func until(t *testing.T, tab *browser.Tab, expression string, within time.Duration) {
	t.Helper()
	if err := tab.Until(expression, within); err != nil {
		t.Fatal(err)
	}
}

func askPage(t *testing.T, tab *browser.Tab, expression string) string {
	t.Helper()
	answer, err := tab.Ask(expression)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

const (
	live = `document.getElementById("connection").textContent === "Live"`
	text = `document.getElementById("main").innerText`
)

// later is a view some seconds after another one, with one change.
func later(v *view.View, change func(*view.View)) *view.View {
	next := fixture(v.At)
	next.At = v.At.Add(3 * time.Second)
	change(next)
	return next
}

// Each page shows what is new within a second, and keeps what its reader did to it.
func TestPagesStayFresh(t *testing.T) {
	chromium := startBrowser(t)
	subject := func(v *view.View, news string) { v.Commits[0].Subject = news }
	message := func(v *view.View, news string) { v.Target("orders-daily", "prod").Message = news }
	for name, c := range map[string]struct {
		path   string
		change func(v *view.View, news string)
		before string // what the reader does to the page
		after  string // what has to be as it was
	}{
		"matrix": {
			"/?sort=-name", subject,
			`const q = document.getElementById("q"); q.focus(); q.value = "";`,
			`document.activeElement.id === "q"`,
		},
		"pipeline": {
			"/pipelines/orders-daily", message,
			`const all = document.querySelectorAll(".timeline details"); const d = all[all.length - 1]; d.open = true; d.id = ""; window.kept = d; d.querySelector("summary").focus(); d.scrollIntoView({ behavior: "instant" }); window.at = scrollY;`,
			`window.kept.open && window.kept.isConnected && document.activeElement === window.kept.querySelector("summary") && scrollY === window.at && scrollY > 0`,
		},
		"commits": {
			"/commits", subject,
			`document.querySelector(".commits li:last-child a").focus();`,
			`document.activeElement === document.querySelector(".commits li:last-child a")`,
		},
		"commit": {"/commits/" + commitHash(team[0].subject), subject, ``, `true`},
		"events": {
			"/events?env=prod", func(v *view.View, news string) {
				v.Events = append([]view.Event{{Time: v.At, Kind: view.EventFailed, Pipeline: "orders-daily", Environment: "prod", Severity: drift.Critical, Message: news}}, v.Events...)
			},
			`document.querySelector(".timeline a.name").focus(); window.was = document.activeElement.textContent`,
			`document.activeElement.textContent === window.was`,
		},
		"nowhere": {"/nowhere", func(v *view.View, news string) { v.Environments[0].Error = news }, ``, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			daemon := publish(fixture(morning))
			address := servePages(t, daemon)
			tab := open(t, chromium, address+c.path, browser.View{Width: 1280, Height: 900})
			until(t, tab, live, patience)
			askPage(t, tab, c.before+`; window.same = document.getElementById("main"); ""`)
			publishSoon(t, daemon, tab, name, c.change)
			if askPage(t, tab, `String((`+c.after+`) && window.same === document.getElementById("main"))`) != "true" {
				t.Errorf("the page is not as its reader left it: focus on %s", askPage(t, tab, `document.activeElement.outerHTML.slice(0, 200)`))
			}
			seen, err := tab.Look()
			if err != nil {
				t.Fatal(err)
			}
			seen.Requests = without(seen.Requests, address+c.path) // it asks for itself
			judge(t, address, name == "nowhere", seen)
		})
	}
}

// publishSoon publishes news until some are on the page soon. On a busy machine others come late.
func publishSoon(t *testing.T, daemon *publisher, tab *browser.Tab, name string, change func(v *view.View, news string)) {
	t.Helper()
	for i, began := 0, time.Now(); time.Since(began) < patience; i++ {
		news := fmt.Sprintf("news %d of %s", i, name)
		daemon.Publish(later(daemon.View(), func(v *view.View) { change(v, news) }))
		if tab.Until(text+`.includes("`+news+`")`, soon) == nil {
			return
		}
		until(t, tab, text+`.includes("`+news+`")`, patience)
	}
	t.Fatalf("for %s no news are there within %s", patience, soon)
}

func without(list []string, gone string) []string {
	var out []string
	for _, text := range list {
		if text != gone {
			out = append(out, text)
		}
	}
	return out
}

// A search begins while it is typed, and the address says the same; what is typed stays when the view changes.
func TestSearchWhileTyping(t *testing.T) {
	daemon := publish(fixture(morning))
	tab := open(t, startBrowser(t), servePages(t, daemon)+"/?sort=-name", browser.View{Width: 1280, Height: 900})
	until(t, tab, live, patience)
	askPage(t, tab, `document.getElementById("q").focus(); ""`)
	if err := tab.Type("orders-daily"); err != nil {
		t.Fatal(err)
	}
	until(t, tab, text+`.includes("1 of 12 pipelines") && location.search === "?q=orders-daily&sort=-name"`, patience)
	publishSoon(t, daemon, tab, "git", func(v *view.View, news string) { v.Target("orders-daily", "dev").Subject = news })
	if got := askPage(t, tab, `document.activeElement.id + " " + document.activeElement.value + " " + document.activeElement.selectionStart`); got != "q orders-daily 12" {
		t.Errorf("the search box is left as %q", got)
	}
	if err := tab.Type("-x"); err != nil {
		t.Fatal(err)
	}
	until(t, tab, text+`.includes("Nothing matches")`, patience)
}

// A page says that it is not live, and is again by itself.
func TestConnectionIsTold(t *testing.T) {
	daemon := publish(fixture(morning))
	server := newRestartable(t, New(daemon))
	tab := open(t, startBrowser(t), server.address, browser.View{Width: 360, Height: 800})
	until(t, tab, live, patience)
	server.stop(t)
	until(t, tab, `document.getElementById("connection").textContent.startsWith("Not live since ")`, patience)
	daemon.Publish(later(daemon.View(), func(v *view.View) { v.Commits[0].Subject = "while it was away" }))
	server.start(t)
	until(t, tab, live+` && `+text+`.includes("while it was away")`, patience)
}

// A tab in the background holds no connection, of which a browser has few, and catches up when it is looked at.
func TestHiddenPagesHoldNoConnection(t *testing.T) {
	daemon, ended := publish(fixture(morning)), make(chan struct{}, 10)
	handler := readers(daemon)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		if r.URL.Path == "/stream" {
			ended <- struct{}{}
		}
	}))
	t.Cleanup(server.Close)
	tab := open(t, startBrowser(t), server.URL, browser.View{Width: 1280, Height: 900})
	until(t, tab, live, patience)
	const turn = `Object.defineProperty(document, "hidden", { value: %t, configurable: true }); document.dispatchEvent(new Event("visibilitychange")); ""`
	askPage(t, tab, fmt.Sprintf(turn, true))
	<-ended
	daemon.Publish(later(daemon.View(), func(v *view.View) { v.Commits[0].Subject = "while nobody looked" }))
	askPage(t, tab, fmt.Sprintf(turn, false))
	until(t, tab, text+`.includes("while nobody looked")`, patience)
}

// A page whose reader has to sign in again leads there.
func TestSignedOutPagesLeadToTheSignIn(t *testing.T) {
	daemon := publish(fixture(morning))
	handler := readers(daemon)
	var out atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/sign-in":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<title>Sign in</title><main>Who are you?</main>")) // the browser's loss
		case out.Load() && r.URL.Path != "/stream":
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	tab := open(t, startBrowser(t), server.URL, browser.View{Width: 1280, Height: 900})
	until(t, tab, live, patience)
	out.Store(true)
	daemon.Publish(later(daemon.View(), func(*view.View) {}))
	deadline, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for deadline.Err() == nil { // asking fails while one page takes the place of the other
		if title, err := tab.Ask(`document.title`); err == nil && title == "Sign in" {
			return
		}
	}
	t.Error("it stays where it was")
}

// Everything is there without scripts: forms and links lead to addresses that say what is shown.
func TestPagesWithoutScripts(t *testing.T) {
	address := servePages(t, publish(fixture(morning)))
	tab := open(t, startBrowser(t), address, browser.View{Width: 1280, Height: 900, NoScript: true})
	askPage(t, tab, `document.getElementById("q").focus(); ""`)
	if err := tab.Type("orders-daily"); err != nil {
		t.Fatal(err)
	}
	if err := tab.Follow("\r"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 of 12 pipelines", "Load it again to see what is new"} {
		if got := askPage(t, tab, `document.body.innerText`); !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if got := askPage(t, tab, `location.search`); got != "?q=orders-daily&env=&state=&sort=name" {
		t.Errorf("the address is %s", got)
	}
	askPage(t, tab, `document.querySelector("th a.name").focus(); ""`)
	if err := tab.Follow("\r"); err != nil {
		t.Fatal(err)
	}
	if got := askPage(t, tab, `location.pathname + " " + document.title`); got != "/pipelines/orders-daily orders-daily – data-platform – syncer" {
		t.Errorf("the link leads to %s", got)
	}
	if got := askPage(t, tab, `document.getElementById("connection").textContent`); got != "" {
		t.Errorf("without scripts it says %q", got)
	}
}

// The first stop of the keyboard skips what all pages have, and shows itself.
func TestKeyboardSkipsToTheContent(t *testing.T) {
	tab := open(t, startBrowser(t), servePages(t, publish(fixture(morning))), browser.View{Width: 1280, Height: 900})
	if err := tab.Type("\t"); err != nil {
		t.Fatal(err)
	}
	until(t, tab, `document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().top >= 0`, patience)
	if err := tab.Type("\r\t"); err != nil {
		t.Fatal(err)
	}
	until(t, tab, `document.getElementById("main").contains(document.activeElement)`, patience)
}
