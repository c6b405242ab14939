package image

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Resolver looks up the digest of a reference. Registry is the real one.
type Resolver interface {
	Digest(ctx context.Context, reference string) (string, error)
}

// Lookup remembers the answers of one pass, so that a reference that a thousand targets share costs one look-up. Make
// a new one for each pass, since tags move. It is safe for concurrent use.
type Lookup struct {
	resolver Resolver
	limit    chan struct{} // bounds the look-ups under way

	mu      sync.Mutex
	answers map[string]*answer
}

type answer struct {
	done      chan struct{} // closed when the fields below are set
	digest    string
	err       error
	abandoned bool // the caller that asked went away, which says nothing about the reference
}

// lookupLimit is how many references are looked up at once. Registries throttle by connection long before a client is
// short of anything.
const lookupLimit = 16

// NewLookup starts a pass.
func NewLookup(resolver Resolver) *Lookup {
	return &Lookup{resolver: resolver, limit: make(chan struct{}, lookupLimit), answers: map[string]*answer{}}
}

// Digest returns the pass's answer for a reference, asking at most once. An answer that came of a caller's cancelled
// context is not kept: whoever waited for it asks again.
func (l *Lookup) Digest(ctx context.Context, reference string) (string, error) {
	for {
		a, mine := l.claim(reference)
		if mine {
			l.ask(ctx, reference, a)
			return a.digest, a.err
		}
		select {
		case <-a.done:
			if !a.abandoned {
				return a.digest, a.err
			}
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// claim returns the answer of a reference, and whether the caller is the one to find it.
func (l *Lookup) claim(reference string) (a *answer, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.answers[reference]; ok {
		return a, false
	}
	a = &answer{done: make(chan struct{})}
	l.answers[reference] = a
	return a, true
}

func (l *Lookup) ask(ctx context.Context, reference string, a *answer) {
	defer close(a.done)
	select {
	case l.limit <- struct{}{}:
		a.digest, a.err = l.resolver.Digest(ctx, reference)
		<-l.limit
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	}
	if a.err != nil && ctx.Err() != nil {
		a.abandoned = true
		l.mu.Lock()
		delete(l.answers, reference)
		l.mu.Unlock()
	}
}

// All resolves many references at once. It returns what it found and, by reference, what it did not.
func (l *Lookup) All(ctx context.Context, references []string) (digests map[string]string, failed map[string]error) {
	found := make([]string, len(references)) // each worker owns one slot: no lock
	errs := make([]error, len(references))
	var g errgroup.Group
	for i, reference := range references {
		g.Go(func() error {
			found[i], errs[i] = l.Digest(ctx, reference)
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot, so that one failure does not hide another
	digests, failed = map[string]string{}, map[string]error{}
	for i, reference := range references {
		if errs[i] != nil {
			failed[reference] = errs[i]
		} else {
			digests[reference] = found[i]
		}
	}
	return digests, failed
}
