package pipeline

import (
	"maps"
	"sync"

	"github.com/syncerdev/syncer/pkg/apply"
)

// turns keep two passes from carrying one target out at the same time. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	turns map[apply.Target]*turn
	taken map[apply.Target]int // how often
}

type turn struct {
	sync.Mutex
	waiting int
}

// take waits for a target's turn; the caller releases it.
func (t *turns) take(target apply.Target) (release func()) {
	t.mu.Lock()
	if t.turns == nil {
		t.turns, t.taken = map[apply.Target]*turn{}, map[apply.Target]int{}
	}
	mine := t.turns[target]
	if mine == nil {
		mine = &turn{}
		t.turns[target] = mine
	}
	mine.waiting++
	t.mu.Unlock()
	mine.Lock()
	t.mu.Lock()
	t.taken[target]++
	t.mu.Unlock()
	return func() {
		mine.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.waiting--; mine.waiting == 0 {
			delete(t.turns, target)
		}
	}
}

// counts says how often each target had its turn: who read a record before another turn began has to read it again.
func (t *turns) counts() map[apply.Target]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.taken)
}

// count says how often one target had its turn.
func (t *turns) count(target apply.Target) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken[target]
}
