package server

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/syncerdev/syncer/pkg/view"
)

// signInPage takes a token. It contains all its parts: a browser without a token may not load other files.
//
//go:embed signin.html
var signInText string

//go:embed signin.css
var signInStyle string

var (
	signInPage   = template.Must(template.New("sign-in").Parse(signInText))
	signInPolicy = "default-src 'none'; style-src 'sha256-" + hashOf(signInStyle) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// mount adds the pages by which a browser signs in and out. A form of another site is refused: it could sign a user in
// with the token of another.
func (g *guard) mount(mux *http.ServeMux) {
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusForbidden, "this form was sent by another site")
	}))
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) {
		next := r.URL.Query().Get("next")
		if v, _ := g.judge(r, cookieToken(r), view.AccessRecords); v.allowed && next != "" {
			http.Redirect(w, r, localPath(next), http.StatusSeeOther) // sent here by send
			return
		}
		g.show(w, r, http.StatusOK, next, "")
	})
	mux.Handle("POST /sign-in", own.Handler(http.HandlerFunc(g.signIn)))
	mux.Handle("POST /sign-out", own.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, cookie(r, "", -1))
		// The pages that were seen are not to be had by the back button.
		w.Header().Set("Clear-Site-Data", `"cache"`)
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	})))
}

// show prints the sign-in page. why explains the fault of the last token.
func (g *guard) show(w http.ResponseWriter, r *http.Request, status int, next, why string) {
	known, _ := g.judge(r, cookieToken(r), view.AccessRecords) // on an error no user is known
	var page bytes.Buffer
	err := signInPage.Execute(&page, map[string]any{
		"Style": template.CSS(signInStyle), "Next": localPath(next), "Why": why, "User": known.user, "Right": g.right(view.AccessRecords),
	})
	if err != nil {
		g.log.Error("the sign-in page cannot be printed", "error", err)
		refuse(w, r, http.StatusInternalServerError, "the page cannot be printed")
		return
	}
	w.Header().Set("Content-Security-Policy", signInPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the browser may have gone
}

// send sends a browser to the sign-in page. A browser that follows a link from elsewhere, as from a chat, sends no cookie
// at first, because the cookie is for requests of this site alone; so this site makes the next request.
func send(w http.ResponseWriter, r *http.Request) {
	target := "/sign-in?next=" + url.QueryEscape(r.URL.RequestURI())
	if r.Header.Get("Sec-Fetch-Site") != "cross-site" {
		http.Redirect(w, r, target, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><meta charset="utf-8"><title>syncer</title><meta http-equiv="refresh" content="0;url=`+html.EscapeString(target)+`">`)
}

func (g *guard) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*longestToken)
	if err := r.ParseForm(); err != nil {
		g.show(w, r, http.StatusBadRequest, "", "The form could not be read.")
		return
	}
	next, token := r.PostForm.Get("next"), strings.TrimSpace(r.PostForm.Get("token"))
	if token == "" {
		g.show(w, r, http.StatusBadRequest, next, "Paste a token.")
		return
	}
	v, err := g.judge(r, token, view.AccessRecords)
	switch {
	case err != nil:
		status, detail := g.failure(w, r, err)
		g.show(w, r, status, next, strings.ToUpper(detail[:1])+detail[1:]+".")
	case v.user == "":
		g.show(w, r, http.StatusUnauthorized, next, "The cluster does not know this token, or it has ended.")
	case !v.allowed:
		g.show(w, r, http.StatusForbidden, next, v.user+" may not "+g.right(view.AccessRecords)+".")
	default:
		http.SetCookie(w, cookie(r, token, 0))
		http.Redirect(w, r, localPath(next), http.StatusSeeOther)
	}
}

// localPath is the next page after a sign-in: always a path of this server.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(next, "/sign-") {
		return "/"
	}
	return next
}

// cookieName has the prefix with which browsers take a cookie over TLS alone, and for this host alone.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-syncer"
	}
	return "syncer"
}

// cookie keeps the token in the browser, out of reach of scripts and of other sites, until the browser is closed or age
// says that it has ended. The server keeps no state, so that every replica accepts it.
func cookie(r *http.Request, token string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: base64.RawURLEncoding.EncodeToString([]byte(token)), Path: "/", MaxAge: age,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

func cookieToken(r *http.Request) string {
	kept, err := r.Cookie(cookieName(r))
	if err != nil {
		return ""
	}
	token, err := base64.RawURLEncoding.DecodeString(kept.Value)
	if err != nil {
		return ""
	}
	return string(token)
}
