// Package silence bounds how long a wait for another machine may hear nothing. A connection whose other end is gone
// looks like one on which nothing is said yet; only a clock tells the two apart. It opens no connection itself.
package silence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// Limit is how long a server that was asked something may send no byte. Git sends a sign of life every 5 s while it
	// packs, an API server and a registry answer within seconds; what is silent for longer is broken on the way.
	Limit = 30 * time.Second

	// PingAfter and PingLimit end an HTTP/2 connection on which nothing arrives: after the first a ping is sent, which any
	// live server answers by itself within the second. Together they are Limit.
	PingAfter = 15 * time.Second
	PingLimit = 15 * time.Second
)

// Error says that a server sent nothing for too long. It is a timeout, also to those who ask with errors.Is for
// context.DeadlineExceeded.
type Error struct{ Limit time.Duration }

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("the server sent nothing for %s", e.Limit) }

// Timeout implements net.Error.
func (e *Error) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *Error) Temporary() bool { return true }

// Is makes the error one of a deadline.
func (e *Error) Is(target error) bool { return target == context.DeadlineExceeded }

// Transport gives a request up when nothing is heard of its answer for too long: before its header, or while its body is
// read. The time that the reader of the body takes for itself does not count.
type Transport struct {
	Next http.RoundTripper
	// Limit says how long the server may be silent before its answer, and between two parts of its body; 0: until the
	// request's context ends.
	Limit func(*http.Request) (answer, part time.Duration)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, part := t.Limit(req)
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := func() bool { return true }
	if answer > 0 {
		stop = time.AfterFunc(answer, func() { cancel(&Error{answer}) }).Stop
	}
	resp, err := t.Next.RoundTrip(req.WithContext(ctx))
	stop()
	if err != nil {
		if silent, ok := errors.AsType[*Error](context.Cause(ctx)); ok {
			err = silent
		}
		cancel(nil)
		return nil, err
	}
	stream := io.Reader(resp.Body)
	if part > 0 {
		stream = Reader(resp.Body, part, func() { cancel(&Error{part}) })
	}
	resp.Body = &body{Reader: stream, closer: resp.Body, done: cancel}
	return resp, nil
}

// WrappedRoundTripper gives client-go the transport below.
func (t *Transport) WrappedRoundTripper() http.RoundTripper { return t.Next }

type body struct {
	io.Reader

	closer io.Closer
	done   context.CancelCauseFunc
}

func (b *body) Close() error {
	err := b.closer.Close()
	b.done(nil)
	return err
}

// Reader ends a stream of which a read waits for longer than the limit: end has to make the read return, whose error is
// then an *Error.
func Reader(stream io.Reader, limit time.Duration, end func()) io.Reader {
	return &reader{stream: stream, limit: limit, end: end}
}

type reader struct {
	stream io.Reader
	limit  time.Duration
	end    func()
	silent atomic.Bool
}

func (r *reader) Read(p []byte) (int, error) {
	timer := time.AfterFunc(r.limit, func() {
		r.silent.Store(true)
		r.end()
	})
	n, err := r.stream.Read(p)
	timer.Stop()
	if err != nil && r.silent.Load() {
		err = &Error{r.limit}
	}
	return n, err
}
