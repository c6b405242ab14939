package pipeline

import (
	"maps"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// turns count how often a turn of each target began or ended: whoever read a record since then has to read it again when
// there was another one.
// The zero value is ready. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	taken map[v1alpha1.Target]int
}

// take notes that a turn begins or ends, and returns how often one did.
func (t *turns) take(target v1alpha1.Target) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = map[v1alpha1.Target]int{}
	}
	t.taken[target]++
	return t.taken[target]
}

// counts returns how often a turn of each target began or ended.
func (t *turns) counts() map[v1alpha1.Target]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.taken)
}
