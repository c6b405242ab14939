package cluster

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/syncerdev/syncer/pkg/answer"
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
		if answer.Retryable(err) {
			err = retry.RetryableError(err)
		}
		return got, err
	})
}
