package image

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Limits bound what registries may have syncer send and read. 0 is the default.
type Limits struct {
	RequestsPerMinute int   // to one host
	RequestsPerLookup int   // for one question, with redirects, tokens and retries
	Redirects         int   // of one request
	TagPages          int   // of one list of tags
	TagBytes          int64 // of that list
	ManifestBytes     int64 // of one manifest or index
	Signatures        int   // of one image that are looked at
}

func (l Limits) orDefaults() Limits {
	return Limits{
		RequestsPerMinute: cmp.Or(l.RequestsPerMinute, 6000), RequestsPerLookup: cmp.Or(l.RequestsPerLookup, 100), Redirects: cmp.Or(l.Redirects, 5),
		TagPages: cmp.Or(l.TagPages, 1000), TagBytes: cmp.Or(l.TagBytes, 32<<20),
		ManifestBytes: cmp.Or(l.ManifestBytes, 8<<20), // the OCI distribution specification has registries take 4 MiB
		Signatures:    cmp.Or(l.Signatures, 100),
	}
}

// ErrLimit says that a registry exceeds a limit.
var ErrLimit = errors.New("limit exceeded")

// LimitError names the limit that a registry exceeds. It is an ErrLimit, and an ErrUnavailable: what runs stays.
type LimitError struct {
	Exceeds string
	Setting string // below registryLimits; "": the limit is fixed
}

// Error implements error.
func (e *LimitError) Error() string {
	if e.Setting == "" {
		return fmt.Sprintf("%s: %s, which is as much as syncer takes", ErrLimit, e.Exceeds)
	}
	return fmt.Sprintf("%s: %s; if that is meant, raise registryLimits.%s", ErrLimit, e.Exceeds, e.Setting)
}

// Is implements errors.Is.
func (e *LimitError) Is(target error) bool { return target == ErrLimit || target == ErrUnavailable }

const (
	refusalBytes = 64 << 10  // are read of an answer that is no success
	answerBytes  = 1 << 20   // of one that is no list, manifest or blob
	headerBytes  = 256 << 10 // of the header of an answer
)

// budget bounds the requests of one question and their answers, and knows the credentials that were sent for it.
type budget struct {
	next   http.RoundTripper
	limits Limits
	most   int // requests

	mu       sync.Mutex
	left     int   // requests
	pages    int   // of tags
	tagBytes int64 // that may yet come
	secrets  []string
}

// newBudget allows a question some requests beyond those of a look-up.
func newBudget(next http.RoundTripper, limits Limits, more int) *budget {
	most := limits.RequestsPerLookup + more
	return &budget{next: next, limits: limits, most: most, left: most, pages: limits.TagPages, tagBytes: limits.TagBytes}
}

// RoundTrip implements http.RoundTripper.
func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.spend(req); err != nil {
		return nil, err
	}
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := b.judge(req, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	resp.Body = b.bound(req, resp)
	return resp, nil
}

// spend counts a request.
func (b *budget) spend(req *http.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remember(req)
	if b.left--; b.left < 0 {
		return &LimitError{fmt.Sprintf("the registry takes more than %d requests for one look-up", b.most), "requestsPerLookup"}
	}
	if req.Response == nil && isTagList(req.URL.Path) {
		if b.pages--; b.pages < 0 {
			return &LimitError{fmt.Sprintf("the registry's list of tags has more than %d pages", b.limits.TagPages), "tagPages"}
		}
	}
	return nil
}

// judge refuses an answer that redirects too often, or elsewhere. Redirects to other hosts are usual for registries, whose
// storage and mirrors are there; the library sends them no credentials.
func (b *budget) judge(req *http.Request, resp *http.Response) error {
	target, err := resp.Location()
	if resp.StatusCode < 300 || resp.StatusCode > 399 || errors.Is(err, http.ErrNoLocation) {
		return nil
	}
	if err != nil {
		return errors.New("the registry redirects to what is no address") // without the error, which quotes it
	}
	hops := 1
	for from := req.Response; from != nil; from = from.Request.Response {
		hops++
	}
	switch address, literal := netip.ParseAddr(target.Hostname()); {
	case hops > b.limits.Redirects:
		return &LimitError{fmt.Sprintf("the registry redirects more than %d times", b.limits.Redirects), "redirects"}
	case req.URL.Scheme == "https" && target.Scheme == "http":
		return errors.New("the registry redirects from https to http")
	case req.Method != http.MethodGet && req.Method != http.MethodHead && target.Host != req.URL.Host:
		return fmt.Errorf("the registry redirects a request with credentials to the host %q", target.Host)
	case literal == nil && address.IsLinkLocalUnicast() && target.Host != req.URL.Host:
		return fmt.Errorf("the registry redirects to %q, where clouds keep credentials", target.Host)
	}
	return nil
}

