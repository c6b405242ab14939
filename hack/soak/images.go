package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

// stood is a digest that a tag had from a time on.
type stood struct {
	digest string
	at     time.Time
}

// images are the tags of the registry. Only the soak moves them, so that it has every digest of each tag.
type images struct {
	registry *lab.Registry

	mu   sync.Mutex
	tags map[string][]stood // by reference as git writes it, the newest last
}

// move gives a tag another image.
func (i *images) move(ctx context.Context, name string, tag int) (digest string, err error) {
	ref := reference(name, tag)
	i.mu.Lock()
	seed := fmt.Sprintf("%s %d", ref, len(i.tags[ref]))
	i.mu.Unlock()
	// A syncer may see the tag before the push returns.
	at := time.Now()
	digest, err = i.registry.Push(ctx, strings.TrimPrefix(ref, registryHost+"/"), seed)
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tags[ref] = append(i.tags[ref], stood{digest, at})
	return digest, nil
}

// had reports whether a tag has a digest, or had it earlier.
func (i *images) had(reference, digest string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.tags[reference] {
		if s.digest == digest {
			return true
		}
	}
	return false
}

// newest is the present digest of a tag.
func (i *images) newest(reference string) stood {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.tags[reference]
	if len(all) == 0 {
		return stood{}
	}
	return all[len(all)-1]
}
