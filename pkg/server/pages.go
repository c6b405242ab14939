package server

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// pages adds the pages for people: each is made here from one view, and a script only keeps an open page fresh. They are
// read-only: the server answers only GET and HEAD.
func pages(daemon Daemon, mux *http.ServeMux) {
	s := &site{daemon: daemon, now: time.Now}
	s.mount(mux)
}

// site shows the views of a daemon.
type site struct {
	daemon Daemon
	now    func() time.Time
}

func (s *site) mount(mux *http.ServeMux) {
	for pattern, show := range map[string]func(*http.Request, *view.View) page{
		"/{$}":              s.matrix,
		"/pipelines/{name}": s.pipeline,
		"/commits":          s.commits,
		"/commits/{hash}":   s.commit,
		"/events":           s.events,
		"/":                 s.nowhere,
	} {
		mux.Handle(pattern, s.show(show))
	}
	mux.Handle("/pipelines", guarded(http.RedirectHandler("/", http.StatusSeeOther)))
	mux.Handle("/static/{file}", guarded(http.HandlerFunc(s.static)))
	mux.Handle("/stream", guarded(newStream(s.daemon)))
}

// page is the part of a page inside the frame that all pages share.
type page struct {
	status   int // 0: 200
	template string
	title    string
	section  string // the path of its part of the navigation; empty: it is in none
	content  any
}

// frame holds the values of the frame of every page.
type frame struct {
	Now            time.Time
	View           *view.View
	Title, Section string
	Version        string // of the view
	Assets         map[string]string
	Banners        []banner
	Content        any
}

//go:embed page
var pageFiles embed.FS

// templates holds the template of each page, by name.
var templates = func() map[string]*template.Template {
	out := map[string]*template.Template{}
	shared := template.Must(drift.Parts().Funcs(pageFuncs).ParseFS(pageFiles, "page/frame.html", "page/parts.html"))
	for _, name := range []string{"matrix", "pipeline", "commits", "commit", "events", "problem"} {
		out[name] = template.Must(template.Must(shared.Clone()).ParseFS(pageFiles, "page/"+name+".html"))
	}
	return out
}()

var pageFuncs = template.FuncMap{
	"total":    totals,
	"fragment": drift.Fragment,
	"target":   pipelinePath,
	"commit":   func(hash string) string { return "/commits/" + url.PathEscape(hash) },
	"tag":      tagOf,
	"since":    func(from, to time.Time) string { return span(to.Sub(from)) },
}

func pipelinePath(name string) string { return "/pipelines/" + url.PathEscape(name) }

// show answers with a page.
func (s *site) show(make func(*http.Request, *view.View) page) http.Handler {
	return guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.daemon.View()
		s.write(w, v, make(r, v))
	}))
}

// guarded answers GET and HEAD only, with the headers of everything that is served here.
func guarded(handler http.Handler) http.Handler {
	return withHeaders(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "pages are for reading: GET and HEAD only", http.StatusMethodNotAllowed)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

// write makes a page as a whole before its first byte is sent, so that a page that cannot be made is an error and not a
// half.
func (s *site) write(w http.ResponseWriter, v *view.View, p page) {
	f := frame{
		Now: s.now(), View: v, Title: p.title, Section: p.section, Version: version(v), Assets: assetPaths, Content: p.content,
	}
	f.Banners = banners(v)
	var out bytes.Buffer
	if err := templates[p.template].ExecuteTemplate(&out, "frame", f); err != nil {
		http.Error(w, fmt.Sprintf("making the page: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.status != 0 {
		w.WriteHeader(p.status)
	}
	// A client that is gone does not read the rest; the error has no receiver.
	_, _ = w.Write([]byte(strings.ToValidUTF8(drift.VisibleLines(out.String()), "\ufffd")))
}

// version identifies a view.
func version(v *view.View) string { return strconv.FormatInt(v.At.UnixNano(), 36) }

// problemPage is why there is no page.
type problemPage struct {
	Heading, Text string
	Links         []link
}

type link struct{ Text, Path string }

func missing(heading, text string, links ...link) page {
	return page{status: http.StatusNotFound, template: "problem", title: heading, content: problemPage{heading, text, links}}
}

func (s *site) nowhere(*http.Request, *view.View) page {
	return missing("There is no such page", "The address may be mistyped, or from another version of syncer.")
}

// banner is a notice above every page.
type banner struct {
	Class, Sign, Heading, Text string
	Since                      *time.Time
}

// banners lists the parts of a view that are out of date. The age of a readable repository is not one: a daemon publishes
// no view when nothing changed.
func banners(v *view.View) []banner {
	var out []banner
	if v.Source.Error != "" {
		out = append(out, banner{"critical", "✕", "The repository cannot be read", v.Source.Error, v.Source.FetchedAt})
	}
	for _, e := range v.Environments {
		if e.Error != "" {
			out = append(out, banner{"critical", "✕", e.Name + " cannot be read", e.Error, nil})
		}
	}
	return out
}
