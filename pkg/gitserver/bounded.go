package gitserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ErrRedirect says that a server redirects to where syncer does not follow.
var ErrRedirect = errors.New("redirect refused")

// bounded bounds what an HTTP server sends, and where it redirects to. The http library follows redirects by itself and
// puts their addresses, which may hold a token, into its errors: a redirect is judged before the library sees it.
type bounded struct {
	next      http.RoundTripper
	meter     *meter
	redirects int
	hosts     []string // that may be redirected to
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := b.judge(req, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		resp.Body = stream{metered{resp.Body, b.meter}, resp.Body}
	} else {
		resp.Body = stream{io.LimitReader(resp.Body, refusalBytes), resp.Body}
	}
	return resp, nil
}

type stream struct {
	io.Reader
	io.Closer
}

// judge refuses an answer that redirects too often, or elsewhere.
func (b *bounded) judge(req *http.Request, resp *http.Response) error {
	target, err := resp.Location()
	if resp.StatusCode < 300 || resp.StatusCode > 399 || errors.Is(err, http.ErrNoLocation) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: the server redirects to what is no address", ErrRedirect) // without the error, which quotes it
	}
	hops := 1
	for from := req.Response; from != nil; from = from.Request.Response {
		hops++
	}
	switch {
	case hops > b.redirects:
		return &LimitError{fmt.Sprintf("the server redirects more than %d times", b.redirects), "redirects"}
	case req.Method != http.MethodGet:
		return fmt.Errorf("%w: the server redirects a request for objects; mend source.url", ErrRedirect)
	case target.Scheme != "http" && target.Scheme != "https":
		return fmt.Errorf("%w: the server redirects to an address that is neither http nor https", ErrRedirect)
	case req.URL.Scheme == "https" && target.Scheme == "http":
		return fmt.Errorf("%w: the server redirects from https to http", ErrRedirect)
	case !sameHost(req.URL, target) && !b.allows(target):
		return fmt.Errorf("%w: the server redirects to the host %q: write its address into source.url, or add it to source.redirectHosts, which gives it no credentials",
			ErrRedirect, short(target.Host))
	}
	return nil
}

func (b *bounded) allows(target *url.URL) bool {
	return slices.ContainsFunc(b.hosts, func(host string) bool { return strings.EqualFold(host, target.Host) })
}

// sameHost reports whether a redirect stays at a host, perhaps from http to https on their usual ports.
func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	return port(from) == port(to) || port(from) == "80" && port(to) == "443"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// longestText is the most of a server's text in an error, in bytes.
const longestText = 300

// short cuts a server's text.
func short(text string) string {
	if len(text) <= longestText {
		return text
	}
	return strings.ToValidUTF8(text[:longestText], "") + "..."
}
