package clock

import (
	"context"
	"time"
)

// Sleep waits for some time, or until the context ends: the error is then that of the context.
func Sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
