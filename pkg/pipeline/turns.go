package pipeline

import (
	"maps"
	"sync"

	"github.com/syncerdev/syncer/pkg/apply"
)

// turns count how often each target was carried out: who read a record before another turn began has to read it again.
// The zero value is ready. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	taken map[apply.Target]int
}

// take begins a turn, and says the how-manieth it is.
func (t *turns) take(target apply.Target) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = map[apply.Target]int{}
	}
	t.taken[target]++
	return t.taken[target]
}

// counts says how many turns each target has had.
func (t *turns) counts() map[apply.Target]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.taken)
}
