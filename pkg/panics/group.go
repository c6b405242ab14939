package panics

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Group is an errgroup.Group whose Wait raises the first panic of its functions again, on the goroutine that waits: a
// panic in a goroutine of its own cannot be caught by anybody and ends the process. The zero value is ready, has no limit
// and cancels nothing. No function of a Group is asked for after Wait.
type Group struct {
	group  errgroup.Group
	cancel context.CancelCauseFunc // nil: nothing is to be cancelled

	mu    sync.Mutex
	first *Error
}

// WithContext returns a group and a context that ends at the first error or panic of a function, and when Wait returns.
func WithContext(ctx context.Context) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{cancel: cancel}, ctx
}

// SetLimit bounds how many functions run at once.
func (g *Group) SetLimit(n int) { g.group.SetLimit(n) }

// Go runs a function in a goroutine, when there is room for one.
func (g *Group) Go(do func() error) {
	g.group.Go(func() error {
		var err error
		if caught := Catch(func() { err = do() }); caught != nil {
			g.mu.Lock()
			if g.first == nil {
				g.first = caught
			}
			g.mu.Unlock()
			err = caught
		}
		if err != nil && g.cancel != nil {
			g.cancel(err)
		}
		return err
	})
}

// Wait waits for every function and returns the first error. Where one panicked, Wait panics with an *Error, which Catch
// takes as it is.
func (g *Group) Wait() error {
	err := g.group.Wait()
	if g.cancel != nil {
		g.cancel(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		panic(g.first)
	}
	return err
}
