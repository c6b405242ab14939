package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func start(t *testing.T) *Browser {
	t.Helper()
	chromium, err := Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromium.Stop(); err != nil {
			t.Errorf("stopping the browser: %v", err)
		}
	})
	return chromium
}

func look(t *testing.T, chromium *Browser, page string) Seen {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	address, err := FileURL(file)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := chromium.Look(address, View{Width: 800, Height: 600})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// A request of a page is reported, and it is not sent: not even to this machine.
func TestNothingIsReached(t *testing.T) {
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	byName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/name.png"
	seen := look(t, start(t), wellMade(`<img alt="" src="`+server.URL+`/address.png"><img alt="" src="`+byName+`">`))
	if n := hits.Load(); n > 0 {
		t.Errorf("the server was asked %d times", n)
	}
	if len(seen.Requests) != 2 {
		t.Errorf("requests: %v", seen.Requests)
	}
}

func wellMade(body string) string {
	return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>A page</title></head>
<body><header><h1>A page</h1></header><main>` + body + `</main></body></html>`
}

// Each rule is broken once, so that none of them passes because it never looks.
func TestBarriersAreSeen(t *testing.T) {
	chromium := start(t)
	seen := look(t, chromium, wellMade(`<p>Text with <a href="#t">a link</a>, <code>code</code> and <time datetime="2026-03-03T12:00:00Z">a time</time>.</p>
<h2 id="t">A table</h2><div role="region" aria-labelledby="t"><table><thead><tr><th scope="col">a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table></div>
<ul><li>an item</li></ul><dl><div><dt>a</dt><dd>b</dd></div></dl><details><summary>more</summary><p>and more</p></details>`))
	if len(seen.Barriers) > 0 {
		t.Errorf("a page without barriers is said to have some: %v", seen.Barriers)
	}
	for rule, page := range map[string]string{
		"language":                  strings.Replace(wellMade(""), ` lang="en"`, "", 1),
		"language is none":          strings.Replace(wellMade(""), `lang="en"`, `lang="e_n"`, 1),
		"title":                     strings.Replace(wellMade(""), "A page</title>", "</title>", 1),
		"one h1":                    wellMade("<h1>another</h1>"),
		"one main landmark":         strings.NewReplacer("<main>", "<div>", "</main>", "</div>").Replace(wellMade("")),
		"cannot be enlarged":        strings.Replace(wellMade(""), "initial-scale=1", "user-scalable=no", 1),
		"moves on by itself":        strings.Replace(wellMade(""), "<title>", `<meta http-equiv="refresh" content="600"><title>`, 1),
		"outside of the landmarks":  strings.Replace(wellMade(""), "<main>", "<p>lost</p><main>", 1),
		"level is left out":         wellMade("<h3>deep</h3>"),
		"heading without text":      wellMade("<h2> </h2>"),
		"two elements of one id":    wellMade(`<p id="a">a</p><p id="a">b</p>`),
		"label that is not there":   wellMade(`<section aria-labelledby="none">a</section>`),
		"without a name":            wellMade(`<p id="p"><a href="#p"></a><a href="#p" style="display:inline-block;width:30px;height:30px"></a></p>`),
		"a link to nowhere":         wellMade(`<a href="#none">a</a>`),
		"without an alternative":    wellMade(`<img src="data:,">`),
		"without a label":           wellMade(`<input>`),
		"without a scope":           wellMade(`<table><tr><th>a</th><td>b</td></tr></table>`),
		"header without text":       wellMade(`<table><tr><th scope="col"></th><td>b</td></tr></table>`),
		"sideways with everything":  wellMade(`<details><summary>a</summary><p style="width:200vw">b</p></details>`),
		"heads nothing":             wellMade(`<table><tr><th scope="col">a</th></tr></table>`),
		"not an item":               wellMade(`<ul><p>a</p></ul>`),
		"item outside of a list":    wellMade(`<div><li>a</li></div>`),
		"not a term":                wellMade(`<dl><p>a</p></dl>`),
		"term without a text":       wellMade(`<dl><div><dt>a</dt></div></dl>`),
		"term outside of a list":    wellMade(`<div><dd>a</dd></div>`),
		"region without a name":     wellMade(`<div role="region">a</div>`),
		"landmarks of one name":     wellMade(`<section aria-label="a">a</section><section aria-label="a">b</section>`),
		"no such role":              wellMade(`<div role="rowgroop">a</div>`),
		"no such attribute":         wellMade(`<div role="region" aria-labeled="a" aria-label="a">a</div>`),
		"name for what has no role": wellMade(`<span aria-label="a">b</span>`),
		"role without its parent":   wellMade(`<div role="row">a</div>`),
		"the name leaves out":       wellMade(`<p id="p"><a href="#p" aria-label="other">text</a></p>`),
		"inside another control":    wellMade(`<details><summary>a <a href="#p" id="p">b</a></summary></details>`),
		"details without":           wellMade(`<details><p>a</p></details>`),
		"order of focus":            wellMade(`<p id="p"><a href="#p" tabindex="3">a</a></p>`),
		"focus on what is hidden":   wellMade(`<p id="p" aria-hidden="true"><a href="#p">a</a></p>`),
		"takes no focus":            wellMade(`<pre style="overflow-x:scroll;width:50px">` + strings.Repeat("long", 50) + `</pre>`),
		"small target":              wellMade(`<p id="p"><a href="#p" style="display:inline-block;font-size:10px;line-height:10px">a</a><a href="#p" style="display:inline-block;font-size:10px;line-height:10px">b</a></p>`),
		"link by colour alone":      wellMade(`<p id="p">some text and <a href="#p" style="text-decoration:none">a link</a></p>`),
		"spacing of text":           wellMade(`<p style="line-height:1!important">a</p>`),
		"contrast":                  wellMade(`<p style="color:#999">a</p>`),
		"contrast 1.":               wellMade(`<details><summary>a</summary><p style="color:#eee">b</p></details>`),
		"contrast 2.":               wellMade(`<p style="opacity:.5">a</p><p style="opacity:.4">a</p>`),
	} {
		t.Run(rule, func(t *testing.T) {
			seen := look(t, chromium, page)
			if !strings.Contains(strings.Join(seen.Barriers, "\n"), rule) {
				t.Errorf("it is not seen; what is: %q", seen.Barriers)
			}
		})
	}
}
