package pipeline

import (
	"context"
	"sync"

	"github.com/syncerdev/syncer/pkg/apply"
)

// alarms wake a daemon for the targets whose wait is over, so that a change goes out as soon as the run ends that it
// waited for, and not at the next poll.
type alarms struct {
	rang    chan apply.Target
	waiting map[apply.Target]context.CancelFunc // used by the loop alone
	watches sync.WaitGroup
}

func newAlarms() *alarms {
	return &alarms{rang: make(chan apply.Target), waiting: map[apply.Target]context.CancelFunc{}}
}

// set replaces what a target waits for; nil ends its wait.
func (a *alarms) set(ctx context.Context, target apply.Target, until *alarm) {
	a.clear(target)
	if until == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a.waiting[target] = cancel
	a.watches.Go(func() {
		if until.cluster.AwaitChange(ctx, until.held) != nil {
			return // the next poll looks again
		}
		select {
		case a.rang <- target:
		case <-ctx.Done():
		}
	})
}

func (a *alarms) clear(target apply.Target) {
	if cancel, ok := a.waiting[target]; ok {
		cancel()
		delete(a.waiting, target)
	}
}

// stop ends every watch and waits for that.
func (a *alarms) stop() {
	for target := range a.waiting {
		a.clear(target)
	}
	a.watches.Wait()
}
