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

// request sends one request, and again after a failure that passes.
//
// 500 is not such a failure: under server-side apply the API server answers it for manifests that are permanently wrong,
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
