package renderers

import (
	"time"

	"github.com/syncerdev/syncer/pkg/render"
)

// Limits bound the builds of a pool. A zero value of one is its default.
type Limits struct {
	// Memory is what a build may take in bytes.
	Memory int64
	// Time is how long a build may take.
	Time time.Duration
	// Render bounds the input and the result of a build.
	Render render.Limits
}

const (
	defaultMemory = 192 << 20
	defaultTime   = time.Minute
	// quickMemory is what a build may take before it counts as a slow one.
	quickMemory = 96 << 20
)

func (l Limits) orDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.Time == 0 {
		l.Time = defaultTime
	}
	l.Render = l.Render.OrDefaults()
	return l
}

// quick is the memory of a build that is not known for a slow one.
func (l Limits) quick() int64 { return min(l.Memory, quickMemory) }
