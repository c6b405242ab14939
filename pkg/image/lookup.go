package image

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/syncerdev/syncer/pkg/panics"
)

// Resolver looks up the digest of a reference.
type Resolver interface {
	Digest(ctx context.Context, reference string) (string, error)
}

// Source answers all questions of a pass to registries. Registry is the real one.
type Source interface {
	Resolver
	Confirm(ctx context.Context, reference, digest string) error
	Tags(ctx context.Context, repository string) ([]string, error)
	Verify(ctx context.Context, repository, digest, publicKeyFile string) error
}

// Lookup remembers the answers of one pass, so that a reference that a thousand targets share costs one look-up. Make
// a new one for each pass, since tags move. It is safe for concurrent use.
type Lookup struct {
	source  Source
	digests memo[string]
	tags    memo[[]string]
	signed  memo[struct{}]
	there   memo[struct{}]
}

// lookupLimit bounds the questions to one host at a time. Registries throttle by connection long before a client runs
// short of anything. The limit is per host, so that a registry that hangs does not block questions to the others.
const lookupLimit = 16

// NewLookup starts a pass.
func NewLookup(source Source) *Lookup {
	limit := &hostSlots{slots: map[string]chan struct{}{}}
	return &Lookup{source: source, digests: newMemo[string](limit), tags: newMemo[[]string](limit), signed: newMemo[struct{}](limit), there: newMemo[struct{}](limit)}
}

// Digest returns the pass's answer for a reference, asking at most once.
func (l *Lookup) Digest(ctx context.Context, reference string) (string, error) {
	return l.digests.get(ctx, reference, func(ctx context.Context) (string, error) {
		return l.source.Digest(ctx, reference)
	})
}

// Highest returns the highest tag of a repository in a semver range. Pre-releases match only a range that names one.
func (l *Lookup) Highest(ctx context.Context, repository, within string) (string, error) {
	constraint, err := semver.NewConstraint(within)
	if err != nil {
		return "", fmt.Errorf("range %q: %w", within, err)
	}
	tags, err := l.tags.get(ctx, repository, func(ctx context.Context) ([]string, error) {
		return l.source.Tags(ctx, repository)
	})
	if err != nil {
		return "", err
	}
	var best *semver.Version
	for _, tag := range slices.Sorted(slices.Values(tags)) { // 1.0.0 and v1.0.0 are one version: the order of the listing does not matter
		version, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
		if err != nil || !constraint.Check(version) || best != nil && !best.LessThan(version) {
			continue
		}
		best, err = semver.NewVersion(tag) // keeps how the tag is written
		if err != nil {
			best = nil
		}
	}
	if best == nil {
		return "", fmt.Errorf("%s: %w: no tag is in the range %s", repository, ErrNotFound, within)
	}
	return best.Original(), nil
}

// Verify makes sure that an image is signed with a key, asking at most once.
func (l *Lookup) Verify(ctx context.Context, repository, digest, publicKeyFile string) error {
	_, err := l.signed.get(ctx, repository+"@"+digest+" "+publicKeyFile, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.source.Verify(ctx, repository, digest, publicKeyFile)
	})
	return err
}

// Confirm checks that a registry has the manifest of the digest that it returned for a reference. It asks at most once.
func (l *Lookup) Confirm(ctx context.Context, reference, digest string) error {
	_, err := l.there.get(ctx, reference+" "+digest, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.source.Confirm(ctx, reference, digest)
	})
	return err
}

// All resolves many references at once. It returns the digests it found and, by reference, the errors.
func (l *Lookup) All(ctx context.Context, references []string) (digests map[string]string, failed map[string]error) {
	found := make([]string, len(references)) // each worker owns one slot: no lock
	errs := make([]error, len(references))
	var g panics.Group
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

// hostSlots bounds the questions to each host that are under way.
type hostSlots struct {
	mu    sync.Mutex
	slots map[string]chan struct{}
}

// of returns the slots of the host of a question. A question begins with a reference.
func (h *hostSlots) of(question string) chan struct{} {
	reference, _, _ := strings.Cut(question, " ")
	host, _, _ := strings.Cut(Repository(reference), "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slots[host] == nil {
		h.slots[host] = make(chan struct{}, lookupLimit)
	}
	return h.slots[host]
}

// memo asks each question once.
type memo[T any] struct {
	limit *hostSlots

	mu      *sync.Mutex
	answers map[string]*answer[T]
}

type answer[T any] struct {
	done      chan struct{} // closed when the fields below are set
	value     T
	err       error
	abandoned bool // the caller that asked went away, which says nothing about the question
}

func newMemo[T any](limit *hostSlots) memo[T] {
	return memo[T]{limit: limit, mu: &sync.Mutex{}, answers: map[string]*answer[T]{}}
}

// get returns the answer to a question. An answer from a caller's cancelled context is not kept: the callers that waited
// for it ask again.
func (m memo[T]) get(ctx context.Context, question string, ask func(context.Context) (T, error)) (T, error) {
	for {
		a, mine := m.claim(question)
		if mine {
			m.ask(ctx, question, a, ask)
			return a.value, a.err
		}
		select {
		case <-a.done:
			if !a.abandoned {
				return a.value, a.err
			}
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// claim returns the answer to a question, and whether the caller is the one to find it.
func (m memo[T]) claim(question string) (a *answer[T], mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.answers[question]; ok {
		return a, false
	}
	a = &answer[T]{done: make(chan struct{})}
	m.answers[question] = a
	return a, true
}

func (m memo[T]) ask(ctx context.Context, question string, a *answer[T], ask func(context.Context) (T, error)) {
	defer close(a.done)
	slots := m.limit.of(question)
	select {
	case slots <- struct{}{}:
		// Others wait for the same answer: after a panic they are not to take the empty value for one.
		a.err = panics.Try(func() (err error) {
			a.value, err = ask(ctx)
			return err
		})
		<-slots
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	}
	if a.err != nil && ctx.Err() != nil {
		a.abandoned = true
		m.mu.Lock()
		delete(m.answers, question)
		m.mu.Unlock()
	}
}

// InRange reports whether a tag is a version in a semver range.
func InRange(tag, within string) bool {
	constraint, err := semver.NewConstraint(within)
	if err != nil {
		return false // the configuration was validated
	}
	version, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	return err == nil && constraint.Check(version)
}