// bound ends the body of an answer at a limit.
func (b *budget) bound(req *http.Request, resp *http.Response) io.ReadCloser {
	if resp.StatusCode != http.StatusOK {
		return body{io.LimitReader(resp.Body, refusalBytes), resp.Body}
	}
	path := firstPath(req)
	limited := &limited{from: resp.Body, left: answerBytes, over: &LimitError{"the registry sends more than 1 MiB", ""}}
	switch {
	case isTagList(path):
		limited.left, limited.over = b.tagBytes, &LimitError{"the registry's list of tags has more than " + size(b.limits.TagBytes), "tagBytes"}
		limited.spent = &b.tagBytes
	case strings.Contains(path, "/manifests/"), strings.Contains(path, "/referrers/"), strings.Contains(path, "/blobs/"):
		limited.left, limited.over = b.limits.ManifestBytes, &LimitError{"a manifest has more than " + size(b.limits.ManifestBytes), "manifestBytes"}
	}
	return body{limited, resp.Body}
}

// signatures refuses more signatures of an image than are looked at.
func (l Limits) signatures(n int) error {
	if n <= l.Signatures {
		return nil
	}
	return &LimitError{fmt.Sprintf("the image has more than %d signatures", l.Signatures), "signatures"}
}

// firstPath is what was asked for before redirects.
func firstPath(req *http.Request) string {
	for req.Response != nil {
		req = req.Response.Request
	}
	return req.URL.Path
}

func isTagList(path string) bool { return strings.HasSuffix(path, "/tags/list") }

func size(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

type body struct {
	io.Reader
	io.Closer
}

// limited is a body that ends with an error at a limit. Pages follow each other, so that spent needs no lock.
type limited struct {
	from  io.Reader
	left  int64
	over  *LimitError
	spent *int64 // what is left for the answers that follow; may be nil
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1] // one more tells whether there is more
	}
	n, err := l.from.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		l.left = -1
		return 0, l.over
	}
	if l.spent != nil {
		*l.spent = l.left
	}
	return n, err
}

// remember notes the credentials of a request.
func (b *budget) remember(req *http.Request) {
	_, sent, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	secrets := []string{sent}
	if plain, err := base64.StdEncoding.DecodeString(sent); err == nil {
		_, password, _ := strings.Cut(string(plain), ":")
		secrets = append(secrets, password)
	}
	if req.GetBody != nil {
		if form, err := req.GetBody(); err == nil { // of a request for a token
			text, _ := io.ReadAll(io.LimitReader(form, refusalBytes))
			values, _ := url.ParseQuery(string(text)) // what is no form has no credentials
			secrets = append(secrets, values.Get("refresh_token"), values.Get("password"))
			form.Close()
		}
	}
	for _, secret := range secrets {
		const long = 4 // what is shorter stands in many words
		if len(secret) >= long && !slices.Contains(b.secrets, secret) {
			b.secrets = append(b.secrets, secret)
		}
	}
}

// conceal leaves out the text of an error that quotes the credentials.
func (b *budget) conceal(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || !slices.ContainsFunc(b.secrets, func(secret string) bool { return strings.Contains(err.Error(), secret) }) {
		return err
	}
	for _, known := range []error{ErrNotFound, ErrDenied, ErrMismatch} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w (the registry's answer quotes the credentials, and is not shown)", known)
		}
	}
	return fmt.Errorf("%w (its answer quotes the credentials, and is not shown)", ErrUnavailable)
}

// notLinkLocal keeps a dialer from the addresses where clouds keep credentials, unless the configuration names one.
func notLinkLocal(hosts []Host) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.Unmap().IsLinkLocalUnicast() {
			return err
		}
		if slices.ContainsFunc(hosts, func(h Host) bool { return strings.Contains(h.Name, host) || strings.Contains(h.Mirror, host) }) {
			return nil
		}
		return fmt.Errorf("%s is an address where clouds keep credentials; list it in registries if it is a registry", host)
	}
}

// dial opens connections as go-containerregistry does.
func dial(hosts []Host) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: notLinkLocal(hosts)}).DialContext
}
