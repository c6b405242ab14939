package pacing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/sethvargo/go-retry"
)

const (
	retries = 4
	// FirstDelay is how long to wait before the second try, unless a test says otherwise.
	FirstDelay    = 200 * time.Millisecond
	longestDelay  = 5 * time.Second
	longestAsked  = 30 * time.Second // a Retry-After above this is a refusal for this pass
	jitterPercent = 20
)

// transient are the answers that may be better a moment later.
var transient = []int{
	http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// Retries sends a request again when the registry asks for that or the network failed. It waits for as long as
// Retry-After says (RFC 9110, section 10.2.3).
type Retries struct {
	Next  http.RoundTripper
	First time.Duration // before the second try; each later delay is twice the one before
}

// RoundTrip implements http.RoundTripper.
func (t *Retries) RoundTrip(req *http.Request) (*http.Response, error) {
	var asked time.Duration
	delays := retry.WithMaxRetries(retries, retry.WithCappedDuration(longestDelay,
		retry.WithJitterPercent(jitterPercent, retry.NewExponential(t.First))))
	backoff := retry.BackoffFunc(func() (time.Duration, bool) {
		delay, stop := delays.Next()
		return max(delay, asked), stop
	})

	var answer *http.Response
	err := retry.Do(req.Context(), backoff, func(context.Context) error {
		asked = 0
		again, err := repeatable(req)
		if err != nil {
			return err
		}
		resp, err := t.Next.RoundTrip(again)
		if err != nil {
			if passing(err) {
				return retry.RetryableError(err)
			}
			return err
		}
		if answer != nil {
			drain(answer)
		}
		answer = resp
		if !slices.Contains(transient, resp.StatusCode) {
			return nil
		}
		if asked = retryAfter(resp, time.Now()); asked > longestAsked {
			return nil
		}
		return retry.RetryableError(fmt.Errorf("the registry answers %s", resp.Status))
	})
	if answer != nil && req.Context().Err() == nil {
		return answer, nil // the last answer says more than that the tries are used up
	}
	if answer != nil {
		drain(answer)
	}
	return nil, err
}

// repeatable gives a request a body that has not been read. Only requests for a token have one.
func repeatable(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, nil
}

// passing distinguishes failures of the network from permanent ones, such as an untrusted certificate.
func passing(err error) bool {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return true
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsTemporary {
		return true
	}
	return slices.ContainsFunc(broken, func(failure error) bool { return errors.Is(err, failure) })
}

// broken are failures of a connection that the next one may not have.
var broken = []error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	io.EOF, io.ErrUnexpectedEOF,
}

// retryAfter reads the header in both its forms, seconds and a date; anything else is no wish.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		const most = int(24 * time.Hour / time.Second) // more would overflow, and is refused all the same
		return time.Duration(min(max(0, seconds), most)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // only a courtesy to the connection pool
	resp.Body.Close()
}
