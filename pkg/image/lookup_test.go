package image

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

type resolverFunc func(ctx context.Context, reference string) (string, error)

func (f resolverFunc) Digest(ctx context.Context, reference string) (string, error) {
	return f(ctx, reference)
}

func TestEachReferenceIsAskedOncePerPass(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	var under, most atomic.Int64
	lookup := NewLookup(resolverFunc(func(_ context.Context, reference string) (string, error) {
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		mu.Lock()
		defer mu.Unlock()
		asked[reference]++
		if reference == "missing" {
			return "", ErrNotFound
		}
		return "digest of " + reference, nil
	}))
	references := []string{"missing"}
	for i := range 100 {
		references = append(references, fmt.Sprint("r", i))
	}
	var targets sync.WaitGroup
	for range 20 {
		targets.Go(func() {
			digests, failed := lookup.All(t.Context(), references)
			if len(digests) != 100 || digests["r7"] != "digest of r7" || len(failed) != 1 || !errors.Is(failed["missing"], ErrNotFound) {
				t.Errorf("%d digests, failed: %v", len(digests), failed)
			}
		})
	}
	targets.Wait()
	for reference, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", reference, n)
		}
	}
	if n := most.Load(); n > lookupLimit {
		t.Errorf("%d look-ups at once", n)
	}
}

// Whoever waits for the answer of a caller that goes away asks in its place.
func TestCancelledLookupIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookup := NewLookup(resolverFunc(func(ctx context.Context, _ string) (string, error) {
			if ctx.Value(key{}) != nil {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "digest", nil
		}))
		first, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "first"))
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := lookup.Digest(first, "web:1"); !errors.Is(err, context.Canceled) {
				t.Errorf("the first caller got %v", err)
			}
		})
		synctest.Wait()
		both.Go(func() {
			if got, err := lookup.Digest(t.Context(), "web:1"); got != "digest" || err != nil {
				t.Errorf("the second caller got %q, %v", got, err)
			}
		})
		synctest.Wait()
		leave()
		both.Wait()
		if got, err := lookup.Digest(t.Context(), "web:1"); got != "digest" || err != nil {
			t.Errorf("later: %q, %v", got, err)
		}
	})
}

type key struct{}

func TestWaitingForAnAnswerEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		lookup := NewLookup(resolverFunc(func(context.Context, string) (string, error) {
			<-release
			return "digest", nil
		}))
		var first sync.WaitGroup
		first.Go(func() { _, _ = lookup.Digest(t.Context(), "web:1") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := lookup.Digest(ctx, "web:1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(release)
		first.Wait()
		if got, err := lookup.Digest(t.Context(), "web:1"); got != "digest" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}
