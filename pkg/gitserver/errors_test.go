package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/syncerdev/syncer/pkg/silence"
)

func TestExplain(t *testing.T) {
	own := errors.New("of another room")
	line := func(text string) error { return &pktline.ErrorLine{Text: text} }
	for _, c := range []struct {
		name  string
		err   error
		want  error
		again bool // it may pass by itself
		says  string
	}{
		{"silence", fmt.Errorf("reading: %w", &silence.Error{Limit: 1}), ErrUnreachable, true, ""},
		{"an error inside an unexpected one", &plumbing.UnexpectedError{Err: io.EOF}, ErrUnreachable, true, "EOF"},
		{"an error inside a permanent one", &plumbing.PermanentError{Err: transport.ErrAuthorizationFailed}, ErrAuth, false, ""},
		{"a repository that is empty", transport.ErrEmptyRemoteRepository, ErrEmptyRepository, false, "push one"},
		{"an address in an error", &url.Error{Op: "Get", URL: "https://bob:s3cret@h/x", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, ErrUnreachable, true, "refused"},
		{"a caller that gave up", context.Canceled, context.Canceled, false, ""},
		{"a ref that moved", line("upload-pack: not our ref abc"), nil, true, "not our ref"},
		{"a repository that is not there", line("ERROR: Repository not found."), ErrRepositoryNotFound, false, "the server says"},
		{"a server that denies", line("Permission denied"), ErrAuth, false, "the server says"},
		{"other words", line("out of order"), nil, false, `the server says "out of order"`},
		{"a page", &packp.ErrUnexpectedData{Data: []byte("<html>")}, ErrRepositoryNotFound, false, "not that of a git server"},
		{"long names", &packp.ErrUnexpectedData{Data: []byte(strings.Repeat("a", 24) + " HEAD")}, ErrObjectFormat, false, ""},
		{"long names by a capability", &packp.ErrUnexpectedData{Data: []byte("x object-format=sha256")}, ErrObjectFormat, false, ""},
		{"a connection that this side closed", fmt.Errorf("encoding first want line: %v", net.ErrClosed), ErrUnreachable, true, "silent"},
		{"a file", &fs.PathError{Op: "open", Path: "p", Err: fs.ErrNotExist}, fs.ErrNotExist, false, ""},
		{"an error of the cache", LocalError{Err: io.EOF}, io.EOF, false, "EOF"},
		{"any other", own, own, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := explain(c.err)
			if c.want != nil && !errors.Is(got, c.want) || !strings.Contains(got.Error(), c.says) || strings.Contains(got.Error(), "s3cret") {
				t.Errorf("%v, want %v that says %q", got, c.want, c.says)
			}
			if again := errors.As(got, new(transientError)); again != c.again {
				t.Errorf("%v: to be tried again: %v", got, again)
			}
		})
	}
	if explain(nil) != nil {
		t.Error("an error of nothing")
	}
}
