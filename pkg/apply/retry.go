package apply

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/sethvargo/go-retry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	requestRetries   = 4
	firstRetryDelay  = 150 * time.Millisecond
	longestRetry     = 3 * time.Second
	retryJitterShare = 20 // percent
)

// request sends one request, again where the failure is one that passes.
//
// 500 is not among those: under server-side apply the API server answers it for manifests that will never be right,
// such as a duplicate key of a list.
func request[T any](ctx context.Context, send func(context.Context) (T, error)) (T, error) {
	backoff := retry.WithMaxRetries(requestRetries, retry.WithCappedDuration(longestRetry,
		retry.WithJitterPercent(retryJitterShare, retry.NewExponential(firstRetryDelay))))
	return retry.DoValue(ctx, backoff, func(ctx context.Context) (T, error) {
		got, err := send(ctx)
		if passing(err) {
			err = retry.RetryableError(err)
		}
		return got, err
	})
}

func passing(err error) bool {
	switch {
	case err == nil:
		return false
	case apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err), apierrors.IsTimeout(err):
		return true
	case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"):
		return true // its server is away for a moment
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "status unknown for quota"):
		return true // a new ResourceQuota whose usage its controller has not counted yet
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
