package pin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/syncerdev/syncer/pkg/image"
)

// hub is a registry of a test. It answers ErrNotFound for what it does not have.
type hub struct {
	digests map[string]string   // by reference
	tags    map[string][]string // by repository
	signed  map[string]bool     // by digest
	failed  map[string]error    // by reference; a digest that does not confirm is "REFERENCE@DIGEST"

	mu    sync.Mutex
	asked []string
}

func (r *hub) ask(question string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, question)
}

// questions returns what was asked since the last call, sorted.
func (r *hub) questions() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	slices.Sort(asked)
	return strings.Join(asked, ", ")
}

func (r *hub) Digest(_ context.Context, reference string) (string, error) {
	r.ask(reference)
	if err := r.failed[reference]; err != nil {
		return "", err
	}
	if digest, ok := r.digests[reference]; ok {
		return digest, nil
	}
	return "", fmt.Errorf("resolving %s: %w", reference, image.ErrNotFound)
}

func (r *hub) Confirm(_ context.Context, reference, digest string) error {
	return r.failed[reference+"@"+digest]
}

func (r *hub) Tags(_ context.Context, repository string) ([]string, error) {
	r.ask("tags of " + repository)
	return r.tags[repository], r.failed[repository]
}

func (r *hub) Verify(_ context.Context, repository, digest, publicKeyFile string) error {
	r.ask("signature of " + digest)
	if r.signed[digest] {
		return nil
	}
	return fmt.Errorf("%s is not signed by %s", digest, publicKeyFile)
}
