// Package gitserver holds one conversation with a git server over HTTP or SSH: it connects, lists the refs, asks for a
// pack, tries again where that may help, and explains errors without credentials. It stores no objects.
package gitserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/sethvargo/go-retry"
)

// Auth names the files that hold the credentials. Each fetch reads them again, so that it uses a rotated secret. Fields
// that do not apply to the kind of URL are ignored.
type Auth struct {
	// Username goes with PasswordFile, or with TokenFile where a host wants
	// the token as a password; for ssh it is the user, "git" when empty.
	Username     string
	PasswordFile string
	// TokenFile alone is sent as a bearer token.
	TokenFile string
	// SSHKeyFile is a private key without a passphrase; when empty, the ssh
	// agent is asked.
	SSHKeyFile string
	// KnownHostsFile is mandatory for ssh in effect: when empty, the file of
	// the user (~/.ssh/known_hosts) has to know the host.
	KnownHostsFile string
	// CAFile holds PEM certificates to trust besides the system's.
	CAFile string
	// RedirectHosts may be redirected to over HTTP. No credentials go to them.
	RedirectHosts []string
}

// Server is a git server with one repository. It serves one call at a time.
type Server struct {
	Limits Limits

	place  Location
	auth   Auth
	failed func(error)     // receives the error of each try that is made again
	http   *http.Transport // kept for its connections while the CA stays the same
	httpCA []byte

	secrets []string // that the latest session sends
}

// New returns the server at a location. failed receives the error of each try that is made again. New connects to
// nothing.
func New(place Location, auth Auth, failed func(error)) *Server {
	return &Server{Limits: DefaultLimits(), place: place, auth: auth, failed: failed}
}

// session is one conversation with a git server.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// Conn is an open session after the listing.
type Conn struct {
	server  *Server
	session session
	meter   *meter // of the session
	adv     *packp.AdvRefs
	spent   bool // the session has given its pack
}

// Advertised is the latest listing of the server.
func (c *Conn) Advertised() *packp.AdvRefs { return c.adv }

// Call connects, lists the refs and does the work. It does all of it again after an error that may pass by itself.
func (s *Server) Call(ctx context.Context, work func(context.Context, *Conn) error) error {
	b := retry.NewExponential(s.Limits.backoff)
	b = retry.WithCappedDuration(s.Limits.longest, b)
	b = retry.WithJitterPercent(25, b)
	b = retry.WithMaxRetries(s.Limits.retries, b)
	left := s.Limits.retries
	return retry.Do(ctx, b, func(ctx context.Context) error {
		err := s.once(ctx, work)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var passing transientError
		if errors.As(err, &passing) {
			if left > 0 {
				left--
				s.failed(err)
			}
			return retry.RetryableError(err)
		}
		return err
	})
}

func (s *Server) once(ctx context.Context, work func(context.Context, *Conn) error) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.hangUp()
	return work(ctx, c)
}

func (s *Server) connect(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.List)
	defer cancel()
	m := &meter{}
	m.listing(s.Limits)
	opened, err := s.dial(ctx, m)
	if err != nil {
		return nil, s.explain(ctx, err, s.Limits.List)
	}
	adv, err := opened.AdvertisedReferencesContext(ctx)
	if err = cmp.Or(m.exceeded(), err); err != nil {
		_ = opened.Close() // the listing error says more
		return nil, s.explain(ctx, err, s.Limits.List)
	}
	return &Conn{server: s, session: opened, meter: m, adv: adv}, nil
}

func (s *Server) dial(ctx context.Context, m *meter) (session, error) {
	if s.place.Kind == OverSSH {
		return dialSSH(ctx, s.place, s.auth, s.Limits.Silence, m)
	}
	return s.dialHTTP(m)
}

// explain also distinguishes the deadline of this room from the caller's.
func (s *Server) explain(ctx context.Context, err error, limit time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: no answer within %s", ErrUnreachable, limit)
	}
	err = explain(err)
	if s.quotesSecret(err) {
		err = plainError{err, "the server's answer quotes the credentials, and is not shown"}
	}
	if err == ErrAuth { //nolint:errorlint // only the bare one lacks advice
		return fmt.Errorf("%w: %s", ErrAuth, s.advice())
	}
	return err
}

// quotesSecret reports whether a server's text has come into an error with the credentials that it was sent.
func (s *Server) quotesSecret(err error) bool {
	const long = 4 // what is shorter stands in many words
	return slices.ContainsFunc(s.secrets, func(secret string) bool {
		quoted := strings.Trim(strconv.Quote(secret), `"`)
		return len(secret) >= long && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), quoted))
	})
}

// advice names the file of wrong credentials and shows nothing of them.
func (s *Server) advice() string {
	switch {
	case s.auth.TokenFile != "":
		return "the server does not accept the token in " + s.auth.TokenFile
	case s.auth.PasswordFile != "":
		return "the server does not accept the user name with the password in " + s.auth.PasswordFile
	case s.place.User != "":
		return "the server does not accept the credentials in the url"
	default:
		return "the server asks for credentials: set passwordFile or tokenFile"
	}
}

// hangUp ends the session. Its error is of no interest.
func (c *Conn) hangUp() { _ = c.session.Close() }

// Fetch sends the request for a listing and hands the answer to take. A session gives one pack: the next Fetch connects
// again.
func (c *Conn) Fetch(ctx context.Context, request func(*packp.AdvRefs) (*packp.UploadPackRequest, error), take func(*packp.UploadPackResponse, *packp.UploadPackRequest) error) error {
	s := c.server
	if c.spent {
		fresh, err := s.connect(ctx)
		if err != nil {
			return err
		}
		c.hangUp()
		c.session, c.meter, c.adv = fresh.session, fresh.meter, fresh.adv
	}
	c.spent = true
	asked, err := request(c.adv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Limits.Fetch)
	defer cancel()
	c.meter.preamble()
	answer, err := c.session.UploadPack(ctx, asked)
	if err = cmp.Or(c.meter.exceeded(), err); err != nil {
		return s.explain(ctx, err, s.Limits.Fetch)
	}
	defer answer.Close() // read to its end, or given up
	c.meter.pack(s.Limits)
	err = take(answer, asked)
	if err = cmp.Or(c.meter.exceeded(), err); err != nil {
		return s.explain(ctx, err, s.Limits.Fetch)
	}
	return nil
}

// Close closes the connections that are kept.
func (s *Server) Close() {
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
}
