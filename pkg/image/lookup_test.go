package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/syncerdev/syncer/pkg/panics"
)

type resolverFunc func(ctx context.Context, reference string) (string, error)

func (f resolverFunc) Digest(ctx context.Context, reference string) (string, error) {
	return f(ctx, reference)
}

func (resolverFunc) Tags(context.Context, string) ([]string, error) {
	return nil, errors.New("not asked for")
}

func (resolverFunc) Confirm(context.Context, string, string) error {
	return errors.New("not asked for")
}

func (resolverFunc) Verify(context.Context, string, string, string) error {
	return errors.New("not asked for")
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

// A registry that hangs keeps nobody from asking another one.
func TestEachHostHasLookupsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		lookup := NewLookup(resolverFunc(func(_ context.Context, reference string) (string, error) {
			if strings.HasPrefix(reference, "slow.example.com/") {
				<-release
			}
			return "digest", nil
		}))
		var slow sync.WaitGroup
		for i := range 10 * lookupLimit {
			slow.Go(func() { _, _ = lookup.Digest(t.Context(), fmt.Sprintf("slow.example.com/a:%d", i)) })
		}
		synctest.Wait()
		if got, err := lookup.Digest(t.Context(), "fast.example.com/a:1"); got != "digest" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		close(release)
		slow.Wait()
	})
}

// tagged is a source that lists tags and counts the questions.
type tagged struct {
	tags            []string
	err             error
	listed, checked atomic.Int64
}

func (*tagged) Digest(context.Context, string) (string, error) {
	return "", errors.New("not asked for")
}

func (s *tagged) Tags(context.Context, string) ([]string, error) {
	s.listed.Add(1)
	return s.tags, s.err
}

func (s *tagged) Verify(context.Context, string, string, string) error {
	s.checked.Add(1)
	return s.err
}

func (s *tagged) Confirm(context.Context, string, string) error {
	s.checked.Add(1)
	return s.err
}

func TestHighest(t *testing.T) {
	for name, c := range map[string]struct {
		tags   []string
		within string
		want   string // "": ErrNotFound
	}{
		"by number, not by letter":               {[]string{"v1.4.9", "v1.4.10", "v1.4.2"}, "v1.4.x", "v1.4.10"},
		"the next minor is outside":              {[]string{"v1.4.9", "v1.5.0", "v2.0.0"}, "v1.4.x", "v1.4.9"},
		"a range with bounds":                    {[]string{"0.9.0", "1.4.0", "1.9.9", "2.0.0"}, ">=1.4 <2", "1.9.9"},
		"the tag as it is written":               {[]string{"1.4.1", "v1.4.2"}, "1.4.x", "v1.4.2"},
		"with and without v, whatever the order": {[]string{"v1.4.1", "1.4.1"}, "1.4.x", "1.4.1"},
		"no pre-release unasked":                 {[]string{"1.4.1", "1.4.2-rc.1"}, "1.4.x", "1.4.1"},
		"a pre-release where it is asked for":    {[]string{"1.4.1", "1.4.2-rc.1"}, ">=1.4.0-0", "1.4.2-rc.1"},
		"other tags are passed over":             {[]string{"latest", "main", "1", "1.5", "sha256-abc.sig", "1.4.0"}, ">=1", "1.4.0"},
		"none in the range":                      {[]string{"2.0.0"}, "1.x", ""},
		"none at all":                            {nil, "1.x", ""},
	} {
		got, err := NewLookup(&tagged{tags: c.tags}).Highest(t.Context(), "registry.example.com/a", c.within)
		if got != c.want || (c.want == "") != errors.Is(err, ErrNotFound) || c.want != "" && err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	source := &tagged{tags: []string{"1.0.0", "2.0.0"}}
	lookup := NewLookup(source)
	for within, want := range map[string]string{"1.x": "1.0.0", "2.x": "2.0.0", ">=1": "2.0.0"} {
		if got, err := lookup.Highest(t.Context(), "registry.example.com/a", within); got != want || err != nil {
			t.Errorf("%s: %s, %v", within, got, err)
		}
	}
	if n := source.listed.Load(); n != 1 {
		t.Errorf("the tags were listed %d times", n)
	}
	if _, err := lookup.Highest(t.Context(), "registry.example.com/a", "one"); err == nil || source.listed.Load() != 1 {
		t.Errorf("a range that is none: %v", err)
	}
	if _, err := NewLookup(&tagged{err: ErrDenied}).Highest(t.Context(), "registry.example.com/a", "1.x"); !errors.Is(err, ErrDenied) || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestEachSignatureIsCheckedOncePerPass(t *testing.T) {
	source := &tagged{err: ErrUnsigned}
	lookup := NewLookup(source)
	for range 3 {
		for _, c := range [][3]string{{"r/a", "d1", "k1"}, {"r/a", "d1", "k2"}, {"r/a", "d2", "k1"}, {"r/b", "d1", "k1"}} {
			if err := lookup.Verify(t.Context(), c[0], c[1], c[2]); !errors.Is(err, ErrUnsigned) {
				t.Errorf("%v: %v", c, err)
			}
		}
	}
	if n := source.checked.Load(); n != 4 {
		t.Errorf("%d checks, want one for each image and key", n)
	}
}

// A registry's answer that panics fails who asked for it, and all who wait for the same one: none takes an empty digest
// for the answer, and the next question finds a free slot.
func TestAPanicIsNoAnswer(t *testing.T) {
	lookup := NewLookup(resolverFunc(func(_ context.Context, reference string) (string, error) {
		if reference == "host/bad" {
			panic("a registry's answer that nobody expected")
		}
		return "sha256:1", nil
	}))
	for range lookupLimit + 1 {
		digests, failed := lookup.All(t.Context(), []string{"host/bad", "host/bad", "host/good"})
		if panics.In(failed["host/bad"]) == nil || digests["host/bad"] != "" || digests["host/good"] != "sha256:1" {
			t.Fatalf("found %v, failed %v", digests, failed)
		}
	}
}
