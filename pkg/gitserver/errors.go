package gitserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/syncerdev/syncer/pkg/silence"
)

// The errors of a server, for callers that branch on them with errors.Is.
var (
	ErrRepositoryNotFound = errors.New("repository not found")
	ErrEmptyRepository    = errors.New("repository is empty")
	ErrAuth               = errors.New("access refused")
	ErrHostKey            = errors.New("ssh host key not trusted")
	ErrTLS                = errors.New("TLS certificate not trusted")
	ErrUnreachable        = errors.New("remote unreachable")
	ErrObjectFormat       = errors.New("repository has SHA-256 object names, which syncer cannot read: make one with SHA-1 object names (git init --object-format=sha1) and push the files there")
)

var errClosed = errors.New("the server was silent until the connection was closed")

// ErrNoCommit is an ErrEmptyRepository with advice.
var ErrNoCommit = fmt.Errorf("%w: it has no commit yet: push one", ErrEmptyRepository)

// transientError marks an error that may pass by itself, so that a retry is worth it.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

// LocalError says that this side, and not the server, is at fault. It passes through Fetch as it is.
type LocalError struct{ Err error }

func (e LocalError) Error() string { return e.Err.Error() }

func (e LocalError) Unwrap() error { return e.Err }

func unreachable(cause error) error {
	return transientError{fmt.Errorf("%w: %w", ErrUnreachable, cause)}
}

// explain turns an error of a transport into one of this package. It leaves out the address and the text of server
// answers on purpose: they can hold credentials.
func explain(err error) error {
	var (
		unexpected *plumbing.UnexpectedError
		permanent  *plumbing.PermanentError
		status     *githttp.Err
		inURL      *url.Error
		line       *pktline.ErrorLine
		garbage    *packp.ErrUnexpectedData
		silent     *silence.Error
		limit      *LimitError
	)
	switch {
	case errors.As(err, &limit):
		return limit // without the address that a library puts before it
	case errors.As(err, &inURL) && errors.Is(err, ErrRedirect):
		return inURL.Err
	case err == nil || Explained(err):
		return err
	case errors.As(err, &silent):
		return unreachable(silent)
	case errors.As(err, &status):
		return explainStatus(status.StatusCode())
	case errors.As(err, &unexpected): // has no Unwrap
		return explain(unexpected.Err)
	case errors.As(err, &permanent): // has no Unwrap
		return explain(permanent.Err)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return ErrAuth
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("%w, or hidden from these credentials", ErrRepositoryNotFound)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return ErrNoCommit
	case isTLS(err):
		return fmt.Errorf("%w: %w; if the certificate is of a CA of your own, name its file in caFile", ErrTLS, inner(err))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case strings.Contains(err.Error(), "http redirect: "): // go-git has no type for it, and quotes the address
		return fmt.Errorf("%w: the server redirects to an address that is none of a repository", ErrRedirect)
	case strings.Contains(err.Error(), net.ErrClosed.Error()): // go-git formats it; this side closes a connection that was silent
		return unreachable(errClosed)
	case errors.As(err, &inURL):
		return explainNet(inURL.Err)
	case errors.As(err, &line):
		return explainLine(line.Text)
	case errors.As(err, &garbage) && hasLongNames(garbage.Data):
		return ErrObjectFormat
	case errors.As(err, &garbage), errors.Is(err, pktline.ErrInvalidPktLen):
		return fmt.Errorf("%w: the answer is not that of a git server: check the address", ErrRepositoryNotFound)
	default:
		return plain(explainNet(err))
	}
}

// plain gives an error of a library a text of one short line: it may quote a server.
func plain(err error) error {
	text := err.Error()
	if len(text) <= longestText && !strings.ContainsFunc(text, unicode.IsControl) {
		return err
	}
	return plainError{err, strings.Trim(strconv.Quote(short(text)), `"`)}
}

type plainError struct {
	error
	text string
}

func (e plainError) Error() string { return e.text }

func (e plainError) Unwrap() error { return e.error }

// hasLongNames reports whether the first line of a listing, of which the library has read 40 digits of a name, goes on with
// the rest of a name of 64, or says so in its capabilities.
func hasLongNames(line []byte) bool {
	const rest = 64 - 40
	if bytes.Contains(line, []byte("object-format=sha256")) {
		return true
	}
	return len(line) > rest && line[rest] == ' ' && !bytes.ContainsFunc(line[:rest], func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

func explainStatus(code int) error {
	err := fmt.Errorf("%w: the server answered %d %s", ErrUnreachable, code, http.StatusText(code))
	if code >= 500 || code == http.StatusTooManyRequests {
		return transientError{err}
	}
	return err
}

func explainNet(err error) error {
	if errors.As(err, new(*fs.PathError)) {
		return err // a file of ours; its errno would pass for a net.Error
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, packp.ErrEmptyInput) {
		return unreachable(err)
	}
	return err
}

// explainLine explains an error line of a git server.
func explainLine(text string) error {
	text = short(text)
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "not our ref"):
		// The ref moved between the listing and the request.
		return transientError{fmt.Errorf("the server says %q", text)}
	case strings.Contains(lower, "not found"), strings.Contains(lower, "does not exist"),
		strings.Contains(lower, "not appear to be a git repository"), strings.Contains(lower, "no such repository"),
		strings.Contains(lower, "could not be found"), strings.Contains(lower, "not a git repository"):
		return fmt.Errorf("%w, or hidden from these credentials: the server says %q", ErrRepositoryNotFound, text)
	case strings.Contains(lower, "denied"), strings.Contains(lower, "unauthorized"):
		return fmt.Errorf("%w: the server says %q", ErrAuth, text)
	default:
		return fmt.Errorf("the server says %q", text)
	}
}

// Explained reports whether an error is one of this package already.
func Explained(err error) bool {
	for _, known := range []error{ErrRepositoryNotFound, ErrEmptyRepository, ErrAuth, ErrHostKey, ErrTLS, ErrUnreachable, ErrObjectFormat, ErrLimit, ErrRedirect} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, new(transientError)) || errors.As(err, new(LocalError))
}

func isTLS(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// inner drops the address that net/http puts before its errors.
func inner(err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		return inURL.Err
	}
	return err
}
